-- Every line of every file is accounted for, in the manifest, in bronze and in silver alike.
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
where not is_reconciled
