{{
    config(
        unique_key=['company_id'],
        meta={'delete_when': 'events = 0'},
    )
}}
{%- set loads = loads_to_read() %}
{%- set has_changed_companies = companies_changed(loads, ref('companies')) %}

with

events as (

    select * from {{ ref('enriched_driver_events') }}
    where _load_id <= {{ loads.up_to }}

),

companies as (

    select * from {{ ref('companies') }}

),

{% if is_incremental() -%}
touched_companies as (

    select company_id from events
    where _load_id > {{ loads.after }} and not is_company_matched
    {%- if has_changed_companies %}

    union distinct

    select {{ this }}.company_id from {{ this }}
    left semi join companies
        on
            {{ this }}.company_id = companies.company_id
            and companies.valid_from_load_id > {{ loads.after }}
    {%- endif %}

),

events_of_touched_companies as (

    select events.* from events
    left semi join touched_companies
        on events.company_id = touched_companies.company_id

),

{% else -%}
events_of_touched_companies as (

    select * from events
    where not is_company_matched

),

{% endif -%}
-- A company that has become known has no unmatched event any more, and its row goes.
final as (

    select
        company_id,
        count_if(not is_company_matched) as events,
        count(distinct driver_id) as distinct_drivers,
        min(event_timestamp) as first_event_at,
        max(event_timestamp) as last_event_at,
        min(_load_id) as first_load_id
    from events_of_touched_companies
    group by company_id

)

select * from final
