{# Records what became of every model, seed and test, judges what the run left, and closes it. #}
{% macro end_run(results) -%}
    {%- if execute and is_build() -%}
        {%- set state = run_state() -%}
        {%- set steps = [] -%}
        {%- for result in results if result.node.resource_type in ['model', 'seed', 'test'] -%}
            {%- do steps.append(step_values(result, state)) -%}
        {%- endfor -%}
        {%- if steps -%}
            {%- do run_query(
                'insert into ' ~ source('audit', 'pipeline_steps')
                ~ ' (run_id, step, status, rows_written, seconds, table_version, complete_up_to_load_id) values ' ~ steps | join(', ')
            ) -%}
        {%- endif -%}
        {%- set failed = results | selectattr('status', 'in', ['error', 'fail', 'skipped', 'runtime error']) | map(attribute='node.unique_id') | list -%}
        {%- set breaches = judge_run(state.complete_up_to) -%}
        {%- if breaches and var('strict_thresholds') -%}
            {%- do failed.append(breaches[0]) -%}
        {%- endif -%}
        {%- do run_query(
            'update ' ~ source('audit', 'pipeline_runs') ~ " set ended_at = current_timestamp(), status = '" ~ ('failed' if failed else 'succeeded')
            ~ "', failed_step = " ~ string_literal(failed | first if failed else none) ~ " where run_id = '" ~ invocation_id ~ "'"
        ) -%}
        {%- if breaches and var('strict_thresholds') -%}
            {%- do exceptions.raise_compiler_error(breaches | join(' ')) -%}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}


{% macro step_values(result, state) -%}
    {%- set node = result.node -%}
    {%- set is_table = result.status == 'success' and node.config.materialized != 'view' -%}
    {%- set commit = (state.commits.get(node.unique_id) or newest_commit(node)) if is_table else none -%}
    {%- set complete_up_to = newest_readable_load(node, state) if result.status == 'pass' and is_level(node) else state.complete_up_to.get(node.unique_id) if is_table else none -%}
    {{ return('(' ~ [
        "'" ~ invocation_id ~ "'",
        "'" ~ node.unique_id ~ "'",
        "'" ~ result.status ~ "'",
        'bigint(' ~ (commit.rows_written if commit else 'null') ~ ')',
        result.execution_time | round(3) ~ 'd',
        'bigint(' ~ (commit.version if commit else 'null') ~ ')',
        'bigint(' ~ ('null' if complete_up_to is none else complete_up_to) ~ ')',
    ] | join(', ') ~ ')') }}
{%- endmacro %}


{# Version of a table, and the rows that this run inserted, updated or deleted there. #}
{% macro newest_commit(node) -%}
    {%- set commit = run_query('describe history ' ~ api.Relation.create(schema=node.schema, identifier=node.alias) ~ ' limit 1').rows[0] -%}
    {%- set rows = [] -%}
    {%- if commit['timestamp'] >= run_started_at.replace(tzinfo=none) -%}
        {%- set counts = 'numTargetRows(?:Inserted|Updated|Deleted)' if commit['operation'] == 'MERGE' else 'numOutputRows' -%}
        {%- for count in modules.re.findall(counts ~ '\\W+([0-9]+)', commit['operationMetrics'] | string) -%}
            {%- do rows.append(count | int) -%}
        {%- endfor -%}
    {%- endif -%}
    {{ return({'version': commit['version'], 'rows_written': rows | sum}) }}
{%- endmacro %}
