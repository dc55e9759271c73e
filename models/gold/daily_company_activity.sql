{{ config(unique_key=['event_date', 'company_id']) }}
{%- set loads = loads_to_read() %}
{%- set touched = touched_dates('target.event_date', loads, ref('enriched_driver_events')) %}
{%- set has_changed_companies = companies_changed(loads, ref('companies')) %}
{%- do plan_write(can_match='true' if has_changed_companies else touched) %}

with

events as (

    select * from {{ ref('enriched_driver_events') }}
    where _load_id <= {{ loads.up_to }}

),

companies as (

    select * from {{ ref('companies') }}

),

{% if is_incremental() -%}
touched_days as (

    select distinct
        event_date,
        company_id
    from events
    where _load_id > {{ loads.after }}

),

events_of_touched_days as (

    select events.* from events
    left semi join touched_days
        on
            events.event_date = touched_days.event_date
            and events.company_id = touched_days.company_id
    where {{ touched_dates('events.event_date', loads, ref('enriched_driver_events')) }}

),

{% else -%}
events_of_touched_days as (

    select * from events

),

{% endif -%}
counted as (

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

),

final as (

    select * from counted

    {%- if has_changed_companies %}

    union all

    -- Of the other days of a company that has changed, only what is said of the company.
    select
        counted_before.event_date,
        counted_before.company_id,
        companies.name as company_name,
        counted_before.events,
        counted_before.start_driving_events,
        counted_before.stop_driving_events,
        counted_before.delivered_events,
        counted_before.distinct_drivers,
        true as is_company_matched
    from {{ this }} as counted_before
    inner join companies
        on counted_before.company_id = companies.company_id
    left anti join touched_days
        on
            counted_before.event_date = touched_days.event_date
            and counted_before.company_id = touched_days.company_id
    where companies.valid_from_load_id > {{ loads.after }}
    {%- endif %}

)

select * from final
