#!/usr/bin/env bash
# deltalake 1.6.6 (delta-rs): an append with an application transaction that the table has already.
#
# One would guess: `app_transactions` makes an append idempotent, as `txnAppId` and `txnVersion` do in Delta for Spark: the
# second append with a number that the table knows, or with a lower one, is skipped.
# Seen: it is appended again, and a lower number even takes the place of the higher one in the log. Nothing is said.
# So a writer must ask for the number (`transaction_version`) on the handle that then commits.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3.11 -m venv "$folder/venv"
"$folder/venv/bin/python" -m pip install --quiet deltalake==1.6.6 pyarrow==26.0.1
cat > "$folder/append.py" <<'PYTHON'
import sys

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake

table, rows = sys.argv[1], pa.table({"id": [1]})
for number in (2, 2, 1):
    once = CommitProperties(app_transactions=[Transaction("loads", number)])
    write_deltalake(table, rows, mode="append", commit_properties=once)
    now = DeltaTable(table)
    print(f"appended {number}: {now.count()} rows, recorded {now.transaction_version('loads')}")
PYTHON
found=$("$folder/venv/bin/python" "$folder/append.py" "$folder/table")
echo "$found"
[ "$found" = "appended 2: 1 rows, recorded 2
appended 2: 2 rows, recorded 2
appended 1: 3 rows, recorded 1" ] || { echo "this has changed"; exit 1; }
