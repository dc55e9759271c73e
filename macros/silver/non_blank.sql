{# A text exactly as it is, NULL if it is only white space. #}
{% macro non_blank(column) -%}
    if({{ text_value(column) }} is null, null, {{ column }})
{%- endmacro %}
