{# Rows of a query whose answer does not change while a build runs: its nodes ask once, and share it in dbt's graph. #}
{% macro ask_once(sql) -%}
    {%- set key = invocation_id ~ ' ' ~ sql -%}
    {%- if key not in graph -%}
        {%- set rows = run_query(sql).rows -%}
        {%- if not is_build() -%}
            {{ return(rows) }}
        {%- endif -%}
        {%- do graph.update({key: rows}) -%}
    {%- endif -%}
    {{ return(graph[key]) }}
{%- endmacro %}
