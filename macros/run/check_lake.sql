{# A relative lake is the project's; from another working folder Spark would start a second one. #}
{% macro check_lake() -%}
    {%- if target.name == 'local' and not env_var('LAKE_ROOT', '').startswith('/') -%}
        {%- set folder = run_query("select reflect('java.lang.System', 'getProperty', 'user.dir') as folder").rows[0]['folder'] -%}
        {%- if invocation_args_dict.project_dir | string not in [folder, '.', './'] -%}
            {%- do exceptions.raise_compiler_error(
                'The lake would be ' ~ lake() ~ ', for dbt runs in ' ~ folder ~ ' and not in the project '
                ~ invocation_args_dict.project_dir ~ ': run it there, or set LAKE_ROOT to the absolute path of the lake.'
            ) -%}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}
