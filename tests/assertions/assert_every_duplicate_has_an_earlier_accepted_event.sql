-- A record is a duplicate only of an accepted event with its driver and time that arrived before it. This guards
-- "rejected is what was not accepted", which alone would call anything a duplicate.
{%- set loads = loads_to_read() %}

with

duplicates as (

    select
        rejected.*,
        staged.driver_id,
        staged.event_timestamp
    from {{ ref('rejected_driver_events') }} as rejected
    left join {{ ref('staged_driver_events') }} as staged
        on
            rejected._load_id = staged._load_id
            and rejected._source_file = staged._source_file
            and rejected._source_line = staged._source_line
    where
        rejected.reject_reason = 'duplicate'
        and rejected._load_id > {{ loads.after }}
        and rejected._load_id <= {{ loads.up_to }}

),

final as (

    select
        duplicates._load_id,
        duplicates._source_file,
        duplicates._source_line
    from duplicates
    left anti join {{ ref('driver_events') }} as accepted
        on
            duplicates.duplicate_of_load_id = accepted._load_id
            and duplicates.duplicate_of_source_file = accepted._source_file
            and duplicates.duplicate_of_source_line = accepted._source_line
            and duplicates.driver_id = accepted.driver_id
            and duplicates.event_timestamp = accepted.event_timestamp
            and {{ touched_dates('accepted.event_date', loads, '(select * from ' ~ ref('staged_driver_events') ~ ' where reject_reason is null)') }}
            and struct(accepted._load_id, accepted._source_file, accepted._source_line)
            < struct(duplicates._load_id, duplicates._source_file, duplicates._source_line)

)

select * from final
