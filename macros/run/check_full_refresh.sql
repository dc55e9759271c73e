{#
    A model that is made anew, or replayed, without those that are derived from it, or an accepted table without its
    rejected twin, would leave a lake whose tables come from different rules.
#}
{% macro check_full_refresh() -%}
    {%- if (flags.FULL_REFRESH or var('replay')) and is_build() -%}
        {%- for node in graph.nodes.values() if node.resource_type == 'model' and node.unique_id not in selected_resources -%}
            {%- for parent_id in node.depends_on.nodes if parent_id in selected_resources -%}
                {%- do exceptions.raise_compiler_error(
                    ('a replay' if var('replay') else '--full-refresh') ~ ' of ' ~ parent_id.split('.')[-1] ~ ' without ' ~ node.name ~ ', which is derived from it:'
                    ~ ' select ' ~ parent_id.split('.')[-1] ~ '+ (with the plus), or everything.'
                ) -%}
            {%- endfor -%}
        {%- endfor -%}
        {%- for node in graph.nodes.values() if node.unique_id in selected_resources and node.name.startswith('rejected_') -%}
            {%- for parent_id in node.depends_on.nodes if parent_id not in selected_resources and graph.nodes.get(parent_id, {}).get('config', {}).get('materialized') == 'incremental' -%}
                {%- do exceptions.raise_compiler_error(
                    ('a replay' if var('replay') else '--full-refresh') ~ ' of ' ~ node.name ~ ' without ' ~ parent_id.split('.')[-1] ~ ', whose rejected records it has:'
                    ~ ' select ' ~ parent_id.split('.')[-1] ~ '+ (with the plus), or everything.'
                ) -%}
            {%- endfor -%}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro %}
