"""Upkeep without a JVM: fewer and larger files, none that nobody needs, and the tables as they were at a build."""

from __future__ import annotations

import math
import re
import time
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

from ingest.errors import IngestError
from ingest.lake import (
    check_is_lake,
    literal,
    only_builder,
    only_writer,
    open_table,
    query,
    query_if_there,
    tables_of,
)
from ingest.places import names_in, sizes_in
from ingest.status import MODELS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ingest.lake import Lake

MOST_DAYS = 30  # Delta keeps its log, and what it knows of removed files, as long: see the profile
OF_A_VERSION = re.compile(r"\.?(\d{20})\..+")  # a commit, its checksums, a checkpoint
CHECKPOINT = re.compile(r"\d{20}\.checkpoint\.parquet")


@dataclass(frozen=True)
class Upkeep:
    """What was done to a table: the files that make its newest version, and all its data files, before and after."""

    table: str
    read_before: int
    read: int
    files_before: int
    files: int
    bytes_before: int
    bytes: int


def maintain(lake: Lake, *, keep: timedelta, dry_run: bool = False) -> Iterator[Upkeep]:
    """Compact every table, and remove what no version since `keep` ago needs: data files, and the log before.

    A dry run changes nothing and says what could be removed now; compaction itself frees no space before that time
    is over. Raises IngestError if there is no lake, a load is unfinished, or another process is loading or building.
    """
    check_is_lake(lake)
    with only_writer(lake):
        only_builder(lake)
        if lake.plan.exists():
            message = f"{lake.root}: a load is unfinished, see {lake.plan}; finish it first: run 'python -m ingest'."
            raise IngestError(message)
        for table in tables_of(lake):
            yield _maintain_table(lake, table, keep=keep, dry_run=dry_run)


def _maintain_table(lake: Lake, name: str, *, keep: timedelta, dry_run: bool) -> Upkeep:
    from deltalake import WriterProperties

    table = open_table(lake, name)
    files_before, bytes_before = _size(lake.table(name))
    read_before = len(table.file_uris())
    if not dry_run:
        table.optimize.compact(writer_properties=WriterProperties(compression="ZSTD", compression_level=3))
    # It takes the deletion vectors of a table for files that nobody needs, unless it asks only the log.
    has_deletion_vectors = "deletionVectors" in (table.protocol().writer_features or ())
    removed = table.vacuum(
        retention_hours=math.ceil(keep / timedelta(hours=1)),
        enforce_retention_duration=False,
        full=not has_deletion_vectors,
        dry_run=dry_run,
    )
    if dry_run:
        freed = sum((lake.table(name) / path).stat().st_size for path in removed)
        files, size = files_before - len(removed), bytes_before - freed
    else:
        _cut_log(lake.table(name) / "_delta_log", time.time() - keep.total_seconds())
        files, size = _size(lake.table(name))
    return Upkeep(name, read_before, len(table.file_uris()), files_before, files, bytes_before, size)


def _cut_log(log: Path, since: float) -> None:
    """Remove what is older than the newest checkpoint of before this time: Delta lists all that is there, often."""
    versions = {name: int(found[1]) for name in names_in(log) if (found := OF_A_VERSION.fullmatch(name))}
    checkpoints = [name for name in versions if CHECKPOINT.fullmatch(name)]
    first = max((versions[name] for name in checkpoints if (log / name).stat().st_mtime <= since), default=0)
    for name in sorted(versions, key=versions.__getitem__):
        if versions[name] < first:
            (log / name).unlink()


def _size(folder: Path) -> tuple[int, int]:
    sizes = [
        size
        for name, size in sizes_in(folder).items()
        if name.endswith(".parquet") and not name.startswith("_delta_log/")
    ]
    return len(sizes), sum(sizes)


def versions_at(lake: Lake, run_id: str) -> tuple[int, dict[str, int]]:
    """Give the newest load that a build saw, and the version that each table of silver and gold had after it.

    Raises IngestError if there was no such build, or it is too long ago to be read.
    """
    runs = query_if_there(lake, "audit.pipeline_runs", f"select * from t where run_id = {literal(run_id)}")
    if not runs:
        message = f"no build has the run id {run_id!r}: audit.pipeline_runs has those that there were."
        raise IngestError(message)
    sql = """
        select step, started_at, table_version as version from steps inner join runs using (run_id)
        where table_version is not null and step like 'model.%' order by started_at
    """
    tables: dict[str, int] = {}
    for row in query(lake, sql, steps="audit.pipeline_steps", runs="audit.pipeline_runs"):
        name = MODELS.get(row["step"].rpartition(".")[2])
        if name and row["started_at"] <= runs[0]["started_at"]:
            tables[name] = row["version"]
        elif name and row["version"] < tables.get(name, 0):
            message = f"{name} was deleted and made anew since that build, so its version of then is gone."
            raise IngestError(message)
    for name, version in tables.items():
        _see_that_it_is_there(lake, name, version)
    return runs[0]["up_to_load_id"], tables


def _see_that_it_is_there(lake: Lake, name: str, version: int) -> None:
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    try:
        files = DeltaTable(str(lake.table(name)), version).file_uris()
    except DeltaError as error:
        message = (
            f"{name}: version {version} is not in its log any more, which keeps {MOST_DAYS} days, or what upkeep was "
            "told to keep ('maintain --days', 'watch --keep')."
        )
        raise IngestError(message) from error
    folder = lake.table(name)
    if not all((folder / uri.rpartition("/")[2]).exists() for uri in files):
        message = f"{name}: files of version {version} were removed by upkeep ('maintain --days', 'watch --keep')."
        raise IngestError(message)
