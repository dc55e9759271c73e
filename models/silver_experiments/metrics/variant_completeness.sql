with

{% for variant in ['a', 'b'] -%}
of_variant_{{ variant }} as (

    select
        count(event_id) as event_id_filled,
        count(truck_id) as truck_id_filled,
        count(payload) as payload_filled,
        count(*) as accepted
    from {{ ref('variant_' ~ variant ~ '_outcomes') }}
    where reject_reason is null

),

{% endfor -%}
final as (

    {%- for variant in ['a', 'b'] %}
    {%- set of_variant = loop %}
    {%- for column in ['event_id', 'truck_id', 'payload'] %}
    select
        '{{ variant }}' as variant_name,
        '{{ column }}' as filled_column,
        accepted,
        {{ column }}_filled as filled,
        coalesce({{ column }}_filled / accepted, 0d) as filled_share
    from of_variant_{{ variant }}
    {%- if not (loop.last and of_variant.last) %}

    union all
    {% endif %}
    {%- endfor %}
    {%- endfor %}

)

select * from final
