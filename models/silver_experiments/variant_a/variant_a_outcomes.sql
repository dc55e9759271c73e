with

records as (

    select * from {{ ref('experiment_records') }}

),

-- The first occurrence stays.
ranked as (

    select
        *,
        row_number() over (
            partition by reject_reason is null, driver_id, event_timestamp
            order by _load_id, _source_file, _source_line
        ) as place
    from records

),

final as (

    select
        event_id,
        driver_id,
        company_id,
        truck_id,
        event_type,
        payload,
        event_timestamp,
        coalesce(reject_reason, if(place > 1, 'duplicate', null)) as reject_reason,
        _source_file,
        _source_line,
        _load_id
    from ranked

)

select * from final
