{{ config(incremental_strategy='append', unique_key=['feed', 'unknown_key', '_load_id']) }}
{%- set loads = loads_to_read() %}
{%- set feeds = feeds_to_read(loads) %}

with

found as (

    {%- for feed in feeds %}
    select
        '{{ feed }}' as feed,
        explode(_unknown_keys) as unknown_key,
        struct(_source_file, _source_line) as place,
        _load_id
    from {{ ref('staged_' ~ feed) }}
    where
        _load_id > {{ loads.after }}
        and _load_id <= {{ loads.up_to }}
    {%- if not loop.last %}

    union all
    {% endif %}
    {%- endfor %}

),

final as (

    select
        feed,
        unknown_key,
        count(*) as records,
        min(place)._source_file as _source_file,
        min(place)._source_line as _source_line,
        _load_id
    from found
    group by feed, unknown_key, _load_id

)

select * from final
