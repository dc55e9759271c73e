{{ config(materialized='view') }}

with

records as (

    select * from {{ source('bronze', 'companies') }}

),

trimmed as (

    select
        *,
        {{ text_value('company_id') }} as company,
        lower({{ non_blank('active') }}) as active_text,
        {{ text_value('created_at') }} as created_text
    from records

),

typed as (

    select
        *,
        {{ parse_timestamp('created_text') }} as created
    from trimmed

),

final as (

    select
        company as company_id,
        {{ non_blank('name') }} as name,
        {{ non_blank('sector') }} as sector,
        {{ non_blank('size_indicator') }} as size_indicator,
        {{ non_blank('geography') }} as geography,
        active_text = 'true' as is_active,
        created as created_at,
        case
            when _defect is not null then _defect
            when company is null then 'missing_company_id'
            when active_text not in ('true', 'false') then 'invalid_active'
            when created is null and created_text is not null then 'invalid_created_at'
        end as reject_reason,
        if(_defect is null, array_compact(array(if(company is null, 'company_id', null))), null) as missing_keys,
        _unknown_keys,
        _raw,
        _source_file,
        _source_line,
        _source_file_id,
        _load_id
    from typed

)

select * from final
