-- Every rejected company breaks the rule that it names, and no version breaks any; the rules are written here once
-- more, in other words and on the text of bronze.
{%- set loads = loads_to_read() %}

with

bronze as (

    select
        *,
        nullif(regexp_replace(created_at, '^\\s+|\\s+\\z', ''), '') as time_text
    from {{ source('bronze', 'companies') }}
    where
        _load_id > {{ loads.after }}
        and _load_id <= {{ loads.up_to }}

),

broken as (

    select
        *,
        coalesce(_defect, 'none') as broken_defect,
        company_id is null or company_id rlike '^\\s*\\z' as missing_company_id,
        coalesce(active rlike '\\S' and not active rlike '(?i)^(true|false)\\z', false) as invalid_active,
        time_text is not null and {{ breaks_timestamp_rule('time_text') }} as invalid_created_at
    from bronze

),

outcomes as (

    select
        'none' as reject_reason,
        _load_id,
        _source_file,
        _source_line
    from {{ ref('company_history') }}
    where _load_id > {{ loads.after }}

    union all

    select
        reject_reason,
        _load_id,
        _source_file,
        _source_line
    from {{ ref('rejected_companies') }}
    where _load_id > {{ loads.after }}

),

final as (

    select
        outcomes.reject_reason,
        outcomes._load_id,
        outcomes._source_file,
        outcomes._source_line
    from outcomes
    inner join broken
        on
            outcomes._load_id = broken._load_id
            and outcomes._source_file = broken._source_file
            and outcomes._source_line = broken._source_line
    where not case
        when outcomes.reject_reason in ('none', 'unchanged')
            then
            broken.broken_defect = 'none'
            and not broken.missing_company_id
            and not broken.invalid_active
            and not broken.invalid_created_at
        when outcomes.reject_reason = 'missing_company_id' then broken.missing_company_id
        when outcomes.reject_reason = 'invalid_active' then broken.invalid_active
        when outcomes.reject_reason = 'invalid_created_at' then broken.invalid_created_at
        else outcomes.reject_reason = broken.broken_defect
    end

)

select * from final
