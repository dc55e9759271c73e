{#
    After a model: the load up to which it is complete now, also where it added nothing, so that the models that read it
    in this run know, and what it has written; the end of the run records both.
#}
{% macro record_loads() -%}
    {%- if execute and is_build() and model.config.materialized != 'view' -%}
        {%- set state = run_state() -%}
        {%- set up_to = [newest_readable_load(model, state), state.complete_up_to.get(model.unique_id, 0)] | max -%}
        {%- do state.complete_up_to.update({model.unique_id: up_to}) -%}
        {%- do state.commits.update({model.unique_id: newest_commit(model)}) -%}
    {%- endif -%}
{%- endmacro %}
