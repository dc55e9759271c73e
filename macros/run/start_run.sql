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


{# One dbt at a time is let into a lake, so a run that is still open was killed. #}
{% macro close_abandoned_runs() -%}
    {%- set runs = source('audit', 'pipeline_runs') -%}
    {%- if run_query('select 1 from ' ~ runs ~ " where status = 'running' limit 1").rows | length > 0 -%}
        {%- do run_query('update ' ~ runs ~ " set status = 'abandoned' where status = 'running'") -%}
    {%- endif -%}
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
