{# Opens the lake for a command of dbt, and pins for a build the loads that all its models see. #}
{% macro start_run() -%}
    {%- if execute -%}
        {%- do check_full_refresh() -%}
        {%- do check_metastore() -%}
        {%- do register_tables() -%}
        {%- if is_build() -%}
            {%- do check_seeds() -%}
            {%- for name in ['minimum_match_rate', 'maximum_rejected_driver_events', 'maximum_rejected_companies'] -%}
                {%- do threshold(name) -%}
            {%- endfor -%}
            {%- do close_abandoned_runs() -%}
            {%- do check_replay() -%}
            insert into {{ source('audit', 'pipeline_runs') }} (run_id, command, started_at, up_to_load_id, status)
            values ('{{ invocation_id }}', '{{ command() }}', current_timestamp(), {{ newest_load_id() }}, 'running')
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}


{#
    Where the lake's lock lets one dbt in at a time, a run that is still open was killed. Elsewhere, as behind a Thrift
    server, only a person can know that: it may be at work.
#}
{% macro close_abandoned_runs() -%}
    {%- set runs = source('audit', 'pipeline_runs') -%}
    {%- for run in run_query('select run_id, started_at from ' ~ runs ~ " where status = 'running'").rows -%}
        {%- if run['run_id'] != var('take_over') and not is_alone() -%}
            {%- do exceptions.raise_compiler_error(
                'The run ' ~ run['run_id'] ~ ', begun at ' ~ run['started_at'] ~ ' UTC, is still running on this lake, or was killed: wait for its end. '
                ~ "If you know that it is dead, take over with --vars 'take_over: " ~ run['run_id'] ~ "'."
            ) -%}
        {%- endif -%}
        {%- do run_query('update ' ~ runs ~ " set status = 'abandoned' where run_id = '" ~ run['run_id'] ~ "'") -%}
    {%- endfor -%}
{%- endmacro %}


{# Whether this process holds the lake's lock for builds alone, as it has told Spark's session. #}
{% macro is_alone() -%}
    {{ return(run_query('set medallion.build_lock').rows[0]['value'] == 'held') }}
{%- endmacro %}


{# What audit.pipeline_runs calls this run. #}
{% macro command() -%}
    {{ return('replay' if var('replay') else 'full-refresh' if flags.FULL_REFRESH else flags.WHICH) }}
{%- endmacro %}


{% macro is_build() -%}
    {{ return(flags.WHICH in ['build', 'run', 'retry']) }}
{%- endmacro %}


{# The newest load that is complete: its rows in bronze.source_files are its commit mark. #}
{% macro newest_load_id() -%}
    {%- set source_files = source('bronze', 'source_files') -%}
    {%- if load_relation(source_files) is none -%}
        {{ return(0) }}
    {%- endif -%}
    {{ return(run_query('select coalesce(max(_load_id), 0) as load_id from ' ~ source_files).rows[0]['load_id']) }}
{%- endmacro %}
