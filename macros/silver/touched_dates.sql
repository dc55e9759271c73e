{#
    A condition on `column` that holds for every date of the query's rows, as literal ranges, one per run of
    consecutive dates: Delta skips files by literals only, and by the whole span of an `in` list.
#}
{% macro touched_dates(column, query) -%}
    {%- if not execute -%}
        {{ return('true') }}
    {%- endif -%}
    {%- set ranges = run_query(
        'with dates as (select distinct event_date as day from (' ~ query ~ ')),'
        ~ ' numbered as (select day, date_sub(day, cast(row_number() over (order by day) as int)) as island from dates)'
        ~ ' select min(day) as first_day, max(day) as last_day from numbered group by island order by first_day'
    ).rows -%}
    {%- set conditions = [] -%}
    {%- for range in ranges -%}
        {%- do conditions.append(column ~ " between date '" ~ range['first_day'] ~ "' and date '" ~ range['last_day'] ~ "'") -%}
    {%- endfor -%}
    {{ return('(' ~ conditions | join(' or ') ~ ')' if conditions else 'false') }}
{%- endmacro %}
