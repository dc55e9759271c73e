{#
    The loads that a model reads in this run: those above `after`, up to and with `up_to`, as literals, so that
    Delta skips the files of all others. `after` is the load up to which the model is complete; `up_to` is the
    smallest such number of the models that it reads: a model may be late, never ahead of what it reads.
#}
{% macro loads_to_read() -%}
    {%- if not execute -%}
        {{ return({'after': 0, 'up_to': 0}) }}
    {%- endif -%}
    {%- set state = run_state() -%}
    {{ return({
        'after': state.complete_up_to.get(model.unique_id, 0) if is_incremental() else 0,
        'up_to': newest_readable_load(state),
    }) }}
{%- endmacro %}


{% macro newest_readable_load(state) -%}
    {%- set up_to = [state.pin] -%}
    {%- for parent_id in model.depends_on.nodes
        if parent_id.startswith('model.') and graph.nodes[parent_id].config.materialized != 'view' -%}
        {%- do up_to.append(state.complete_up_to.get(parent_id, 0)) -%}
    {%- endfor -%}
    {{ return(up_to | min) }}
{%- endmacro %}


{#
    The run's pin (the newest complete load for commands that are no build), and every model's number. A build asks
    once and keeps it in dbt's graph, which all its nodes share: nobody else changes them, for one dbt at a time is let
    into a lake.
#}
{% macro run_state() -%}
    {%- set key = 'run_state of ' ~ invocation_id -%}
    {%- if key not in graph -%}
        {%- set state = queried_run_state() -%}
        {%- if not is_build() -%}
            {{ return(state) }}
        {%- endif -%}
        {%- do graph.update({key: state}) -%}
    {%- endif -%}
    {{ return(graph[key]) }}
{%- endmacro %}


{% macro queried_run_state() -%}
    {%- if load_relation(source('audit', 'pipeline_steps')) is none -%}
        {{ return({'pin': newest_load_id(), 'complete_up_to': {}}) }}
    {%- endif -%}
    {%- set rows = run_query(
        "select null as step, max(up_to_load_id) as load_id from " ~ source('audit', 'pipeline_runs')
        ~ " where run_id = '" ~ invocation_id ~ "' union all "
        ~ "select step, max(complete_up_to_load_id) from " ~ source('audit', 'pipeline_steps') ~ " group by step"
    ).rows -%}
    {%- set pin = rows | selectattr('step', 'none') | map(attribute='load_id') | first -%}
    {%- set numbers = {} -%}
    {%- for row in rows if row['load_id'] is not none and row['step'] is not none -%}
        {%- do numbers.update({row['step']: row['load_id'] | int}) -%}
    {%- endfor -%}
    {{ return({'pin': newest_load_id() if pin is none else pin | int, 'complete_up_to': numbers}) }}
{%- endmacro %}
