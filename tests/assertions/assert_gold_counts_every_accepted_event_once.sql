-- Every accepted event is enriched once and counted once in each daily table, and every start and orphaned or
-- closing stop stands in one session.
{%- set loads = loads_to_read() %}

with

counted as (

    select 'driver_events' as counted_in, count(*) as events, count_if(event_type <> 'delivered') as driving_events
    from {{ ref('driver_events') }}
    where _load_id <= {{ loads.up_to }}

    union all

    select 'enriched_driver_events' as counted_in, count(*) as events, count_if(event_type <> 'delivered') as driving_events
    from {{ ref('enriched_driver_events') }}
    where _load_id <= {{ loads.up_to }}

    union all

    select 'daily_driver_activity' as counted_in, sum(events) as events, sum(start_driving_events + stop_driving_events) as driving_events
    from {{ ref('daily_driver_activity') }}

    union all

    select 'daily_company_activity' as counted_in, sum(events) as events, sum(start_driving_events + stop_driving_events) as driving_events
    from {{ ref('daily_company_activity') }}

    union all

    select 'driving_sessions' as counted_in, null as events, count(started_at) + count(stopped_at) as driving_events
    from {{ ref('driving_sessions') }}

),

final as (

    select
        counted_in,
        events,
        driving_events
    from counted
    where
        coalesce(events, 0) not in (select coalesce(events, 0) from counted where counted_in = 'driver_events')
        and counted_in <> 'driving_sessions'
        or coalesce(driving_events, 0) not in (select driving_events from counted where counted_in = 'driver_events')

)

select * from final
