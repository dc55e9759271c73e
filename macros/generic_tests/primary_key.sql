{# Fails on rows whose key has a NULL or is that of another row. #}
{% test primary_key(model, columns) %}

select
    {{ columns | join(',\n    ') }},
    count(*) as records
from {{ model }}
group by {{ columns | join(', ') }}
having
    count(*) > 1
    {%- for column in columns %}
    or {{ column }} is null
    {%- endfor %}

{% endtest %}
