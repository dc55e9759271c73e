{#
    Value of a key that was declared when some records were in bronze already: those name it in `_unknown_keys` and
    have it in `_raw`, which is read here as bronze would have read it, but for numbers that Spark writes otherwise than
    Python does: those beyond the range of doubles or with large exponents.
#}
{% macro added_key(key) -%}
    if(
        array_contains(_unknown_keys, '{{ key }}'),
        from_json({{ without_lone_surrogates('_raw') }}, 'map<string,string>')['{{ key }}'],
        {{ key }}
    )
{%- endmacro %}


{# JSON text with `?` for unpaired surrogates: `\\` and the pairs are set aside by U+0001, which no JSON text has. #}
{% macro without_lone_surrogates(json) -%}
    if(
        {{ json }} not rlike '\\\\u[dD][89a-fA-F]', {{ json }},
        replace(replace(
            regexp_replace(
                regexp_replace(
                    replace({{ json }}, '\\\\', '\u0001b'),
                    '\\\\u([dD][89abAB][0-9a-fA-F]{2})\\\\u([dD][c-fC-F][0-9a-fA-F]{2})', '\u0001u$1\u0001u$2'
                ),
                '\\\\u[dD][89a-fA-F][0-9a-fA-F]{2}', '?'
            ),
            '\u0001u', '\\u'
        ), '\u0001b', '\\\\')
    )
{%- endmacro %}
