{#
    A condition on `column` that holds for every date of the events of these loads in `relation`, as literal ranges,
    one per run of consecutive dates: Delta skips files by literals only, and by the whole span of an `in` list. More
    ranges than a statement should have are one, from the first day to the last.
#}
{% macro touched_dates(column, loads, relation) -%}
    {%- set conditions = [] -%}
    {%- if execute and loads.after -%}
        {%- set ranges = [] -%}
        {%- for row in ask_once(
            'select distinct event_date as day, unix_date(event_date) as number from ' ~ relation
            ~ ' where _load_id > ' ~ loads.after ~ ' and _load_id <= ' ~ loads.up_to
        ) | sort(attribute='number') -%}
            {%- set first_day = ranges.pop().first_day if ranges and ranges[-1].number + 1 == row['number'] else row['day'] -%}
            {%- do ranges.append({'first_day': first_day, 'last_day': row['day'], 'number': row['number']}) -%}
        {%- endfor -%}
        {%- if ranges | length > 100 -%}
            {%- set ranges = [{'first_day': ranges[0].first_day, 'last_day': ranges[-1].last_day}] -%}
        {%- endif -%}
        {%- for range in ranges -%}
            {%- do conditions.append(column ~ " between date '" ~ range.first_day ~ "' and date '" ~ range.last_day ~ "'") -%}
        {%- endfor -%}
    {%- else -%}
        {%- do conditions.append('true') -%}
    {%- endif -%}
    {{ return('(' ~ conditions | join(' or ') ~ ')' if conditions | length > 1 else conditions | first | default('false')) }}
{%- endmacro %}
