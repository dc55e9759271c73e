{{ config(
    unique_key=['driver_id', 'event_timestamp'],
    tblproperties={'delta.enableDeletionVectors': var('deletion_vectors') | lower}
) }}
{%- set loads = loads_to_read() %}
{%- set appends = not companies_changed(loads, ref('companies')) %}
{%- do plan_write(appends=appends) %}

with

events as (

    select * from {{ ref('driver_events') }}
    where _load_id <= {{ loads.up_to }}

),

companies as (

    select * from {{ ref('companies') }}

),

{% if is_incremental() and appends -%}
events_to_enrich as (

    select events.* from events
    left anti join {{ this }} as enriched_before
        on
            events.driver_id = enriched_before.driver_id
            and events.event_timestamp = enriched_before.event_timestamp
            and enriched_before._load_id > {{ loads.after }}
    where events._load_id > {{ loads.after }}

),

{% elif is_incremental() -%}
changed_companies as (

    select company_id from companies
    where valid_from_load_id > {{ loads.after }}

),

events_to_enrich as (

    select * from events
    where _load_id > {{ loads.after }}

    union all

    select events.* from events
    left semi join changed_companies
        on events.company_id = changed_companies.company_id
    where events._load_id <= {{ loads.after }}

),

{% else -%}
events_to_enrich as (

    select * from events

),

{% endif -%}
final as (

    select
        events_to_enrich.driver_id,
        events_to_enrich.event_timestamp,
        events_to_enrich.event_date,
        events_to_enrich.event_type,
        events_to_enrich.company_id,
        events_to_enrich.event_id,
        events_to_enrich.truck_id,
        events_to_enrich.payload,
        companies.name as company_name,
        companies.sector as company_sector,
        companies.size_indicator as company_size_indicator,
        companies.geography as company_geography,
        companies.is_active as company_is_active,
        companies.company_id is not null as is_company_matched,
        events_to_enrich._source_file,
        events_to_enrich._source_line,
        events_to_enrich._source_file_id,
        events_to_enrich._load_id
    from events_to_enrich
    left join companies
        on events_to_enrich.company_id = companies.company_id

)

select * from final
