{{ config(unique_key=['_load_id', '_source_file', '_source_line']) }}
{%- set loads = loads_to_read() %}
{%- do plan_write(is_needed=has_new_records(loads, 'companies')) %}

with

records as (

    select * from {{ ref('staged_companies') }}
    where
        reject_reason is null
        and _load_id > {{ loads.after }}
        and _load_id <= {{ loads.up_to }}

),

{% if is_incremental() -%}
-- The version before the new records: they may repeat it, or end it.
versions_before as (

    select versions.* from {{ this }} as versions
    left semi join records
        on versions.company_id = records.company_id
    where
        versions.valid_from_load_id <= {{ loads.after }}
        and (versions.valid_to_load_id is null or versions.valid_to_load_id > {{ loads.after }})

),

{% endif -%}
candidates as (

    select
        company_id,
        name,
        sector,
        size_indicator,
        geography,
        is_active,
        created_at,
        _source_file,
        _source_line,
        _source_file_id,
        _load_id
    from records

    {% if is_incremental() -%}
    union all

    select
        company_id,
        name,
        sector,
        size_indicator,
        geography,
        is_active,
        created_at,
        _source_file,
        _source_line,
        _source_file_id,
        _load_id
    from versions_before
    {%- endif %}

),

compared as (

    select
        *,
        struct(name, sector, size_indicator, geography, is_active, created_at) as described_as,
        lag(struct(name, sector, size_indicator, geography, is_active, created_at)) over (
            partition by company_id
            order by _load_id, _source_file, _source_line
        ) as described_before_as
    from candidates

),

-- What equals the record before it is no version, so that record stands for the version before.
versions as (

    select
        *,
        lead(_load_id) over (
            partition by company_id
            order by _load_id, _source_file, _source_line
        ) as next_load_id
    from compared
    where not described_as <=> described_before_as

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
        _load_id as valid_from_load_id,
        next_load_id as valid_to_load_id,
        next_load_id is null as is_current,
        _source_file,
        _source_line,
        _source_file_id,
        _load_id
    from versions
    {%- if is_incremental() %}
    where
        _load_id > {{ loads.after }}
        or next_load_id is not null
    {%- endif %}

)

select * from final
