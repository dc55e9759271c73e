{{ config(unique_key=['driver_id', 'event_timestamp']) }}

with numbered as (
    select
        event_id, driver_id, cast(event_timestamp as timestamp) as event_timestamp, event_type, company_id, truck_id, payload, source_file,
        row_number() over (partition by driver_id, event_timestamp order by source_file) as number
    from {{ ref('bronze') }}
    where driver_id is not null and event_timestamp is not null
    {% if is_incremental() %}
    and source_file not in (select distinct source_file from {{ this }})
    {% endif %}
)

select event_id, driver_id, event_timestamp, event_type, company_id, truck_id, payload, source_file
from numbered
where number = 1
