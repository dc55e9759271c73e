{#
    The loads that a model or a test reads in this run: those above `after`, up to and with `up_to`, as literals, so
    that Delta skips the files of all others. `after` is the load up to which the model is complete, or the test has
    passed; `up_to` is the smallest such number of the models that it reads: it may be late, never ahead of them.
#}
{% macro loads_to_read() -%}
    {%- if not execute -%}
        {{ return({'after': 0, 'up_to': 0}) }}
    {%- endif -%}
    {%- set state = run_state() -%}
    {{ return({
        'after': state.complete_up_to.get(model.unique_id, 0) if reads_only_what_is_new() else 0,
        'up_to': newest_readable_load(model, state),
    }) }}
{%- endmacro %}


{# A build tests what is new; `dbt test`, and whoever makes tables anew, all that is there. #}
{% macro reads_only_what_is_new() -%}
    {{ return(is_build() and not flags.FULL_REFRESH and not var('replay') if model.resource_type == 'test' else is_incremental()) }}
{%- endmacro %}


{% macro newest_readable_load(node, state) -%}
    {%- set up_to = [state.pin] -%}
    {%- for parent_id in node.depends_on.nodes
        if parent_id.startswith('model.') and graph.nodes[parent_id].config.materialized != 'view' -%}
        {%- do up_to.append(state.complete_up_to.get(parent_id, 0)) -%}
    {%- endfor -%}
    {{ return(up_to | min) }}
{%- endmacro %}


{# Whether no model that a test reads is ahead of another; a test passes for good only where it is so. #}
{% macro is_level(node) -%}
    {%- set ahead = [] -%}
    {%- if execute -%}
        {%- set state = run_state() -%}
        {%- set up_to = newest_readable_load(node, state) -%}
        {%- for parent_id in node.depends_on.nodes if state.complete_up_to.get(parent_id, 0) > up_to -%}
            {%- do ahead.append(parent_id) -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return(not ahead) }}
{%- endmacro %}


{#
    The run's pin (the newest complete load for commands that are no build), the newest load with records of each feed,
    the number of every model and test, and what this run has committed to which model's table. dbt's graph, which all
    nodes of a run share, keeps it: nobody else changes them, for one build at a time is let into a lake.
#}
{% macro run_state() -%}
    {%- set key = 'run_state of ' ~ invocation_id -%}
    {%- if key not in graph -%}
        {%- do graph.update({key: queried_run_state()}) -%}
    {%- endif -%}
    {{ return(graph[key]) }}
{%- endmacro %}


{#
    What a test has passed before the last replay or full refresh, it has passed on other rows. A load is complete when
    it has rows in bronze.source_files, its commit mark.
#}
{% macro queried_run_state() -%}
    {%- set state = {'pin': 0, 'newest_records': {}, 'complete_up_to': {}, 'commits': {}} -%}
    {%- set questions = [] -%}
    {%- if load_relation(source('audit', 'pipeline_steps')) is not none -%}
        {%- set runs = source('audit', 'pipeline_runs') -%}
        {%- set run = runs_to_heed() | selectattr('command', 'in', ['replay', 'full-refresh']) | list | last -%}
        {%- do questions.append(
            'select step, null as feed, max(complete_up_to_load_id) as load_id, null as newest_records from ' ~ source('audit', 'pipeline_steps')
            ~ ' where complete_up_to_load_id is not null'
            ~ (" and (step not like 'test.%' or run_id in (select run_id from " ~ runs ~ ' where started_at >= (select started_at from '
               ~ runs ~ " where run_id = '" ~ run['run_id'] ~ "')))" if run else '')
            ~ ' group by step'
        ) -%}
    {%- endif -%}
    {%- if load_relation(source('bronze', 'source_files')) is not none -%}
        {%- do questions.append(
            'select null as step, feed, max(_load_id) as load_id, max(if(records > 0, _load_id, 0)) as newest_records from ' ~ source('bronze', 'source_files') ~ ' group by feed'
        ) -%}
    {%- endif -%}
    {%- for row in (run_query(questions | join(' union all ')).rows if questions else []) -%}
        {%- if row['feed'] is none -%}
            {%- do state.complete_up_to.update({row['step']: row['load_id'] | int}) -%}
        {%- else -%}
            {%- do state.update({'pin': [state.pin, row['load_id'] | int] | max}) -%}
            {%- do state.newest_records.update({row['feed']: row['newest_records'] | int}) -%}
        {%- endif -%}
    {%- endfor -%}
    {{ return(state) }}
{%- endmacro %}
