{#
    dbt-spark's seeds drop, create and insert at every build, and corrupt NULL, apostrophes and big integers.
    Here a seed is one commit, made only where its rows differ, from literals typed as `column_types` says.
#}
{% materialization seed, adapter='spark' -%}
    {%- set rows = load_agate_table() -%}
    {%- do store_result('agate_table', response='OK', agate_table=rows) -%}
    {%- if rows.rows | length == 0 -%}
        {%- do exceptions.raise_compiler_error(model.original_file_path ~ ' has no rows: put them back, or remove the file.') -%}
    {%- endif -%}
    {%- set seed_sql = seed_query(rows) -%}
    {%- set existing = load_cached_relation(this) -%}
    {%- set differs = existing is none or should_full_refresh() -%}
    {%- if not differs -%}
        {%- set differs = run_query(
            'select 1 from (select *, 1 as _times from ' ~ this ~ ' union all select *, -1 as _times from (' ~ seed_sql ~ '))'
            ~ ' group by ' ~ rows.column_names | join(', ') ~ ' having sum(_times) <> 0 limit 1'
        ).rows | length > 0 -%}
    {%- endif -%}
    {{ run_hooks(pre_hooks) }}
    {%- if differs -%}
        {%- call statement('main') -%}
            create or replace table {{ this }} {{ file_format_clause() }} {{ comment_clause() }} as {{ seed_sql }}
        {%- endcall -%}
    {%- else -%}
        {%- call noop_statement('main', 'UNCHANGED', 'UNCHANGED', 0) -%}{{ seed_sql }}{%- endcall -%}
    {%- endif -%}
    {{ run_hooks(post_hooks) }}
    {{ return({'relations': [this.incorporate(type='table')]}) }}
{%- endmaterialization %}


{% macro seed_query(rows) -%}
    {%- set column_types = config.get('column_types') or {} -%}
    {%- for name in rows.column_names if name not in column_types -%}
        {%- do exceptions.raise_compiler_error(model.original_file_path ~ ': column ' ~ name ~ ' has no type; name it under column_types.') -%}
    {%- endfor -%}
    select * from values
    {%- for row in rows.rows %}
        ({% for name in rows.column_names -%}
            cast({{ string_literal(row[name]) }} as {{ column_types[name] }}){{ ', ' if not loop.last }}
        {%- endfor %}){{ ',' if not loop.last }}
    {%- endfor %}
    as seed ({{ rows.column_names | join(', ') }})
{%- endmacro %}
