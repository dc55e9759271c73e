{# A relative lake is the project's; from another working folder Spark would start a second one. #}
{% macro check_lake() -%}
    {%- if target.name == 'local' and not env_var('LAKE_ROOT', '').startswith('/') -%}
        {%- if not lake().startswith(flags.PROJECT_DIR | string ~ '/') -%}
            {%- do exceptions.raise_compiler_error(
                'The lake would be ' ~ lake() ~ ', which is not in the project ' ~ flags.PROJECT_DIR
                ~ ': run dbt in the project folder, or set LAKE_ROOT to the absolute path of its lake.'
            ) -%}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}
