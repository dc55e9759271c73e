-- Every rejected record breaks the rule that it names, and no accepted one breaks any; the rules are written here
-- once more, in other words and on the text of bronze, so that a mistake in silver cannot hide in both.
{%- set loads = loads_to_read() %}

with

bronze as (

    select
        *,
        coalesce(
            nullif(regexp_replace(event_timestamp, '^\\s+|\\s+\\z', ''), ''),
            nullif(regexp_replace(timestamp, '^\\s+|\\s+\\z', ''), '')
        ) as time_text,
        regexp_replace(regexp_replace(lower(event_type), '[^a-z0-9]+', '_'), '^_|_$', '') as type_alias
    from {{ source('bronze', 'driver_events') }}
    where
        _load_id > {{ loads.after }}
        and _load_id <= {{ loads.up_to }}

),

broken as (

    select
        *,
        coalesce(_defect, 'none') as broken_defect,
        driver_id is null or driver_id rlike '^\\s*\\z' as missing_driver_id,
        time_text is null as missing_event_timestamp,
        event_type is null or event_type rlike '^\\s*\\z' as missing_event_type,
        company_id is null or company_id rlike '^\\s*\\z' as missing_company_id,
        {{ breaks_timestamp_rule('time_text') }} as invalid_event_timestamp,
        type_alias not in (select event_types.alias from {{ ref('event_types') }} as event_types) as unknown_event_type
    from bronze

),

outcomes as (

    select
        'none' as reject_reason,
        event_timestamp,
        _load_id,
        _source_file,
        _source_line
    from {{ ref('driver_events') }}
    where _load_id > {{ loads.after }}

    union all

    select
        reject_reason,
        cast(null as timestamp) as event_timestamp,
        _load_id,
        _source_file,
        _source_line
    from {{ ref('rejected_driver_events') }}
    where
        _load_id > {{ loads.after }}
        and reject_reason <> 'duplicate'

),

final as (

    select
        outcomes.reject_reason,
        outcomes._load_id,
        outcomes._source_file,
        outcomes._source_line
    from outcomes
    inner join broken
        on
            outcomes._load_id = broken._load_id
            and outcomes._source_file = broken._source_file
            and outcomes._source_line = broken._source_line
    where not case outcomes.reject_reason
        when 'none'
            then
            broken.broken_defect = 'none'
            and not broken.missing_driver_id
            and not broken.missing_event_timestamp
            and not broken.missing_event_type
            and not broken.missing_company_id
            and not broken.invalid_event_timestamp
            and not broken.unknown_event_type
            and outcomes.event_timestamp >= '2000-01-01'
            and outcomes.event_timestamp <= broken._loaded_at + interval 24 hours
        when 'missing_driver_id' then broken.missing_driver_id
        when 'missing_event_timestamp' then broken.missing_event_timestamp
        when 'missing_event_type' then broken.missing_event_type
        when 'missing_company_id' then broken.missing_company_id
        when 'invalid_event_timestamp' then broken.invalid_event_timestamp
        when 'implausible_event_timestamp' then not broken.invalid_event_timestamp
        when 'unknown_event_type' then broken.unknown_event_type
        else outcomes.reject_reason = broken.broken_defect
    end

)

select * from final
