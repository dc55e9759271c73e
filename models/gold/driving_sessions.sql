{{
    config(
        unique_key=['driver_id', 'started_at', 'stopped_at'],
        meta={'delete_when': "session_status = 'voided'"},
    )
}}
{%- set loads = loads_to_read() %}
{%- do plan_write(is_needed=has_new_records(loads, 'driver_events')) %}

with

driving_events as (

    select
        driver_id,
        company_id,
        event_type,
        event_timestamp,
        _load_id,
        struct(event_timestamp, _source_file, _source_line, _load_id) as event
    from {{ ref('driver_events') }}
    where
        event_type in ('start_driving', 'stop_driving')
        and _load_id <= {{ loads.up_to }}

),

{% if is_incremental() -%}
touched_drivers as (

    select
        driver_id,
        min(event_timestamp) as first_new_at
    from driving_events
    where _load_id > {{ loads.after }}
    group by driver_id

),

-- A session is made of neighbours, so nothing counts that was before the last event before the new ones.
reach as (

    select
        touched_drivers.driver_id,
        touched_drivers.first_new_at,
        coalesce(max(driving_events.event_timestamp), touched_drivers.first_new_at) as from_at
    from touched_drivers
    left join driving_events
        on
            touched_drivers.driver_id = driving_events.driver_id
            and touched_drivers.first_new_at > driving_events.event_timestamp
    group by touched_drivers.driver_id, touched_drivers.first_new_at

),

events_in_reach as (

    select
        driving_events.*,
        driving_events.event_timestamp < reach.first_new_at as is_context
    from driving_events
    inner join reach
        on
            driving_events.driver_id = reach.driver_id
            and driving_events.event_timestamp >= reach.from_at

),

{% else -%}
events_in_reach as (

    select
        *,
        false as is_context
    from driving_events

),

{% endif -%}

neighbours as (

    select
        *,
        lag(event_type) over (partition by driver_id order by event_timestamp) as type_before,
        lead(if(event_type = 'stop_driving', event, null)) over (
            partition by driver_id
            order by event_timestamp
        ) as next_stop
    from events_in_reach

),

pairs as (

    select
        driver_id,
        company_id,
        if(event_type = 'start_driving', event, null) as start,
        if(event_type = 'start_driving', next_stop, event) as stop
    from neighbours
    where
        event_type = 'start_driving'
        or not type_before <=> 'start_driving' and not is_context

),

sessions as (

    select
        driver_id,
        company_id,
        case
            when start is null then 'orphaned'
            when stop is null then 'open'
            else 'closed'
        end as session_status,
        (unix_micros(stop.event_timestamp) - unix_micros(start.event_timestamp)) / 1000000d as duration_seconds,
        start.event_timestamp as started_at,
        stop.event_timestamp as stopped_at,
        start._source_file as start_source_file,
        start._source_line as start_source_line,
        start._load_id as start_load_id,
        stop._source_file as stop_source_file,
        stop._source_line as stop_source_line,
        stop._load_id as stop_load_id
    from pairs

),

{% if is_incremental() -%}
sessions_before as (

    select written.* from {{ this }} as written
    left semi join reach
        on
            written.driver_id = reach.driver_id
            and (
                written.started_at >= reach.from_at
                or written.started_at is null and written.stopped_at >= reach.first_new_at
            )

),

-- A late event ends a session elsewhere, or is the start that an orphaned stop lacked: the row of before goes.
candidates as (

    select
        *,
        false as was_there
    from sessions

    union all

    select
        *,
        true as was_there
    from sessions_before

),

counted as (

    select
        *,
        count(*) over (partition by driver_id, started_at, stopped_at) as times
    from candidates

),

-- What stands in both is as it was.
final as (

    select
        driver_id,
        company_id,
        if(was_there, 'voided', session_status) as session_status,
        duration_seconds,
        started_at,
        stopped_at,
        start_source_file,
        start_source_line,
        start_load_id,
        stop_source_file,
        stop_source_line,
        stop_load_id
    from counted
    where times = 1

)

{% else -%}
final as (

    select * from sessions

)

{% endif -%}
select * from final
