{{ config(unique_key=['event_date', 'company_id']) }}
{%- set loads = loads_to_read() %}

with

events as (

    select * from {{ ref('enriched_driver_events') }}
    where _load_id <= {{ loads.up_to }}

),

companies as (

    select * from {{ ref('companies') }}

),

{% if is_incremental() -%}
changed_companies as (

    select company_id from companies
    where valid_from_load_id > {{ loads.after }}

),

touched_days as (

    select
        event_date,
        company_id
    from events
    where _load_id > {{ loads.after }}

    union distinct

    select
        events.event_date,
        events.company_id
    from events
    left semi join changed_companies
        on events.company_id = changed_companies.company_id

),

events_of_touched_days as (

    select events.* from events
    left semi join touched_days
        on
            events.event_date = touched_days.event_date
            and events.company_id = touched_days.company_id

),

{% else -%}
events_of_touched_days as (

    select * from events

),

{% endif -%}
final as (

    select
        event_date,
        company_id,
        max(company_name) as company_name,
        count(*) as events,
        count_if(event_type = 'start_driving') as start_driving_events,
        count_if(event_type = 'stop_driving') as stop_driving_events,
        count_if(event_type = 'delivered') as delivered_events,
        count(distinct driver_id) as distinct_drivers,
        bool_or(is_company_matched) as is_company_matched
    from events_of_touched_days
    group by event_date, company_id

)

select * from final
