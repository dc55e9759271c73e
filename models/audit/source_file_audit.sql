{{ config(incremental_strategy='append', unique_key=['_load_id', '_source_file']) }}
{%- set loads = loads_to_read() %}
{%- set window = '_load_id > ' ~ loads.after ~ ' and _load_id <= ' ~ loads.up_to %}
{%- set feeds = feeds_to_read(loads) %}
{%- set outcomes = {
    'driver_events': {'accepted': 'driver_events', 'rejected': 'rejected_driver_events', 'is_conflicting': 'is_conflicting'},
    'companies': {'accepted': 'company_history', 'rejected': 'rejected_companies', 'is_conflicting': 'false'},
} %}

with

files as (

    select * from {{ source('bronze', 'source_files') }}
    where {{ window }}

),

staged_records as (

    {%- for feed in feeds %}
    select
        missing_keys,
        _source_file,
        _load_id
    from {{ ref('staged_' ~ feed) }}
    where {{ window }}
    {%- if not loop.last %}

    union all
    {% endif %}
    {%- endfor %}

),

records as (

    {%- for feed in feeds %}
    {%- set tables = outcomes[feed] %}
    select
        cast(null as string) as reject_reason,
        false as is_conflicting,
        _source_file,
        _load_id
    from {{ ref(tables.accepted) }}
    where {{ window }}

    union all

    select
        reject_reason,
        {{ tables.is_conflicting }} as is_conflicting,
        _source_file,
        _load_id
    from {{ ref(tables.rejected) }}
    where {{ window }}
    {%- if not loop.last %}

    union all
    {% endif %}
    {%- endfor %}

),

-- What every sound record of a file lacks, so that the file as a whole is of no use.
usability as (

    select
        _source_file,
        _load_id,
        count(*) as bronze_records,
        count(missing_keys) as sound_records,
        array_compact(array(
            {%- for key in ['driver_id', 'event_timestamp', 'event_type', 'company_id'] %}
            if(count_if(array_contains(missing_keys, '{{ key }}')) = count(missing_keys), '{{ key }}', null)
            {{- ',' if not loop.last }}
            {%- endfor %}
        )) as always_missing_keys
    from staged_records
    group by _source_file, _load_id

),

reasons as (

    select
        reject_reason,
        count(*) as records,
        count_if(is_conflicting) as conflicting,
        _source_file,
        _load_id
    from records
    group by reject_reason, _source_file, _load_id

),

outcomes as (

    select
        sum(if(reject_reason is null, records, 0)) as accepted,
        sum(if(reject_reason in ('duplicate', 'unchanged'), records, 0)) as duplicates,
        sum(if(reject_reason not in ('duplicate', 'unchanged'), records, 0)) as rejected,
        sum(conflicting) as conflicting,
        array_sort(collect_list(if(
            reject_reason not in ('duplicate', 'unchanged'),
            struct(reject_reason as reason, records),
            null
        ))) as reject_reasons,
        _source_file,
        _load_id
    from reasons
    group by _source_file, _load_id

),

counted as (

    select
        files.*,
        coalesce(usability.bronze_records, 0) as bronze_records,
        usability.sound_records,
        usability.always_missing_keys,
        coalesce(outcomes.accepted, 0) as accepted,
        coalesce(outcomes.duplicates, 0) as duplicates,
        coalesce(outcomes.rejected, 0) as rejected,
        coalesce(outcomes.conflicting, 0) as conflicting,
        coalesce(outcomes.reject_reasons, array()) as reject_reasons
    from files
    left join usability
        on
            files._load_id = usability._load_id
            and files._source_file = usability._source_file
    left join outcomes
        on
            files._load_id = outcomes._load_id
            and files._source_file = outcomes._source_file

),

final as (

    select
        feed,
        case
            when status = 'failed' then 'failed'
            when sound_records = 0 or size(always_missing_keys) > 0 then 'unusable'
            else 'ok'
        end as status,
        case
            when status = 'failed' then reason
            when sound_records = 0 then 'none of its records is without a defect'
            when size(always_missing_keys) > 0
                then concat('none of its sound records has a value for ', array_join(always_missing_keys, ', '))
        end as reason,
        reject_reasons,
        lines,
        records,
        accepted,
        duplicates,
        rejected,
        conflicting,
        lines = records + blank_lines
        and records = bronze_records
        and records = accepted + duplicates + rejected as is_reconciled,
        _source_file,
        _source_file_id,
        _load_id
    from counted

)

select * from final
