{#
    dbt-spark's merge neither deletes nor compares keys that can be NULL. Here keys compare as equal when both
    are NULL, and a model can name, as `meta.delete_when`, the source rows whose match is to go, all in one commit,
    and by limit_merge the rows of the table that can match.
#}
{% macro spark__get_merge_sql(target, source, unique_key, dest_columns, incremental_predicates) -%}
    {%- set delete_when = config.get('meta', {}).get('delete_when') %}
    merge into {{ target }} as target
    using {{ source }} as source
    on {{ same('target', 'source', unique_key) }} and {{ graph.get('merge of ' ~ model.unique_id, 'true') }}
    {%- if delete_when %}
    when matched and source.{{ delete_when }} then delete
    {%- endif %}
    when matched then update set *
    when not matched {% if delete_when %}and not source.{{ delete_when }} {% endif %}then insert *
{%- endmacro %}
