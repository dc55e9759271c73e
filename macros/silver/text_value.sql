{# A text trimmed of ASCII white space, NULL if nothing is left. #}
{% macro text_value(column) -%}
    nullif(trim(both ' \t\n\u000b\u000c\r' from {{ column }}), '')
{%- endmacro %}
