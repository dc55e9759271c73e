{#
    After a model: record the load up to which it is complete now, also where it added nothing, so that the models
    that read it in this run or a later one know. A run without new loads records nothing.
#}
{% macro record_loads() -%}
    {%- if execute and is_build() and model.config.materialized != 'view' -%}
        {%- set state = run_state() -%}
        {%- set up_to = newest_readable_load(model, state) -%}
        {%- if up_to > state.complete_up_to.get(model.unique_id, -1) -%}
            {%- do state.complete_up_to.update({model.unique_id: up_to}) -%}
            insert into {{ source('audit', 'pipeline_steps') }} (run_id, step, status, complete_up_to_load_id)
            values ('{{ invocation_id }}', '{{ model.unique_id }}', 'success', {{ up_to }})
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}
