{#
    For dbt-spark an incremental model is a view, three descriptions and then the statement that writes, and Spark
    analyses the model's query each time. Here it is that statement alone; the columns are those that the contract
    declares. A first run, a full refresh and a replay are dbt-spark's.
#}
{% materialization incremental, adapter='spark' -%}
    {%- set existing = load_cached_relation(this) -%}
    {%- if existing is none or existing.is_view or should_full_refresh() or var('replay') -%}
        {%- if var('replay') -%}
            {%- do get_assert_columns_equivalent(compiled_code) -%}
        {%- endif -%}
        {{ return(dbt.materialization_incremental_spark()) }}
    {%- endif -%}
    {%- do check_columns() -%}
    {{ run_hooks(pre_hooks) }}
    {%- set plan = graph.get('write of ' ~ model.unique_id, {}) -%}
    {%- if not plan.get('is_needed', true) -%}
        {%- call noop_statement('main', 'UNCHANGED', 'UNCHANGED', 0) -%}{{ compiled_code }}{%- endcall -%}
    {%- else -%}
        {%- set appends = plan.get('appends') or config.get('incremental_strategy') == 'append' -%}
        {%- call statement('main') -%}
            {{ get_append_sql() if appends else get_merge_sql(plan.get('can_match', 'true')) }}
        {%- endcall -%}
    {%- endif -%}
    {{ run_hooks(post_hooks) }}
    {{ return({'relations': [this]}) }}
{%- endmaterialization %}


{% macro check_columns() -%}
    {%- set declared = [] -%}
    {%- for column in model.columns.values() -%}
        {%- do declared.append(column.name ~ ' ' ~ column.data_type | lower | replace(' ', '')) -%}
    {%- endfor -%}
    {%- set found = [] -%}
    {%- for column in adapter.get_columns_in_relation(this) -%}
        {%- do found.append(column.name ~ ' ' ~ column.dtype | lower) -%}
    {%- endfor -%}
    {%- if declared | sort != found | sort -%}
        {%- do exceptions.raise_compiler_error(
            this ~ ' has the columns ' ~ found | join(', ') ~ ', but its model declares ' ~ declared | join(', ')
            ~ ": add new columns with dbt build --vars 'replay: true'; for any other change run dbt build --full-refresh, or correct what the YAML says."
        ) -%}
    {%- endif -%}
{%- endmacro %}


{# What a build that was killed has added already is left out. #}
{% macro get_append_sql() -%}
    {%- set columns = model.columns.keys() | join(', ') -%}
    insert into {{ this }} ({{ columns }})
    select {{ columns }} from (
        {{ compiled_code }}
    ) as now
    left anti join {{ this }} as before
        on {{ same('now', 'before', config.get('unique_key')) }} and before._load_id > {{ loads_to_read().after }}
{%- endmacro %}


{#
    Keys compare as equal when both are NULL. A model can name, as `meta.delete_when`, the source rows whose match is to
    go, all in one commit.
#}
{% macro get_merge_sql(can_match) -%}
    {%- set delete_when = config.get('meta', {}).get('delete_when') %}
    merge into {{ this }} as target
    using (
        {{ compiled_code }}
    ) as source
    on {{ same('target', 'source', config.get('unique_key')) }} and {{ can_match }}
    {%- if delete_when %}
    when matched and source.{{ delete_when }} then delete
    {%- endif %}
    when matched then update set *
    when not matched {% if delete_when %}and not source.{{ delete_when }} {% endif %}then insert *
{%- endmacro %}
