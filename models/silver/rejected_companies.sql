{{ config(incremental_strategy='append', unique_key=['_load_id', '_source_file', '_source_line']) }}
{%- set loads = loads_to_read() %}
{%- do plan_write(is_needed=has_new_records(loads, 'companies')) %}

with

staged as (

    select * from {{ ref('staged_companies') }}
    where
        _load_id > {{ loads.after }}
        and _load_id <= {{ loads.up_to }}

),

accepted as (

    select * from {{ ref('company_history') }}
    where _load_id <= {{ loads.up_to }}

),

rejected as (

    select staged.* from staged
    left anti join accepted
        on
            staged._load_id = accepted._load_id
            and staged._source_file = accepted._source_file
            and staged._source_line = accepted._source_line
            and accepted._load_id > {{ loads.after }}

),

-- A record that breaks no rule and is no version repeats the version before it.
final as (

    select
        coalesce(reject_reason, 'unchanged') as reject_reason,
        company_id,
        _raw,
        _source_file,
        _source_line,
        _source_file_id,
        _load_id
    from rejected

)

select * from final
