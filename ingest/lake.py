"""The lake: where things are, who may write, and what its tables hold, read without a JVM."""

from __future__ import annotations

import fcntl
import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO

from ingest.errors import BusyError, IngestError
from ingest.places import is_on_disk, names_in, remove, write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime

    from deltalake import DeltaTable

INGEST_LOCK, BUILD_LOCK = "ingest.lock", "build.lock"
PART_OF_A_LOAD = re.compile(r"load-(\d+)-.+\.parquet")
NO_SCHEMAS = {"manifests", "staging", "metastore", "lost+found"}
_builders: dict[Path, TextIO] = {}


@dataclass(frozen=True)
class Lake:
    """Paths of one lake; a table lies at `<root>/<schema>/<table>`.

    The root is a folder, or a place in an object store.
    """

    root: Path

    @property
    def is_on_disk(self) -> bool:
        return is_on_disk(self.root)

    @property
    def home(self) -> Path:
        """The root, or for an object store, which has no locks, a folder of this machine."""
        if self.is_on_disk:
            return self.root
        state = Path(os.environ.get("XDG_STATE_HOME", ""))
        if not state.is_absolute():
            state = Path.home() / ".local" / "state"
        return state / "medallion" / str(self.root).partition("://")[2]

    @property
    def staging(self) -> Path:
        return self.root / "staging"

    @property
    def spool(self) -> Path:
        """Where staging writes: what will be in `staging` once all of it is on a disk."""
        return self.home / "staging"

    @property
    def plan(self) -> Path:
        return self.staging / "plan.json"

    def manifest(self, at: datetime) -> Path:
        """Give the manifest of the load that started at this time (UTC), so that names sort as loads do."""
        return self.root / "manifests" / f"{at:%Y%m%dT%H%M%S.%fZ}.json"

    def table(self, name: str) -> Path:
        return self.root / name.replace(".", "/")


def has_table(lake: Lake, name: str) -> bool:
    """Tell whether the table has a commit: a full disk or a kill may leave a folder without any."""
    return bool(_commit_paths(lake, name))


def is_lake(lake: Lake) -> bool:
    """Tell whether a load or a build was here: their locks, or what a copy of a lake at least has."""
    is_marked = any((lake.root / name).exists() for name in (INGEST_LOCK, BUILD_LOCK))
    return is_marked or has_table(lake, "bronze.source_files")


def check_is_lake(lake: Lake) -> None:
    """Raise IngestError if there is no lake in this place."""
    if not is_lake(lake):
        message = f"{lake.root}: there is no lake in this place; name one with --lake or LAKE_ROOT."
        raise IngestError(message)


def query(lake: Lake, sql: str, **tables: str) -> list[dict[str, Any]]:
    """Answer a query over tables of the lake, each named `schema.table` and known to the SQL by its keyword.

    Raises IngestError if a table is damaged.
    """
    return [row for rows in query_batches(lake, sql, **tables) for row in rows]


def query_if_there(lake: Lake, name: str, sql: str) -> list[dict[str, Any]]:
    """Answer a query over one table, called `t` in it; a table that is not there yet has no rows."""
    return query(lake, sql, t=name) if has_table(lake, name) else []


def query_batches(lake: Lake, sql: str, **tables: str) -> Iterator[list[dict[str, Any]]]:
    """Answer a query as `query` does, some thousands of rows at a time."""
    from deltalake import QueryBuilder  # costs a quarter of a second, and --help needs none of it

    builder = QueryBuilder()
    for alias, name in tables.items():
        builder.register(alias, open_table(lake, name))
    try:
        for batch in builder.execute(sql):
            columns = [column.to_pylist() for column in batch.columns]
            yield [dict(zip(batch.schema.names, values, strict=True)) for values in zip(*columns, strict=True)]
    except Exception as error:  # the engine has no class of its own for what it raises
        _raise_if_lost(error)
        message = f"{' and '.join(tables.values())} cannot be read: {_first_line(error)}. {_cure(*tables.values())}"
        raise IngestError(message) from error


def literal(text: str) -> str:
    """Give a text as the literal that a query takes. Raises IngestError if it is no UTF-8, as an argument may be."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        message = f"{text!r} is no text in UTF-8, as every text of a table is: name it otherwise."
        raise IngestError(message) from error
    return "'" + text.replace("'", "''") + "'"


def open_table(lake: Lake, name: str) -> DeltaTable:
    """Open the newest version of a table.

    Raises IngestError if its Delta log is damaged, as by a power cut of a disk that does not keep its promises.
    """
    from deltalake import DeltaTable
    from deltalake.exceptions import DeltaError

    newest = max(_commit_paths(lake, name), default=None)
    try:
        if newest is not None and not newest.stat().st_size:
            raise DeltaError("it is empty")  # noqa: EM101, TRY003, TRY301 - Delta would take it for a commit of nothing
        return DeltaTable(str(lake.table(name)))
    except DeltaError as error:
        _raise_if_lost(error)
        damaged = next((path for path in _commit_paths(lake, name) if not _is_whole(path)), newest)
        message = f"{name}: its Delta log cannot be read ({_first_line(error)}), see {damaged}. {_cure(name)}"
        raise IngestError(message) from error


def tables_of(lake: Lake) -> list[str]:
    """Give the names of all Delta tables that lie in the lake."""
    schemas = set(names_in(lake.root)) - NO_SCHEMAS
    names = [f"{schema}.{table}" for schema in schemas for table in names_in(lake.root / schema)]
    return sorted(name for name in names if has_table(lake, name))


def column_types(lake: Lake, name: str) -> dict[str, str]:
    """Give the columns of a table and their Delta types."""
    fields = open_table(lake, name).schema().fields
    return {field.name: str(field.type.type) for field in fields}


def clear_staging(lake: Lake) -> None:
    """Remove what was staged, and its plan; there may be nothing."""
    for folder in {lake.spool, lake.staging}:
        remove(folder)


def remove_parts(lake: Lake, *, after: int) -> None:
    """Remove the parts that a load after this one has left in the folders of its tables; no version has them."""
    for table in names_in(lake.root / "bronze"):
        for name in names_in(lake.table(f"bronze.{table}")):
            if (found := PART_OF_A_LOAD.fullmatch(name)) and int(found[1]) > after:
                (lake.table(f"bronze.{table}") / name).unlink()


def only_writer(lake: Lake) -> TextIO:
    """Take the lake's lock on bronze: Delta on a local disk does not keep two processes apart.

    Raises BusyError if another process holds it, IngestError if the lake cannot be written.
    """
    return hold(lake, INGEST_LOCK, "is loading into this lake")


def only_builder(lake: Lake, *, is_alone: bool = True) -> None:
    """Hold the lake's lock on all but bronze until the process ends, alone or, on a cluster, with other builds there.

    Raises IngestError as only_writer does.
    """
    path = lake.home / BUILD_LOCK
    held = _builders.get(lake.home.resolve())
    if held is None or not path.exists() or not os.path.samestat(os.fstat(held.fileno()), path.stat()):
        _builders[lake.home.resolve()] = hold(lake, BUILD_LOCK, "is running dbt on this lake", is_alone=is_alone)


def hold(lake: Lake, name: str, doing: str, *, is_alone: bool = True) -> TextIO:
    """Take a lock of the lake, which lasts until the file is closed or the process ends. Raises BusyError."""
    try:
        _make(lake)
        lock = (lake.home / name).open("a+", encoding="ascii", errors="replace")
    except OSError as error:
        found = error.strerror if lake.is_on_disk else error
        message = f"{lake.root}: the lake cannot be written ({found}); name another with --lake or LAKE_ROOT."
        raise IngestError(message) from error
    try:
        fcntl.flock(lock, (fcntl.LOCK_EX if is_alone else fcntl.LOCK_SH) | fcntl.LOCK_NB)
    except BlockingIOError:
        lock.seek(0)
        message = f"{lake.root}: process {lock.read().strip()} {doing}; try again when it is done."
        raise BusyError(message) from None
    lock.truncate(0)
    lock.write(str(os.getpid()))
    lock.flush()
    return lock


def is_held(lake: Lake, name: str) -> bool:
    """Tell whether a process holds this lock of the lake, alone or with others."""
    try:
        with (lake.home / name).open("rb") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # there is none, or nobody can write here
        return False
    return False


def _make(lake: Lake) -> None:
    """Make the lake's folder, for its owner only, unless it is there; refuse a folder of other things."""
    lake.home.mkdir(mode=0o700, parents=True, exist_ok=True)
    if is_lake(lake):
        return
    if set(names_in(lake.root)) - {"lost+found"}:
        message = f"{lake.root}: this folder holds other things than a lake; name an empty one, or none that exists."
        raise IngestError(message)
    if not lake.is_on_disk:
        write_whole(lake.root / INGEST_LOCK, b"")  # marks it as a lake for other machines


def _commit_paths(lake: Lake, name: str) -> list[Path]:
    log = lake.table(name) / "_delta_log"
    return sorted(log / entry for entry in names_in(log) if entry.endswith(".json"))


def _is_whole(commit: Path) -> bool:
    lines = commit.read_bytes().splitlines()
    try:
        return bool(lines) and all(json.loads(line) for line in lines)
    except ValueError:
        return False


def _cure(*tables: str) -> str:
    if any(table.startswith("bronze.") for table in tables):
        return "Nothing was changed: restore the table's folder from a backup."
    return "Nothing was changed: delete the table's folder and the lake's folder metastore, then rebuild with dbt."


def _raise_if_lost(error: Exception) -> None:
    """Tell a store that does not answer from a table that is damaged. Raises OSError."""
    if "Generic S3 error" in str(error):
        raise OSError(_first_line(error)) from error


def _first_line(error: Exception) -> str:
    return str(error).partition("\n")[0].removesuffix(".")
