"""The lake on disk: where things are, who may write, and what its tables hold, read without a JVM."""

from __future__ import annotations

import fcntl
import os
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from ingest.errors import IngestError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path


@dataclass(frozen=True)
class Lake:
    """Paths of one lake; a table lies at `<root>/<schema>/<table>`."""

    root: Path

    @property
    def staging(self) -> Path:
        return self.root / "staging"

    @property
    def plan(self) -> Path:
        return self.staging / "plan.json"

    def manifest(self, at: datetime) -> Path:
        """Give the manifest of the load that started at this time (UTC), so that names sort as loads do."""
        return self.root / "manifests" / f"{at:%Y%m%dT%H%M%S.%fZ}.json"

    def table(self, name: str) -> Path:
        return self.root / name.replace(".", "/")


def has_table(lake: Lake, name: str) -> bool:
    return (lake.table(name) / "_delta_log").is_dir()


def query(lake: Lake, sql: str, **tables: str) -> list[dict[str, Any]]:
    """Answer a query over tables of the lake, each named `schema.table` and known to the SQL by its keyword."""
    from deltalake import DeltaTable, QueryBuilder  # costs a quarter of a second, and --help needs none of it

    builder = QueryBuilder()
    for alias, name in tables.items():
        builder.register(alias, DeltaTable(lake.table(name)))
    rows: list[dict[str, Any]] = []
    for batch in builder.execute(sql):
        columns = [column.to_pylist() for column in batch.columns]
        rows += [dict(zip(batch.schema.names, values, strict=True)) for values in zip(*columns, strict=True)]
    return rows


def column_types(lake: Lake, name: str) -> dict[str, str]:
    """Give the columns of a table and their Delta types."""
    from deltalake import DeltaTable

    fields = DeltaTable(lake.table(name)).schema().fields
    return {field.name: str(getattr(field.type, "type", "nested")) for field in fields}


@contextmanager
def only_writer(lake: Lake) -> Iterator[None]:
    """Hold the lake's lock: Delta on a local disk does not keep two processes apart.

    Raises IngestError if another process holds it, or the lake cannot be written.
    """
    try:
        lake.staging.mkdir(parents=True, exist_ok=True)
        lock = (lake.root / "ingest.lock").open("a+", encoding="ascii")
    except OSError as error:
        message = f"{lake.root}: the lake cannot be written ({error.strerror}); name another with --lake or LAKE_ROOT."
        raise IngestError(message) from error
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            message = (
                f"{lake.root}: process {lock.read().strip()} is loading into this lake; try again when it is done."
            )
            raise IngestError(message) from None
        lock.truncate(0)
        lock.write(str(os.getpid()))
        lock.flush()
        yield
