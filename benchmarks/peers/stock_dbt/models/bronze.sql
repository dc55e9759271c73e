{{ config(incremental_strategy='append') }}

select event_id, driver_id, event_timestamp, event_type, company_id, truck_id, payload, input_file_name() as source_file
from json.`{{ env_var('RAW_ROOT') }}/events/*/*.jsonl`
{% if is_incremental() %}
where input_file_name() not in (select distinct source_file from {{ this }})
{% endif %}
