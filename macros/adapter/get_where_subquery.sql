{# What a test's `where` can say besides SQL: `_load_id in new_loads`, and `<date> in touched_dates`. #}
{% macro spark__get_where_subquery(relation) -%}
    {%- set where = config.get('where') -%}
    {%- if not where -%}
        {{ return(relation) }}
    {%- endif -%}
    {%- set loads = loads_to_read() -%}
    {%- set column = where.removesuffix(' in touched_dates') -%}
    {%- if column != where -%}
        {%- set where = touched_dates(column, loads, api.Relation.create(schema='silver', identifier='driver_events')) -%}
    {%- endif -%}
    {{ return('(select * from ' ~ relation ~ ' where ' ~ where.replace('in new_loads', '> ' ~ loads.after) ~ ') as tested') }}
{%- endmacro %}
