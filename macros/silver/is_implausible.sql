{# Whether a time is before 2000, or over a day after its record was loaded; an interval would cost a calendar for each row. #}
{% macro is_implausible(time, loaded_at) -%}
    ({{ time }} < timestamp '2000-01-01 00:00:00Z' or unix_micros({{ time }}) - unix_micros({{ loaded_at }}) > 24L * 60 * 60 * 1000000)
{%- endmacro %}
