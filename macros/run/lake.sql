{# The lake's folder, absolute, as Spark itself sees it: the profile stays the one place that names it. #}
{% macro lake() -%}
    {{ return(run_query('set spark.sql.warehouse.dir').rows[0]['value'] | replace('file:', '', 1)) }}
{%- endmacro %}
