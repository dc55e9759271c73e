{# A replay or full refresh that ended half-way leaves tables of old and of new rules: only what makes the rest of them anew may come next. #}
{% macro check_replay() -%}
    {%- set run = runs_to_heed() | selectattr('command', 'in', ['replay', 'full-refresh']) | list | last -%}
    {%- if run -%}
        {%- set left = graph.nodes.values() | selectattr('resource_type', 'equalto', 'model') | map(attribute='unique_id') | list -%}
        {%- if run['status'] in ['succeeded', 'failed'] -%}
            {%- set failed = 'select step from ' ~ source('audit', 'pipeline_steps') ~ " where run_id = '" ~ run['run_id'] ~ "' and step like 'model.%' and status <> 'success'" -%}
            {%- set left = left | select('in', run_query(failed).columns[0].values()) | list -%}
        {%- endif -%}
        {%- if command() in ['replay', 'full-refresh'] -%}
            {%- set left = left | reject('in', selected_resources) | list -%}
        {%- endif -%}
        {%- if left -%}
            {%- do exceptions.raise_compiler_error(
                'The ' ~ run['command'] ~ ' ' ~ run['run_id'] ~ ' did not end, so some tables follow the new rules and others do not: run '
                ~ ("dbt build --vars 'replay: true'" if run['command'] == 'replay' else 'dbt build --full-refresh') ~ ' again.'
            ) -%}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}
