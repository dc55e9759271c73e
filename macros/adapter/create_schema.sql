{# Every schema is a folder of the lake, so that a managed table lies at <lake>/<schema>/<table>. #}
{% macro spark__create_schema(relation) -%}
    {%- call statement('create_schema') -%}
        create schema if not exists {{ relation.without_identifier() }} location '{{ lake() }}/{{ relation.schema }}'
    {%- endcall -%}
{%- endmacro %}
