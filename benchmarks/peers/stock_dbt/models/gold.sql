{{ config(materialized='table') }}

with companies as (
    select distinct company_id, name, sector, size_indicator, geography, active
    from json.`{{ env_var('RAW_ROOT') }}/companies.jsonl`
)

select events.*, companies.name, companies.sector, companies.size_indicator, companies.geography, companies.active,
    companies.company_id is not null as is_company_matched
from {{ ref('silver') }} as events
left join companies on events.company_id = companies.company_id
