{# Whether any company is new or has changed in these loads: its events of any date may get another row. #}
{% macro companies_changed(loads, companies) -%}
    {{ return(execute and is_incremental() and ask_once('select 1 from ' ~ companies ~ ' where valid_from_load_id > ' ~ loads.after ~ ' limit 1') | length > 0) }}
{%- endmacro %}
