-- Every accepted event is enriched once and counted once in each daily table, and every start and stop stands in one
-- session. Rows of daily tables and sessions bear no load, so that they are counted only where no table is ahead of the others.
{%- set loads = loads_to_read() %}
{%- set touched = touched_dates('event_date', loads, ref('driver_events')) %}

with

accepted as (

    select
        count(*) as events,
        count_if(event_type <> 'delivered') as driving_events
    from {{ ref('driver_events') }}
    where
        _load_id <= {{ loads.up_to }}
        and {{ touched }}

),

counted as (

    select
        'enriched_driver_events' as counted_in,
        count(*) as events,
        count_if(event_type <> 'delivered') as driving_events
    from {{ ref('enriched_driver_events') }}
    where
        _load_id <= {{ loads.up_to }}
        and {{ touched }}

    {%- if is_level(model) %}

    union all

    select
        'daily_driver_activity' as counted_in,
        coalesce(sum(events), 0) as events,
        coalesce(sum(start_driving_events + stop_driving_events), 0) as driving_events
    from {{ ref('daily_driver_activity') }}
    where {{ touched }}

    union all

    select
        'daily_company_activity' as counted_in,
        coalesce(sum(events), 0) as events,
        coalesce(sum(start_driving_events + stop_driving_events), 0) as driving_events
    from {{ ref('daily_company_activity') }}
    where {{ touched }}

    union all

    select
        'driving_sessions' as counted_in,
        cast(null as bigint) as events,
        count_if({{ touched_dates('cast(started_at as date)', loads, ref('driver_events')) }} and started_at is not null)
        + count_if({{ touched_dates('cast(stopped_at as date)', loads, ref('driver_events')) }} and stopped_at is not null) as driving_events
    from {{ ref('driving_sessions') }}
    {%- endif %}

),

final as (

    select
        counted.counted_in,
        counted.events,
        counted.driving_events
    from counted
    inner join accepted
        on
            counted.events <> accepted.events
            or counted.driving_events <> accepted.driving_events

)

select * from final
