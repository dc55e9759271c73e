{#
    Says of the model that is being built what it knows of its write, which Spark finds out late and at a cost: whether it
    can have anything to write, whether no row of its table can have changed, so that its rows need only be appended, and
    which rows of the table a merge can match, so that Delta reads no others.
#}
{% macro plan_write(is_needed=true, appends=false, can_match='true') -%}
    {%- if execute -%}
        {%- do graph.update({'write of ' ~ model.unique_id: {'is_needed': is_needed, 'appends': appends, 'can_match': can_match}}) -%}
    {%- endif -%}
{%- endmacro %}
