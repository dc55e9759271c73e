{# Records what became of every model, and up to which load it is complete, in one commit; then closes the run. #}
{% macro end_run(results) -%}
    {%- if execute and is_build() -%}
        {%- set state = run_state() -%}
        {%- set steps = [] -%}
        {%- for result in results if result.node.resource_type in ['model', 'seed'] -%}
            {%- do steps.append(step_values(result, state)) -%}
        {%- endfor -%}
        {%- if steps -%}
            {%- do run_query('insert into ' ~ source('audit', 'pipeline_steps') ~ ' values ' ~ steps | join(', ')) -%}
        {%- endif -%}
        {%- set failed = results | map(attribute='status') | map('string') | select('in', ['error', 'fail', 'skipped', 'runtime error']) | list -%}
        update {{ source('audit', 'pipeline_runs') }}
        set ended_at = current_timestamp(), status = '{{ 'failed' if failed else 'succeeded' }}'
        where run_id = '{{ invocation_id }}'
    {%- endif -%}
{%- endmacro %}


{% macro step_values(result, state) -%}
    {%- set node = result.node -%}
    {%- set is_table = result.status == 'success' and node.config.materialized != 'view' -%}
    {%- set commit = newest_commit(node) if is_table else none -%}
    {{ return('(' ~ [
        "'" ~ invocation_id ~ "'",
        "'" ~ node.unique_id ~ "'",
        "'" ~ result.status ~ "'",
        commit.rows_written if commit else 'null',
        result.execution_time | round(3) ~ 'd',
        commit.version if commit else 'null',
        complete_up_to(node.unique_id, state) if is_table and node.resource_type == 'model' else 'null',
    ] | join(', ') ~ ')') }}
{%- endmacro %}


{# Version of a table, and the rows that this run inserted, updated or deleted there. #}
{% macro newest_commit(node) -%}
    {%- set commit = run_query('describe history ' ~ api.Relation.create(schema=node.schema, identifier=node.alias) ~ ' limit 1').rows[0] -%}
    {%- set rows = [] -%}
    {%- if commit['timestamp'] >= run_started_at.replace(tzinfo=none) -%}
        {%- set counts = 'numTargetRows(?:Inserted|Updated|Deleted)' if commit['operation'] == 'MERGE' else 'numOutputRows' -%}
        {%- for count in modules.re.findall(counts ~ '\W+([0-9]+)', commit['operationMetrics'] | string) -%}
            {%- do rows.append(count | int) -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return({'version': commit['version'], 'rows_written': rows | sum}) }}
{%- endmacro %}
