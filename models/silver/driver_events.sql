{{ config(incremental_strategy='append', unique_key=['driver_id', 'event_timestamp']) }}
{%- set loads = loads_to_read() %}
{%- do plan_write(is_needed=has_new_records(loads, 'driver_events')) %}
{%- set valid = '(select * from ' ~ ref('staged_driver_events') ~ ' where reject_reason is null)' %}

with

valid_events as (

    select * from {{ ref('staged_driver_events') }}
    where
        reject_reason is null
        and _load_id > {{ loads.after }}
        and _load_id <= {{ loads.up_to }}

),

{% if is_incremental() -%}
accepted_before as (

    select
        driver_id,
        event_timestamp
    from {{ this }}
    where {{ touched_dates('event_date', loads, valid) }}

),

new_events as (

    select valid_events.* from valid_events
    left anti join accepted_before
        on
            valid_events.driver_id = accepted_before.driver_id
            and valid_events.event_timestamp = accepted_before.event_timestamp

),

{% else -%}
new_events as (

    select * from valid_events

),

{% endif -%}
-- The first occurrence stays, in every rebuild too: the order is that of arrival, and total. The date is part of the
-- partition so that the rows are written in its order, and later runs read only what they touch of a file.
numbered as (

    select
        *,
        row_number() over (
            partition by event_date, driver_id, event_timestamp
            order by _load_id, _source_file, _source_line
        ) as occurrence
    from new_events

),

final as (

    select
        driver_id,
        event_timestamp,
        event_date,
        event_type,
        company_id,
        event_id,
        truck_id,
        payload,
        _source_file,
        _source_line,
        _source_file_id,
        _load_id
    from numbered
    where occurrence = 1

)

select * from final
