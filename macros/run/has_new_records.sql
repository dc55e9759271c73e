{# Whether these loads may have records of a feed; what is derived from that feed alone need not be written, if not. #}
{% macro has_new_records(loads, feed) -%}
    {{ return(not execute or not loads.after or [run_state().newest_records.get(feed, 0), loads.up_to] | min > loads.after) }}
{%- endmacro %}


{# The feeds that have them; all, if none has, for a query must read something. #}
{% macro feeds_to_read(loads) -%}
    {%- set all = ['driver_events', 'companies'] -%}
    {%- set read = [] -%}
    {%- for feed in all if has_new_records(loads, feed) -%}
        {%- do read.append(feed) -%}
    {%- endfor -%}
    {{ return(read or all) }}
{%- endmacro %}
