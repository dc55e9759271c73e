{# Without its aliases every event would be rejected, and stay so: a seed that is missing or empty stops a build. #}
{% macro check_seeds() -%}
    {%- for seed in graph.nodes.values() if seed.resource_type == 'seed' and seed.unique_id not in selected_resources -%}
        {%- set relation = adapter.get_relation(none, seed.schema, seed.alias) -%}
        {%- if relation is none or run_query('select 1 from ' ~ relation ~ ' limit 1').rows | length == 0 -%}
            {%- do exceptions.raise_compiler_error('The seed ' ~ seed.name ~ ' is missing or empty in the lake: run dbt seed, or dbt build for all.') -%}
        {%- endif -%}
    {%- endfor -%}
{%- endmacro %}
