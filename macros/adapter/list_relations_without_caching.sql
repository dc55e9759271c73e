{# The first question of commands that make no schema: see list_schemas. #}
{% macro spark__list_relations_without_caching(relation) -%}
    {%- do check_lake() -%}
    {%- call statement('list_relations_without_caching', fetch_result=True) -%}
        show table extended in {{ relation.schema }} like '*'
    {%- endcall -%}
    {{ return(load_result('list_relations_without_caching').table) }}
{%- endmacro %}
