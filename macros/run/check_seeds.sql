{# Without its aliases every event would be rejected, and stay so: an emptied seed stops a build. #}
{% macro check_seeds() -%}
    {%- for seed in graph.nodes.values() if seed.resource_type == 'seed' and seed.unique_id not in selected_resources -%}
        {%- set relation = adapter.get_relation(none, seed.schema, seed.alias) -%}
        {%- if relation is not none and run_query('select 1 from ' ~ relation ~ ' limit 1').rows | length == 0 -%}
            {%- do exceptions.raise_compiler_error('The seed table ' ~ relation ~ ' is empty: run dbt seed --select ' ~ seed.name ~ ', then build again.') -%}
        {%- endif -%}
    {%- endfor -%}
{%- endmacro %}
