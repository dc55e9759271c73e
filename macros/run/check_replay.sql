{# A replay or full refresh that ended half-way leaves tables of old and of new rules: only what makes them one may come next. #}
{% macro check_replay() -%}
    {%- set run = runs_to_heed() | selectattr('command', 'in', ['replay', 'full-refresh']) | list | last -%}
    {%- if run and command() not in ['replay', 'full-refresh'] -%}
        {%- set failed = 'select 1 from ' ~ source('audit', 'pipeline_steps') ~ " where run_id = '" ~ run['run_id'] ~ "' and step like 'model.%' and status <> 'success' limit 1" -%}
        {%- if run['status'] not in ['succeeded', 'failed'] or run_query(failed).rows | length > 0 -%}
            {%- do exceptions.raise_compiler_error(
                'The ' ~ run['command'] ~ ' ' ~ run['run_id'] ~ ' did not end, so some tables follow the new rules and others do not: run '
                ~ ("dbt build --vars 'replay: true'" if run['command'] == 'replay' else 'dbt build --full-refresh') ~ ' again.'
            ) -%}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}
