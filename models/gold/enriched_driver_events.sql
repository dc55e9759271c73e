{{ config(
    unique_key=['driver_id', 'event_timestamp'],
    tblproperties={'delta.enableDeletionVectors': var('deletion_vectors') | lower}
) }}
{%- set loads = loads_to_read() %}
{%- set has_changed_companies = companies_changed(loads, ref('companies')) %}
{%- do plan_write(appends=not has_changed_companies) %}

with

events as (

    select * from {{ ref('driver_events') }}
    where _load_id <= {{ loads.up_to }}

),

companies as (

    select * from {{ ref('companies') }}

),

events_to_enrich as (

    select * from events
    where _load_id > {{ loads.after }}
    {%- if has_changed_companies %}

    union all

    select events.* from events
    left semi join companies
        on
            events.company_id = companies.company_id
            and companies.valid_from_load_id > {{ loads.after }}
    where events._load_id <= {{ loads.after }}
    {%- endif %}

),

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
