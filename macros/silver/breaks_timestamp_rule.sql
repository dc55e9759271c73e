{#
    Whether a text is no time, told by other means than parse_timestamp: by its parts, one by one. For the tests that
    hold silver to its rules; NULL texts are none of its business.
#}
{% macro breaks_timestamp_rule(text) -%}
    {%- set pattern = '^([0-9]{4})-([0-9]{2})-([0-9]{2})[T ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:[.][0-9]{1,9})?)?(?:Z|[+-]([0-9]{2})(?::?([0-9]{2}))?)?\\\\z' -%}
    {%- set number = "if(length(" ~ text ~ ") <= 1000 and " ~ text ~ " rlike '^-?(0|[1-9][0-9]*)([.][0-9]+)?([eE][+-]?0*[0-9]{1,3})?\\\\z', cast(" ~ text ~ " as decimal(38, 24)), null)" -%}
    {%- set part = [] -%}
    {%- for group in range(9) -%}
        {%- do part.append('cast(regexp_extract(' ~ text ~ ", '" ~ pattern ~ "', " ~ group ~ ') as int)') -%}
    {%- endfor -%}
    not coalesce(
        make_date({{ part[1] }}, {{ part[2] }}, {{ part[3] }}) is not null
        and {{ part[4] }} <= 23
        and {{ part[5] }} <= 59
        and coalesce({{ part[6] }}, 0) <= 59
        and coalesce({{ part[8] }}, 0) <= 59
        and coalesce({{ part[7] }}, 0) * 60 + coalesce({{ part[8] }}, 0) <= 18 * 60
        or {{ number }} >= 1000000000 and {{ number }} < 10000000000
        or {{ number }} >= 1000000000000 and {{ number }} < 10000000000000,
        false
    )
{%- endmacro %}
