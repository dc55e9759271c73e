{#
    dbt asks for the rows of every statement; Spark's Thrift server has none for what defines or writes, and PyHive
    fails where there are none.
#}
{% macro run_query(sql) -%}
    {%- set has_rows = (sql.split() | first | lower) not in ['alter', 'comment', 'create', 'drop', 'insert', 'refresh', 'truncate'] -%}
    {%- call statement('run_query', fetch_result=has_rows, auto_begin=false) %}{{ sql }}{% endcall -%}
    {{ return(load_result('run_query').table if has_rows else none) }}
{%- endmacro %}
