{{ config(incremental_strategy='append', unique_key=['_load_id', '_source_file', '_source_line']) }}
{%- set loads = loads_to_read() %}
{%- do plan_write(is_needed=has_new_records(loads, 'driver_events')) %}
{%- set valid = '(select * from ' ~ ref('staged_driver_events') ~ ' where reject_reason is null)' %}

with

staged as (

    select * from {{ ref('staged_driver_events') }}
    where
        _load_id > {{ loads.after }}
        and _load_id <= {{ loads.up_to }}

),

accepted as (

    select * from {{ ref('driver_events') }}
    where _load_id <= {{ loads.up_to }}

),

rejected as (

    select staged.* from staged
    left anti join accepted
        on
            staged._load_id = accepted._load_id
            and staged._source_file = accepted._source_file
            and staged._source_line = accepted._source_line
            and accepted._load_id > {{ loads.after }}

),

-- A record that breaks no rule and was not accepted repeats the key of an accepted one.
final as (

    select
        coalesce(rejected.reject_reason, 'duplicate') as reject_reason,
        case
            when rejected.reject_reason is null then not (
                rejected.event_type <=> accepted.event_type
                and rejected.company_id <=> accepted.company_id
                and rejected.truck_id <=> accepted.truck_id
                and rejected.payload <=> accepted.payload
            )
        end as is_conflicting,
        accepted._load_id as duplicate_of_load_id,
        accepted._source_file as duplicate_of_source_file,
        accepted._source_line as duplicate_of_source_line,
        rejected._raw,
        rejected._source_file,
        rejected._source_line,
        rejected._source_file_id,
        rejected._load_id
    from rejected
    left join accepted
        on
            rejected.reject_reason is null
            and rejected.driver_id = accepted.driver_id
            and rejected.event_timestamp = accepted.event_timestamp
            and {{ touched_dates('accepted.event_date', loads, valid) }}

)

select * from final
