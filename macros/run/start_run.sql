{# Opens the lake for a command of dbt, and pins for a build the loads that all its models see. #}
{% macro start_run() -%}
    {%- if execute -%}
        {%- do check_full_refresh() -%}
        {%- do check_metastore() -%}
        {%- do register_tables() -%}
        {%- if is_build() -%}
            {%- if source('audit', 'pipeline_runs').limit is not none -%}
                {%- do exceptions.raise_compiler_error('--empty would leave tables that do not have what was loaded: build without it.') -%}
            {%- endif -%}
            {%- do check_seeds() -%}
            {%- for name in ['minimum_match_rate', 'maximum_rejected_driver_events', 'maximum_rejected_companies'] -%}
                {%- do threshold(name) -%}
            {%- endfor -%}
            {%- do close_abandoned_runs() -%}
            {%- do check_replay() -%}
            insert into {{ source('audit', 'pipeline_runs') }} (run_id, command, started_at, up_to_load_id, status)
            values ('{{ invocation_id }}', '{{ command() }}', current_timestamp(), {{ run_state().pin }}, 'running')
        {%- elif flags.WHICH == 'test' -%}
            {%- do check_ended() -%}
        {%- endif -%}
    {%- endif -%}
{%- endmacro %}


{# Runs that are open, replays and full refreshes, from the first to the last, as they were when this run began. #}
{% macro runs_to_heed() -%}
    {{ return(ask_once(
        'select run_id, command, status, started_at from ' ~ source('audit', 'pipeline_runs')
        ~ " where status = 'running' or command in ('replay', 'full-refresh')"
    ) | sort(attribute='started_at')) }}
{%- endmacro %}


{#
    How far a build that was killed has brought its tables is not recorded: until a build has made all models, a test
    would blame tables that are sound.
#}
{% macro check_ended() -%}
    {%- set models = graph.nodes.values() | selectattr('resource_type', 'equalto', 'model') | list | length -%}
    {%- for run in run_query(
        'select run_id, status from ' ~ source('audit', 'pipeline_runs')
        ~ ' left join (select run_id, count(*) as models from ' ~ source('audit', 'pipeline_steps')
        ~ " where step like 'model.%' and status = 'success' group by run_id) using (run_id)"
        ~ " where status in ('running', 'abandoned') or models >= " ~ models ~ ' order by started_at desc limit 1'
    ).rows if run['status'] in ['running', 'abandoned'] -%}
        {%- do exceptions.raise_compiler_error(
            'The run ' ~ run['run_id'] ~ ' has not ended, or was killed, and what it has written is not recorded: run dbt build, then test.'
        ) -%}
    {%- endfor -%}
{%- endmacro %}


{#
    Where the lake's lock lets one dbt in at a time, a run that is still open was killed. Elsewhere, as behind a Thrift
    server, only a person can know that: it may be at work.
#}
{% macro close_abandoned_runs() -%}
    {%- for run in runs_to_heed() if run['status'] == 'running' -%}
        {%- if run['run_id'] != var('take_over') and not is_alone() -%}
            {%- do exceptions.raise_compiler_error(
                'The run ' ~ run['run_id'] ~ ', begun at ' ~ run['started_at'] ~ ' UTC, is still running on this lake, or was killed: wait for its end. '
                ~ "If you know that it is dead, take over with --vars 'take_over: " ~ run['run_id'] ~ "'."
            ) -%}
        {%- endif -%}
        {%- do run_query('update ' ~ source('audit', 'pipeline_runs') ~ " set status = 'abandoned' where run_id = '" ~ run['run_id'] ~ "'") -%}
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
