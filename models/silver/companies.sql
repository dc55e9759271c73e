{{ config(unique_key=['company_id']) }}
{%- set loads = loads_to_read() %}
{%- do plan_write(is_needed=has_new_records(loads, 'companies')) %}

with

versions as (

    select * from {{ ref('company_history') }}
    where
        valid_from_load_id > {{ loads.after }}
        and valid_from_load_id <= {{ loads.up_to }}
        and (valid_to_load_id is null or valid_to_load_id > {{ loads.up_to }})

),

final as (

    select
        company_id,
        name,
        sector,
        size_indicator,
        geography,
        is_active,
        created_at,
        valid_from_load_id,
        cast(null as bigint) as valid_to_load_id,
        true as is_current,
        _source_file,
        _source_line,
        _source_file_id,
        _load_id
    from versions

)

select * from final
