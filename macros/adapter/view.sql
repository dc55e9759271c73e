{#
    A view that this session of Spark has created from the same text is left as it is, so a process that builds again
    and again creates it once. On a cluster each of dbt's connections is a session of its own.
#}
{% materialization view, adapter='spark' -%}
    {%- set mark = 'medallion.view.' ~ this.schema ~ '.' ~ this.identifier -%}
    {%- set text = local_md5(compiled_code ~ model.description) -%}
    {%- set existing = load_cached_relation(this) -%}
    {%- if existing is none or not existing.is_view or run_query('set ' ~ mark).rows[0]['value'] != text -%}
        {%- set created = create_or_replace_view() -%}
        {%- do run_query('set ' ~ mark ~ ' = ' ~ text) -%}
        {{ return(created) }}
    {%- endif -%}
    {{ run_hooks(pre_hooks) }}
    {%- call noop_statement('main', 'UNCHANGED', 'UNCHANGED', 0) -%}{{ compiled_code }}{%- endcall -%}
    {{ run_hooks(post_hooks) }}
    {{ return({'relations': [existing]}) }}
{%- endmaterialization %}
