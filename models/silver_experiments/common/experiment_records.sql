{%- set loads = loads_to_read() -%}
with

records as (

    select * from {{ ref('staged_driver_events') }}
    where _load_id <= {{ loads.up_to }}

),

bronze_records as (

    select
        coalesce({{ text_value('event_timestamp') }}, {{ text_value('timestamp') }}) as time_text,
        _loaded_at,
        _source_file,
        _source_line,
        _load_id
    from {{ source('bronze', 'driver_events') }}
    where _load_id <= {{ loads.up_to }}

),

-- What producers write who do not keep to ISO 8601: slashes, small letters, UTC in words, a date alone.
normalized as (

    select
        *,
        regexp_replace(
            regexp_replace(
                regexp_replace(upper(time_text), '^([0-9]{4})/([0-9]{2})/([0-9]{2})', '$1-$2-$3'),
                ' ?UTC$',
                'Z'
            ),
            '^([0-9]{4}-[0-9]{2}-[0-9]{2})$',
            '$1T00:00'
        ) as tolerant_text
    from bronze_records

),

tolerant as (

    select
        *,
        {{ parse_timestamp('tolerant_text') }} as tolerant_timestamp
    from normalized

),

final as (

    select
        records.event_id,
        records.driver_id,
        records.company_id,
        records.truck_id,
        records.event_type,
        records.payload,
        records.event_timestamp,
        tolerant.tolerant_timestamp,
        records.reject_reason,
        case
            when records.reject_reason <> 'invalid_event_timestamp' then records.reject_reason
            when records.reject_reason is null then null
            when tolerant.tolerant_timestamp is null then records.reject_reason
            when {{ is_implausible('tolerant.tolerant_timestamp', 'tolerant._loaded_at') }}
                then 'implausible_event_timestamp'
            when records.event_type is null then 'unknown_event_type'
        end as tolerant_reject_reason,
        records._source_file,
        records._source_line,
        records._load_id
    from records
    inner join tolerant
        on
            records._load_id = tolerant._load_id
            and records._source_file = tolerant._source_file
            and records._source_line = tolerant._source_line

)

select * from final
