with

{% for variant in ['a', 'b'] -%}
of_variant_{{ variant }} as (

    select
        '{{ variant }}' as variant_name,
        reject_reason,
        count(*) as records
    from {{ ref('variant_' ~ variant ~ '_outcomes') }}
    group by reject_reason

),

{% endfor -%}
counted as (

    {%- for variant in ['a', 'b'] %}
    select * from of_variant_{{ variant }}
    {{- ' union all' if not loop.last }}
    {%- endfor %}

),

final as (

    select
        variant_name,
        coalesce(reject_reason, 'accepted') as outcome,
        records,
        records / sum(records) over (partition by variant_name) as outcome_share
    from counted

)

select * from final
