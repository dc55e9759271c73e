{# A text trimmed of ASCII white space, NULL if nothing is left. Most texts have none, which their ends tell sooner. #}
{% macro text_value(column) -%}
    if({{ column }} >= '!' and right({{ column }}, 1) >= '!', {{ column }}, nullif(trim(both ' \t\n\u000b\u000c\r' from {{ column }}), ''))
{%- endmacro %}
