{# A replay derives everything anew, from all loads; what is written of it is only what differs. #}
{% macro is_incremental() -%}
    {{ return(not var('replay') and dbt.is_incremental()) }}
{%- endmacro %}
