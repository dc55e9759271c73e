{#
    What dbt-spark's incremental materialization is left with: a replay. It brings the table in line with all rows of the
    model: in one commit it writes those that are new or differ in any column, and deletes those that are no more.
#}
{% macro dbt_spark_get_incremental_sql(strategy, source, target, existing, unique_key, incremental_predicates) -%}
    {%- set columns = adapter.get_columns_in_relation(target) | map(attribute='name') | list -%}
    merge into {{ target }} as target
    using (
        select {{ columns | join(', ') }}, false as is_gone from {{ source }} as now
        left anti join {{ target }} as before on {{ same('now', 'before', columns) }}

        union all

        select {{ columns | join(', ') }}, true as is_gone from {{ target }} as before
        left anti join {{ source }} as now on {{ same('now', 'before', unique_key) }}
    ) as source
    on {{ same('target', 'source', unique_key) }}
    when matched and source.is_gone then delete
    when matched then update set *
    when not matched then insert *
{%- endmacro %}


{# The condition that two rows are equal in these columns, NULL being equal to NULL. #}
{% macro same(one, other, columns) -%}
    {%- for column in columns -%}
        {{ one }}.{{ column }} <=> {{ other }}.{{ column }}{{ ' and ' if not loop.last }}
    {%- endfor -%}
{%- endmacro %}
