{# A lake that was moved or copied with its metastore would be read where it was before; a server has a lake of its own. #}
{% macro check_metastore() -%}
    {%- set root = lake() -%}
    {%- if not is_alone() and env_var('LAKE_ROOT', root).rstrip('/') != root -%}
        {%- do exceptions.raise_compiler_error(
            'LAKE_ROOT is ' ~ env_var('LAKE_ROOT') ~ ', but the lake of the server is ' ~ root ~ ': set LAKE_ROOT to that, or ask another server.'
        ) -%}
    {%- endif -%}
    {%- do adapter.create_schema(api.Relation.create(schema='audit')) -%}
    {%- for row in run_query('describe schema audit').rows if row[0] == 'Location' and not row[1].endswith(root ~ '/audit') -%}
        {%- do exceptions.raise_compiler_error(
            'The metastore in ' ~ root ~ ' says that the tables lie in ' ~ row[1] ~ ': the lake was moved or copied. '
            ~ 'Delete the folder metastore in it and run again: every table is found by its folder.'
        ) -%}
    {%- endfor -%}
{%- endmacro %}
