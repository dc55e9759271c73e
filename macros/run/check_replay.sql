{# A replay or full refresh that ended half-way leaves tables of old and of new rules: only what makes them one may come next. #}
{% macro check_replay() -%}
    {%- if command() not in ['replay', 'full-refresh'] -%}
        {%- set runs = source('audit', 'pipeline_runs') -%}
        {%- for run in run_query(
            'select run_id, command from ' ~ runs ~ ' where started_at = (select max(started_at) from ' ~ runs
            ~ " where command in ('replay', 'full-refresh')) and (status not in ('succeeded', 'failed') or run_id in (select run_id from "
            ~ source('audit', 'pipeline_steps') ~ " where step like 'model.%' and status <> 'success'))"
        ).rows -%}
            {%- do exceptions.raise_compiler_error(
                'The ' ~ run['command'] ~ ' ' ~ run['run_id'] ~ ' did not end, so some tables follow the new rules and others do not: run '
                ~ ("dbt build --vars 'replay: true'" if run['command'] == 'replay' else 'dbt build --full-refresh') ~ ' again.'
            ) -%}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro %}
