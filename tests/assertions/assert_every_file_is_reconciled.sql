-- Every line of every file is accounted for, in the manifest, in bronze and in silver alike.
{%- set loads = loads_to_read() %}

select
    feed,
    lines,
    records,
    accepted,
    duplicates,
    rejected,
    _source_file,
    _load_id
from {{ ref('source_file_audit') }}
where
    _load_id > {{ loads.after }}
    and not is_reconciled
