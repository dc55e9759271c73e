{#
    A time (UTC, microseconds) from a trimmed text: ISO 8601 with or without seconds and zone (none = UTC), or Unix
    time in seconds (ten digits before the point) or milliseconds (thirteen); NULL if it is neither.
    The pattern is stricter than the cast, which would take '2024' or a lower-case zone;
    and the cast is stricter than ISO, for it wants seconds where there is a zone. Numbers of thousands of digits, or with
    such an exponent, which no time has, would take Java minutes or end in an error.
#}
{% macro parse_timestamp(text) -%}
    {%- set date = '[0-9]{4}-[0-9]{2}-[0-9]{2}' -%}
    {%- set time = '([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9]([.][0-9]{1,9})?)?' -%}
    {%- set offset = '[+-](0[0-9]|1[0-7])(:?[0-5][0-9])?|[+-]18(:?00)?' -%}
    {%- set number = '-?(0|[1-9][0-9]*)([.][0-9]+)?([eE][+-]?0*[0-9]{1,3})?' -%}
    {%- set unix = 'cast(' ~ text ~ ' as decimal(38, 24))' -%}
    {%- set with_seconds = 'if(substr(' ~ text ~ ", 17, 1) = ':', " ~ text ~ ', concat(substr(' ~ text ~ ", 1, 16), ':00', substr(" ~ text ~ ', 17)))' -%}
    case
        when {{ text }} rlike '^{{ date }}[T ]{{ time }}(Z|{{ offset }})\\z' then cast({{ with_seconds }} as timestamp)
        when {{ text }} rlike '^{{ date }}[T ]{{ time }}\\z' then cast(concat({{ with_seconds }}, 'Z') as timestamp)
        when length({{ text }}) <= 1000 and {{ text }} rlike '^{{ number }}\\z' then
            case
                when {{ unix }} >= 1000000000 and {{ unix }} < 10000000000
                    then timestamp_micros(cast(floor({{ unix }} * 1000000) as bigint))
                when {{ unix }} >= 1000000000000 and {{ unix }} < 10000000000000
                    then timestamp_micros(cast(floor({{ unix }} * 1000) as bigint))
            end
    end
{%- endmacro %}
