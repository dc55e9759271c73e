{{ config(materialized='view') }}

with

records as (

    select * from {{ source('bronze', 'driver_events') }}

),

event_types as (

    select * from {{ ref('event_types') }}

),

trimmed as (

    select
        *,
        {{ text_value('driver_id') }} as driver,
        {{ text_value('company_id') }} as company,
        coalesce({{ text_value('event_timestamp') }}, {{ text_value('timestamp') }}) as time_text,
        {{ text_value('event_type') }} as type_text,
        trim(both '_' from regexp_replace(lower(event_type), '[^a-z0-9]+', '_')) as type_alias
    from records

),

typed as (

    select
        *,
        {{ parse_timestamp('time_text') }} as time,
        array_compact(array(
            if(driver is null, 'driver_id', null),
            if(time_text is null, 'event_timestamp', null),
            if(type_text is null, 'event_type', null),
            if(company is null, 'company_id', null)
        )) as keys_without_value
    from trimmed

),

final as (

    select
        {{ text_value('typed.event_id') }} as event_id,
        typed.driver as driver_id,
        typed.company as company_id,
        {{ text_value('typed.truck_id') }} as truck_id,
        event_types.event_type,
        typed.payload,
        typed.time as event_timestamp,
        cast(typed.time as date) as event_date,
        case
            when typed._defect is not null then typed._defect
            when size(typed.keys_without_value) > 0 then concat('missing_', typed.keys_without_value[0])
            when typed.time is null then 'invalid_event_timestamp'
            when {{ is_implausible('typed.time', 'typed._loaded_at') }} then 'implausible_event_timestamp'
            when event_types.event_type is null then 'unknown_event_type'
        end as reject_reason,
        if(typed._defect is null, typed.keys_without_value, null) as missing_keys,
        typed._unknown_keys,
        typed._raw,
        typed._source_file,
        typed._source_line,
        typed._source_file_id,
        typed._load_id
    from typed
    left join event_types
        on typed.type_alias = event_types.alias

)

select * from final
