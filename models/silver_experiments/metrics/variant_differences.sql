with

variant_a as (

    select * from {{ ref('variant_a_outcomes') }}
    where reject_reason is null

),

variant_b as (

    select * from {{ ref('variant_b_outcomes') }}
    where reject_reason is null

),

compared as (

    select
        coalesce(variant_a.driver_id, variant_b.driver_id) as driver_id,
        coalesce(variant_a.event_timestamp, variant_b.event_timestamp) as event_timestamp,
        case
            when variant_b.driver_id is null then 'only a'
            when variant_a.driver_id is null then 'only b'
            else 'another record'
        end as difference,
        variant_a._source_file as a_source_file,
        variant_a._source_line as a_source_line,
        variant_a._load_id as a_load_id,
        variant_b._source_file as b_source_file,
        variant_b._source_line as b_source_line,
        variant_b._load_id as b_load_id
    from variant_a
    full outer join variant_b
        on
            variant_a.driver_id = variant_b.driver_id
            and variant_a.event_timestamp = variant_b.event_timestamp

),

final as (

    select * from compared
    where
        difference <> 'another record'
        or a_source_file <> b_source_file
        or a_source_line <> b_source_line
        or a_load_id <> b_load_id

)

select * from final
