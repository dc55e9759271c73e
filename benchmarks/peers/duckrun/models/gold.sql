{{ config(materialized='table') }}

select events.*, companies.* exclude (company_id), companies.company_id is not null as is_company_matched
from {{ ref('silver') }} as events
left join (
    select distinct company_id, name, sector, size_indicator, geography, active
    from read_json('{{ env_var("RAW_ROOT") }}/companies.jsonl', format = 'newline_delimited')
) as companies on events.company_id = companies.company_id
