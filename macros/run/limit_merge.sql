{# Says of the model that is being built which rows of its table a merge can match, so that Delta reads no others. #}
{% macro limit_merge(condition) -%}
    {%- if execute -%}
        {%- do graph.update({'merge of ' ~ model.unique_id: condition}) -%}
    {%- endif -%}
{%- endmacro %}
