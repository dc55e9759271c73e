{# A text as a Spark literal, NULL where there is none; dbt's own escaping is not Spark's. #}
{% macro string_literal(text) -%}
    {%- if text is none -%} null
    {%- else -%} '{{ text | string | replace('\\', '\\\\') | replace("'", "\\'") }}'
    {%- endif -%}
{%- endmacro %}
