{# Whether these loads have records of a feed; what is derived from that feed alone need not be written, if not. #}
{% macro has_new_records(loads, feed) -%}
    {{ return(not execute or not loads.after or ask_once(
        'select 1 from ' ~ source('bronze', 'source_files') ~ " where feed = '" ~ feed ~ "' and records > 0 and _load_id > " ~ loads.after
        ~ ' and _load_id <= ' ~ loads.up_to ~ ' limit 1'
    ) | length > 0) }}
{%- endmacro %}
