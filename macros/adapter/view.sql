{# A view that this session of Spark has created from the same text is left as it is. #}
{% materialization view, adapter='spark' -%}
    {%- set text = compiled_code ~ model.description -%}
    {%- set existing = load_cached_relation(this) -%}
    {%- if existing is none or not existing.is_view or not is_noted(this, text) -%}
        {%- set created = create_or_replace_view() -%}
        {%- do note(this, text) -%}
        {{ return(created) }}
    {%- endif -%}
    {{ run_hooks(pre_hooks) }}
    {%- call noop_statement('main', 'UNCHANGED', 'UNCHANGED', 0) -%}{{ compiled_code }}{%- endcall -%}
    {{ run_hooks(post_hooks) }}
    {{ return({'relations': [existing]}) }}
{%- endmaterialization %}
