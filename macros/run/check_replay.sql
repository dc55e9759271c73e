{# A replay that ended half-way leaves tables of old and of new rules: only what makes them one may come next. #}
{% macro check_replay() -%}
    {%- if command() not in ['replay', 'full-refresh'] -%}
        {%- for run in run_query(
            'select run_id, command, status, failed_step from ' ~ source('audit', 'pipeline_runs')
            ~ " where command in ('replay', 'full-refresh') order by started_at desc limit 1"
        ).rows -%}
            {%- set is_complete = run['status'] == 'succeeded' or (run['failed_step'] or '').startswith('test.') -%}
            {%- if run['command'] == 'replay' and not is_complete -%}
                {%- do exceptions.raise_compiler_error(
                    'The replay ' ~ run['run_id'] ~ ' did not end, so some tables follow the new rules and others do not: '
                    ~ "run dbt build --vars 'replay: true' again."
                ) -%}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro %}
