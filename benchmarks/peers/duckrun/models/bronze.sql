{{ config(incremental_strategy='append') }}

select event_id, driver_id, event_timestamp, event_type, company_id, truck_id, payload, filename as source_file
from read_json(
    '{{ env_var("RAW_ROOT") }}/events/*/*.jsonl', format = 'newline_delimited', ignore_errors = true, filename = true,
    columns = {
        event_id: 'varchar', driver_id: 'varchar', event_timestamp: 'timestamptz', event_type: 'varchar', company_id: 'varchar',
        truck_id: 'varchar', payload: 'struct(odometer bigint, fuel double)'
    }
)
{% if is_incremental() %}
where filename not in (select distinct source_file from {{ this }})
{% endif %}
