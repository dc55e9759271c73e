"""Commit a staged load to the bronze tables: each at most once, and bronze.source_files last, which completes it.

The log of a table has the number of its newest load. delta-rs appends a load again all the same, so the number is asked
for on the handle that then commits, under the lake's lock.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import pyarrow as pa
from deltalake import CommitProperties, DeltaTable, Transaction, write_deltalake
from deltalake.transaction import AddAction, RemoveAction

from ingest.errors import IngestError
from ingest.lake import has_table, open_table, query
from ingest.manifest import COLUMNS, SOURCE_FILES, TABLE_FIELDS
from ingest.parts import bronze_schema
from ingest.places import sync

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from ingest.feeds import Feed
    from ingest.lake import Lake
    from ingest.manifest import Manifest

# As long as tables can be read as they were: the same as in the profile.
RETENTION = {
    "delta.logRetentionDuration": "interval 30 days",
    "delta.deletedFileRetentionDuration": "interval 30 days",
}
_NUMBERS = {"load_id", "bytes", "lines", "blank_lines", "records", "defective_records", "first_line", "file_bytes"}
_TIMES = {"loaded_at", "modified_at"}
_SOURCE_FILES_SCHEMA = pa.schema(
    (
        COLUMNS.get(name, name),
        pa.int64() if name in _NUMBERS else pa.timestamp("us", "UTC") if name in _TIMES else pa.string(),
    )
    for name in TABLE_FIELDS
)


def append_parts(lake: Lake, feed: Feed, plan: Manifest) -> None:
    """Append the load's parts of one feed to its bronze table, unless an earlier try has done so.

    Raises IngestError if a part is not there any more.
    """
    name = f"bronze.{feed.name}"
    table = _opened(lake, name, bronze_schema(feed.keys))
    if _has_load(table, name, plan.load_id):
        return
    for part in plan.parts[feed.name]:
        path = lake.table(name) / part.path
        if not path.exists() or path.stat().st_size != part.size:
            message = (
                f"{path}: load {plan.load_id} has this file to finish with, but it is not there as it was written: "
                f"restore it from a backup; or, if no table has rows of that load, delete {lake.plan}, and run again."
            )
            raise IngestError(message)
    added: list[AddAction | RemoveAction] = [
        AddAction(part.path, part.size, {}, part.modified_at, data_change=True, stats=part.statistics)
        for part in plan.parts[feed.name]
    ]
    table.create_write_transaction(added, "append", table.schema(), commit_properties=_once(name, plan.load_id))
    _sync(lake, name)


def check_records(lake: Lake, feeds: Sequence[Feed], plan: Manifest) -> None:
    """See, with another reader than the one that wrote them, that bronze holds just the records of the plan.

    Raises IngestError if not: nothing is committed then.
    """
    for feed in feeds:
        found = _found_by_file(lake, feed, plan)
        wanted = {
            (version.source_file, version.source_file_id, plan.loaded_at): (
                version.records,
                version.defective_records,
                version.bytes - version.cut_bytes - version.other_bytes,
            )
            for version in plan.versions
            if version.feed == feed.name and version.records
        }
        if found != wanted:
            name = next(name for name, *_ in found.keys() | wanted.keys() if _of(name, found) != _of(name, wanted))
            message = (
                f"bronze.{feed.name} holds other records of {name} than load {plan.load_id} has read of it: the load is"
                f" not committed, and its plan is kept, {lake.plan}; restore the table to its version before the load"
                " and run again."
            )
            raise IngestError(message)


def _of(name: str, counts: dict[tuple[str, str, datetime], tuple[int, int, int]]) -> list[object]:
    return [item for item in counts.items() if item[0][0] == name]


def _found_by_file(lake: Lake, feed: Feed, plan: Manifest) -> dict[tuple[str, str, datetime], tuple[int, int, int]]:
    """Give records, defective ones among them, and the bytes of their texts, by file, its id, and the load's time."""
    sql = f"""
        select
            _source_file, _source_file_id, _loaded_at, count(*) as records, count(_defect) as defective,
            sum(coalesce(octet_length(encode(_raw_bytes, 'hex')) / 2, octet_length(_raw))) as bytes
        from t
        where _load_id = {plan.load_id}
        group by _source_file, _source_file_id, _loaded_at
    """
    rows = (tuple(row.values()) for row in query(lake, sql, t=f"bronze.{feed.name}"))
    return {row[:3]: row[3:] for row in rows}


def append_source_files(lake: Lake, manifest: Manifest) -> None:
    """Append the load's rows to bronze.source_files, which marks the load as complete."""
    table = _opened(lake, SOURCE_FILES, _SOURCE_FILES_SCHEMA)
    if _has_load(table, SOURCE_FILES, manifest.load_id):
        return
    columns = [[getattr(version, name) for version in manifest.versions] for name in TABLE_FIELDS]
    rows = pa.Table.from_arrays(
        [pa.array(column, of.type) for column, of in zip(columns, _SOURCE_FILES_SCHEMA, strict=True)],
        schema=_SOURCE_FILES_SCHEMA,
    )
    write_deltalake(table, rows, mode="append", commit_properties=_once(SOURCE_FILES, manifest.load_id))
    _sync(lake, SOURCE_FILES)


def _opened(lake: Lake, name: str, schema: pa.Schema) -> DeltaTable:
    if not has_table(lake, name):
        DeltaTable.create(str(lake.table(name)), schema, configuration=RETENTION)
    return open_table(lake, name)


def _has_load(table: DeltaTable, name: str, load_id: int) -> bool:
    return (table.transaction_version(name) or 0) >= load_id


def _once(name: str, load_id: int) -> CommitProperties:
    return CommitProperties(app_transactions=[Transaction(name, load_id)])


def _sync(lake: Lake, name: str) -> None:
    """Have the newest commit on disk before the next step relies on it."""
    if not lake.is_on_disk:
        return
    log = lake.table(name) / "_delta_log"
    sync(max(log.glob("*.json")))
    sync(log)
