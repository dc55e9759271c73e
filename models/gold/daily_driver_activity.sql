{{ config(unique_key=['event_date', 'driver_id']) }}
{%- set loads = loads_to_read() %}
{%- do plan_write(
    is_needed=has_new_records(loads, 'driver_events'),
    can_match=touched_dates('target.event_date', loads, ref('enriched_driver_events'))
) %}

with

events as (

    select * from {{ ref('enriched_driver_events') }}
    where _load_id <= {{ loads.up_to }}

),

{% if is_incremental() -%}
touched_days as (

    select distinct
        event_date,
        driver_id
    from events
    where _load_id > {{ loads.after }}

),

events_of_touched_days as (

    select events.* from events
    left semi join touched_days
        on
            events.event_date = touched_days.event_date
            and events.driver_id = touched_days.driver_id
    where {{ touched_dates('events.event_date', loads, ref('enriched_driver_events')) }}

),

{% else -%}
events_of_touched_days as (

    select * from events

),

{% endif -%}
final as (

    select
        event_date,
        driver_id,
        count(*) as events,
        count_if(event_type = 'start_driving') as start_driving_events,
        count_if(event_type = 'stop_driving') as stop_driving_events,
        count_if(event_type = 'delivered') as delivered_events,
        count(distinct company_id) as distinct_companies
    from events_of_touched_days
    group by event_date, driver_id

)

select * from final
