{# Schemas are called as the layers are: silver, not <target schema>_silver. #}
{% macro generate_schema_name(custom_schema_name, node) -%}
    {{ custom_schema_name or target.schema }}
{%- endmacro %}
