"""Reads what the pipeline has made, by means of its own, and says what it should have made."""

from __future__ import annotations

import re
import time
from collections import Counter
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from deltalake import DeltaTable, QueryBuilder

from ingest.staging import CLOCK_DOUBT
from tests.reference import Record

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

SILVER_AND_GOLD = (
    "silver.driver_events",
    "silver.rejected_driver_events",
    "silver.company_history",
    "silver.companies",
    "silver.rejected_companies",
    "gold.enriched_driver_events",
    "gold.daily_driver_activity",
    "gold.daily_company_activity",
    "gold.driving_sessions",
)


def read_table(lake: Path, table: str) -> list[dict[str, Any]]:
    rows: list[dict[str, Any]] = []
    builder = QueryBuilder().register("t", DeltaTable(str(lake / table.replace(".", "/"))))
    for batch in builder.execute("select * from t"):
        columns = [column.to_pylist() for column in batch.columns]
        rows += [dict(zip(batch.schema.names, values, strict=True)) for values in zip(*columns, strict=True)]
    return rows


def read_known(lake: Path, table: str) -> list[dict[str, Any]]:
    """Read a table but for what the reference knows nothing of: files without records."""
    return [row for row in read_table(lake, table) if row.get("records") != 0]


def table_versions(lake: Path) -> dict[str, int]:
    """Give the Delta version of every table of bronze, silver and gold."""
    logs = [log for schema in ("bronze", "silver", "gold") for log in sorted(lake.glob(f"{schema}/*/_delta_log"))]
    return {str(log.parent.relative_to(lake)): DeltaTable(log.parent).version() for log in logs}


def difference(found: Iterable[dict[str, Any]], wanted: Iterable[dict[str, Any]]) -> list[str]:
    """Give the rows, as text, that only one side has, by the columns that the wanted rows name."""
    wanted = list(wanted)
    columns = sorted(wanted[0]) if wanted else []
    counts = [
        Counter(str([_comparable(row[column]) for column in columns]) for row in rows) for rows in (found, wanted)
    ]
    only_found, only_wanted = counts[0] - counts[1], counts[1] - counts[0]
    return [f"found only: {row}" for row in only_found] + [f"wanted only: {row}" for row in only_wanted]


def _comparable(value: object) -> object:
    """Two renderings of what is not UTF-8 may differ in the number of replacement characters."""
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat()
    return re.sub("\ufffd+", "\ufffd", value) if isinstance(value, str) else value


def snapshot(lake: Path) -> dict[str, list[dict[str, Any]]]:
    return {table: read_table(lake, table) for table in SILVER_AND_GOLD}


def records_of_bronze(lake: Path) -> dict[str, list[Record]]:
    return {
        feed: [
            Record(
                load_id=row["_load_id"], loaded_at=row["_loaded_at"], source_file=row["_source_file"],
                source_line=row["_source_line"], source_file_id=row["_source_file_id"],
                raw=row["_raw"].encode() if row["_raw_bytes"] is None else row["_raw_bytes"],
            )
            for row in read_table(lake, f"bronze.{feed}")
        ]
        for feed in ("driver_events", "companies")
    }  # fmt: skip


def loaded_at(lake: Path, load_id: int) -> datetime:
    rows = read_table(lake, "bronze.source_files")
    time: datetime = next(row["_loaded_at"] for row in rows if row["_load_id"] == load_id)
    return time


def wait_until_times_are_certain(file: Path) -> None:
    """Wait until a change of the file now could not go unseen."""
    while time.time() - file.stat().st_ctime <= CLOCK_DOUBT.total_seconds():
        time.sleep(0.1)
