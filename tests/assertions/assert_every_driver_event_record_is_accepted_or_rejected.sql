-- Nothing is lost and nothing counts twice: in every load, the records of bronze are the accepted and the rejected.
{%- set loads = loads_to_read() %}

with

counted as (

    select
        _load_id,
        1 as in_bronze,
        0 as in_silver
    from {{ source('bronze', 'driver_events') }}

    union all

    select
        _load_id,
        0 as in_bronze,
        1 as in_silver
    from {{ ref('driver_events') }}

    union all

    select
        _load_id,
        0 as in_bronze,
        1 as in_silver
    from {{ ref('rejected_driver_events') }}

),

final as (

    select
        _load_id,
        sum(in_bronze) as bronze_records,
        sum(in_silver) as silver_records
    from counted
    where
        _load_id > {{ loads.after }}
        and _load_id <= {{ loads.up_to }}
    group by _load_id
    having sum(in_bronze) <> sum(in_silver)

)

select * from final
