{# dbt's first question to Spark: before it, make sure that the answer comes from the project's lake. #}
{% macro spark__list_schemas(database) -%}
    {%- do check_lake() -%}
    {%- call statement('list_schemas', fetch_result=True, auto_begin=False) -%}
        show databases
    {%- endcall -%}
    {{ return(load_result('list_schemas').table) }}
{%- endmacro %}
