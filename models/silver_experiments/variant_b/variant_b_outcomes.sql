with

records as (

    select * from {{ ref('experiment_records') }}

),

measured as (

    select
        *,
        int(event_id is not null) + int(truck_id is not null) + int(payload is not null) as completeness
    from records

),

-- The most complete record stays; among equals, the latest.
ranked as (

    select
        *,
        row_number() over (
            partition by tolerant_reject_reason is null, driver_id, tolerant_timestamp
            order by completeness desc, _load_id desc, _source_file desc, _source_line desc
        ) as place
    from measured

),

final as (

    select
        event_id,
        driver_id,
        company_id,
        truck_id,
        event_type,
        payload,
        tolerant_timestamp as event_timestamp,
        coalesce(tolerant_reject_reason, if(place > 1, 'duplicate', null)) as reject_reason,
        _source_file,
        _source_line,
        _load_id
    from ranked

)

select * from final
