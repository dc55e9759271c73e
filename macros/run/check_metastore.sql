{# A lake that was moved or copied with its metastore would be read where it was before. #}
{% macro check_metastore() -%}
    {%- do adapter.create_schema(api.Relation.create(schema='audit')) -%}
    {%- for row in run_query('describe schema audit').rows if row[0] == 'Location' and not row[1].endswith(lake() ~ '/audit') -%}
        {%- do exceptions.raise_compiler_error(
            'The metastore in ' ~ lake() ~ ' says that the tables lie in ' ~ row[1] ~ ': the lake was moved or copied. '
            ~ 'Delete the folder metastore in it and run again: every table is found by its folder.'
        ) -%}
    {%- endfor -%}
{%- endmacro %}
