{{
    config(
        unique_key=['driver_id', 'started_at', 'stopped_at'],
        meta={'delete_when': "session_status = 'voided'"},
    )
}}
{%- set loads = loads_to_read() %}

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

touched_drivers as (

    select distinct driver_id from driving_events
    where _load_id > {{ loads.after }}

),

events_of_touched_drivers as (

    select driving_events.* from driving_events
    left semi join touched_drivers
        on driving_events.driver_id = touched_drivers.driver_id

),

neighbours as (

    select
        *,
        lag(event_type) over (partition by driver_id order by event_timestamp) as type_before,
        lead(if(event_type = 'stop_driving', event, null)) over (
            partition by driver_id
            order by event_timestamp
        ) as next_stop
    from events_of_touched_drivers

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
        or not type_before <=> 'start_driving'

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
    left semi join touched_drivers
        on written.driver_id = touched_drivers.driver_id

),

new_sessions as (

    select sessions.* from sessions
    left anti join sessions_before
        on
            sessions.driver_id = sessions_before.driver_id
            and sessions.started_at <=> sessions_before.started_at
            and sessions.stopped_at <=> sessions_before.stopped_at

),

-- A late event ends a session elsewhere, or is the start that an orphaned stop lacked: the row of before goes.
voided as (

    select sessions_before.* from sessions_before
    left anti join sessions
        on
            sessions_before.driver_id = sessions.driver_id
            and sessions_before.started_at <=> sessions.started_at
            and sessions_before.stopped_at <=> sessions.stopped_at

),

final as (

    select * from new_sessions

    union all

    select
        driver_id,
        company_id,
        'voided' as session_status,
        duration_seconds,
        started_at,
        stopped_at,
        start_source_file,
        start_source_line,
        start_load_id,
        stop_source_file,
        stop_source_line,
        stop_load_id
    from voided

)

{% else -%}
final as (

    select * from sessions

)

{% endif -%}
select * from final
