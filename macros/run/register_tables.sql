{#
    Makes Spark and dbt's cache know every table that lies in the lake, so that a lost metastore costs nothing,
    and makes the tables that dbt only reads or that hooks write, where there are none yet.
#}
{% macro register_tables() -%}
    {%- set missing = [] -%}
    {%- for node in graph.sources.values() | list + graph.nodes.values() | list
        if node.resource_type in ['source', 'seed'] or node.resource_type == 'model' and node.config.materialized != 'view' -%}
        {%- if adapter.get_relation(none, node.schema, node.get('identifier') or node.alias) is none -%}
            {%- do missing.append(node) -%}
        {%- endif -%}
    {%- endfor -%}
    {%- if missing -%}
        {%- for schema in missing | map(attribute='schema') | unique -%}
            {%- do adapter.create_schema(api.Relation.create(schema=schema)) -%}
        {%- endfor -%}
        {%- do create_source_tables('audit', []) -%}
        {%- set found = tables_in_lake() -%}
        {%- for path in found -%}
            {%- do register_table(path.split('/')[-2], path.split('/')[-1], path) -%}
        {%- endfor -%}
        {%- do create_source_tables('bronze', found) -%}
    {%- endif -%}
{%- endmacro %}


{# Paths of all Delta tables of the lake. There is at least one: audit was made just before. #}
{% macro tables_in_lake() -%}
    {%- set logs = run_query(
        "select distinct regexp_replace(split(path, '/_delta_log/')[0], '^file:/+', '/') as path from binaryFile.`" ~ lake() ~ "/*/*/_delta_log/*.json`"
    ) -%}
    {{ return(logs.columns['path'].values() | list) }}
{%- endmacro %}


{% macro register_table(schema, table, path) -%}
    {%- if adapter.get_relation(none, schema, table) is none -%}
        {%- set relation = api.Relation.create(schema=schema, identifier=table, type='table', is_delta=true) -%}
        {%- do adapter.create_schema(relation) -%}
        {%- do run_query('create table if not exists ' ~ relation ~ " using delta location '" ~ path ~ "'") -%}
        {%- do adapter.cache_added(relation) -%}
    {%- endif -%}
{%- endmacro %}


{# Empty tables with the columns that the YAML declares: one without columns could not be read by others. #}
{% macro create_source_tables(source_name, found) -%}
    {%- for node in graph.sources.values() if node.source_name == source_name -%}
        {%- set path = lake() ~ '/' ~ node.schema ~ '/' ~ node.identifier -%}
        {%- set relation = api.Relation.create(schema=node.schema, identifier=node.identifier, type='table', is_delta=true) -%}
        {%- if path not in found and adapter.get_relation(none, node.schema, node.identifier) is none -%}
            {%- set columns = [] -%}
            {%- for column in node.columns.values() -%}
                {%- do columns.append(column.name ~ ' ' ~ (column.data_type or 'string')) -%}
            {%- endfor -%}
            {%- do run_query('create table if not exists ' ~ relation ~ ' (' ~ columns | join(', ') ~ ") using delta location '" ~ path ~ "'") -%}
            {%- do adapter.cache_added(relation) -%}
        {%- endif -%}
    {%- endfor -%}
{%- endmacro %}
