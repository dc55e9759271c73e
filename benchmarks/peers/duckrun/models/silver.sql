{{ config(incremental_strategy='insert', unique_key=['driver_id', 'event_timestamp']) }}

select *
from {{ ref('bronze') }}
where driver_id is not null and event_timestamp is not null
{% if is_incremental() %}
and source_file not in (select distinct source_file from {{ this }})
{% endif %}
qualify row_number() over (partition by driver_id, event_timestamp order by source_file) = 1
