"""Say what a table of enriched events holds: rows, matched rows, and a hash that does not depend on their order."""

from __future__ import annotations

import json
import sys

import polars as pl

COLUMNS = ("driver_id", "event_timestamp", "event_type", "company_id", "is_company_matched")

micros = pl.col("event_timestamp").dt.epoch("us")
table = pl.scan_delta(sys.argv[1]).select(micros if name == "event_timestamp" else name for name in COLUMNS).collect()
hashes = table.hash_rows(seed=1)
print(json.dumps({"events": len(table), "matched": int(table["is_company_matched"].sum()), "hash": str(hashes.sum())}))
