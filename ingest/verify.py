"""Check a whole lake without a JVM: every byte, line and record of every load is where it must be, once.

What staging counted and hashed is in the JSON manifests; what the tables hold is counted and hashed again here, and
must be the same. Then every record must have one outcome in silver, and every accepted event must be in gold once.
"""

from __future__ import annotations

import gzip
import hashlib
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ingest.documents import NotJsonError, document_spans
from ingest.errors import IngestError
from ingest.lake import has_table, open_table, query, query_batches, tables_of
from ingest.manifest import SOURCE_FILES, Manifest, known_versions, read_manifest
from ingest.reading import BYTE_ORDER_MARK
from ingest.records import LONG_RECORD_BYTES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ingest.discovery import Listing
    from ingest.feeds import Feed
    from ingest.lake import Lake
    from ingest.versions import FileVersion

_WINDOW_BYTES = 64 << 20
_WINDOW_FILES = 1_000
_READ = ("loaded", "appended", "replaced")
OUTCOMES = {
    "bronze.driver_events": ("silver.driver_events", "silver.rejected_driver_events"),
    "bronze.companies": ("silver.company_history", "silver.rejected_companies"),
    "silver.driver_events": ("gold.enriched_driver_events",),
}
_IDENTITY = "_load_id, _source_file, _source_line"


@dataclass
class Checked:
    """What was looked at: how many of each kind."""

    counts: dict[str, int] = field(default_factory=dict)

    def add(self, what: str, count: int = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + count


def violations_of(lake: Lake, feeds: Sequence[Feed], listing: Listing | None, checked: Checked) -> Iterator[str]:
    """Yield a sentence for each violation, in the order of loads, files and lines.

    `listing` has the raw files, if bronze is to be held to them too. A load that is not finished is none of its
    business: the next run of ingest finishes it.
    """
    try:
        for table in tables_of(lake):
            open_table(lake, table)
            checked.add("tables")
        manifests: dict[int, Manifest] = {}
        yield from _check_manifests(lake, manifests)
        for manifest in manifests.values():
            checked.add("loads")
            yield from _check_load(lake, feeds, manifest, checked)
        yield from _check_strangers(lake, feeds, manifests)
        for table, outcomes in OUTCOMES.items():
            yield from _check_outcomes(lake, table, outcomes, checked)
        if listing is not None:
            yield from _check_raw_files(lake, listing, manifests, checked)
    except IngestError as error:
        yield str(error)


def _check_manifests(lake: Lake, manifests: dict[int, Manifest]) -> Iterator[str]:
    """Hold bronze.source_files to the JSON manifests, row by row; fills `manifests` by load, in order."""
    for path in sorted((lake.root / "manifests").glob("*.json")):
        try:
            manifest = read_manifest(path)
        except (ValueError, KeyError, TypeError) as error:
            yield f"{path}: this manifest cannot be read ({error})."
            continue
        if manifest.load_id:
            manifests[manifest.load_id] = manifest
    loads: dict[int, dict[str, list[FileVersion]]] = {}
    for version in known_versions(lake):
        loads.setdefault(version.load_id, {}).setdefault(version.source_file, []).append(version)
    unfinished = _unfinished_load(lake)
    if unfinished not in loads:
        manifests.pop(unfinished, None)
    for load_id, manifest in manifests.items():
        yield from _check_rows(manifest, loads.get(load_id, {}))
    for load_id in sorted(loads.keys() - manifests.keys()):
        yield f"{SOURCE_FILES} has load {load_id}, of which there is no file in {lake.root / 'manifests'}."


def _unfinished_load(lake: Lake) -> int:
    return read_manifest(lake.plan).load_id if lake.plan.exists() else 0


def _check_rows(manifest: Manifest, rows: dict[str, list[FileVersion]]) -> Iterator[str]:
    for version in manifest.versions:
        found = rows.get(version.source_file, [])
        if len(found) != 1 or not _is_same(found[0], version):
            wrong = "a row that differs from" if len(found) == 1 else f"{len(found)} rows for"
            yield f"{version.source_file}: {SOURCE_FILES} has {wrong} its manifest of load {manifest.load_id}."
    for name in sorted(rows.keys() - {version.source_file for version in manifest.versions}):
        yield f"{name}: {SOURCE_FILES} has a row of load {manifest.load_id} that its manifest does not have."


def _is_same(row: FileVersion, version: FileVersion) -> bool:
    names = ("feed", "source_file_id", "status", "reason", "bytes", "lines", "blank_lines", "records", "first_line")
    return all(getattr(row, name) == getattr(version, name) for name in (*names, "file_bytes", "content_id"))


# Bronze


class _Tally:
    """Counts and hashes the rows of one file version as they come, in the order of their lines."""

    def __init__(self, version: FileVersion, defective: int) -> None:
        self.version, self.defective = version, defective
        self.hash = hashlib.sha256()
        self.records = self.bytes = self.defects = 0
        self.line = version.first_line - 1
        self.absent: int | None = None
        self.suspect: int | None = None

    def add(self, row: dict[str, Any], keys: Sequence[str]) -> Iterator[str]:
        line, version = row["_source_line"], self.version
        place = f"{version.source_file}, line {line}, load {version.load_id}"
        if line == self.line:
            yield f"{place}: this record is in bronze.{version.feed} twice."
        elif not version.first_line <= line < version.first_line + version.lines:
            yield f"{place}: bronze.{version.feed} has this record, but the load did not read that line."
        elif (row["_source_file_id"], row["_loaded_at"]) != (version.source_file_id, version.loaded_at):
            yield f"{place}: its _source_file_id or _loaded_at is not that of the load."
        elif line > self.line + 1 and self.absent is None:
            self.absent = self.line + 1
        self.line = line
        text = record_bytes(row)
        self.records += 1
        self.bytes += len(text)
        self.defects += row["_defect"] is not None
        self.hash.update(text)
        self.hash.update(b"\n")
        if self.suspect is None and _contradicts_itself(row, keys):
            self.suspect = line

    def verdict(self) -> Iterator[str]:
        version = self.version
        place, table = f"{version.source_file}, load {version.load_id}", f"bronze.{version.feed}"
        absent = self.line + 1 if self.absent is None else self.absent
        if self.records < version.records:
            yield (
                f"{version.source_file}, line {absent}{' or later' if version.blank_lines else ''}, load "
                f"{version.load_id}: {table} has {self.records:,} of {version.records:,} records of this file."
            )
        elif self.records > version.records or self.line >= version.first_line + version.lines:
            return
        elif version.records_id not in (None, self.hash.hexdigest()):
            where = f"line {self.suspect}" if self.suspect else "one of its lines, which --raw would tell"
            yield f"{place}, {where}: the text in {table} is not what was read."
        elif version.records_id and version.bytes != self.bytes + version.cut_bytes + version.other_bytes:
            yield f"{place}: {version.bytes:,} bytes were read, but records and what is around them have not as many."
        elif self.defects != self.defective:
            yield f"{place}: {table} has {self.defects} defective records, its manifest {self.defective}."


def record_bytes(row: dict[str, Any]) -> bytes:
    """Give the bytes of a bronze row's record."""
    raw_bytes: bytes | None = row["_raw_bytes"]
    return row["_raw"].encode() if raw_bytes is None else raw_bytes


def _contradicts_itself(row: dict[str, Any], keys: Sequence[str]) -> bool:
    """Tell whether a column with a JSON string does not say what the record's text says."""
    if row["_defect"] is not None:
        return False
    try:
        values = json.loads(row["_raw"])
    except (ValueError, RecursionError):
        return True
    texts = {key: values.get(key) for key in keys}
    return any(isinstance(text, str) and text.isascii() and text != row[key] for key, text in texts.items())


def _check_load(lake: Lake, feeds: Sequence[Feed], manifest: Manifest, checked: Checked) -> Iterator[str]:
    for feed in feeds:
        tallies = {
            version.source_file: _Tally(version, defective)
            for version, defective in zip(manifest.versions, manifest.defective_records, strict=True)
            if version.feed == feed.name and version.records
        }
        table = f"bronze.{feed.name}"
        if tallies and not has_table(lake, table):
            yield f"{table} is not there, but load {manifest.load_id} has records in it."
            continue
        columns = ", ".join(f'"{key}"' for key in feed.keys if tallies and key in _columns(lake, table))
        for condition in _windows([tally.version for tally in tallies.values()]):
            sql = (
                f"select {columns}, _raw, _raw_bytes, _defect, _source_file, _source_line, _source_file_id, _loaded_at"  # noqa: S608
                f" from t where _load_id = {manifest.load_id} and {condition} order by _source_file, _source_line"
            )
            for rows in query_batches(lake, sql, t=table):
                for row in rows:
                    if row["_source_file"] in tallies:
                        keys = [key for key in feed.keys if key in row]
                        yield from tallies[row["_source_file"]].add(row, keys)
        for tally in tallies.values():
            yield from tally.verdict()
            checked.add("records", tally.records)
            checked.add("bytes", tally.version.bytes)
    checked.add("file versions", len(manifest.versions))


def _columns(lake: Lake, table: str) -> set[str]:
    return {column.name for column in open_table(lake, table).schema().fields}


def _windows(versions: Iterable[FileVersion]) -> Iterator[str]:
    """Yield conditions that share the rows of a load among queries of bounded size."""
    first, size, files, last = "", 0, 0, ""
    for version in sorted(versions, key=lambda version: version.source_file):
        if files and (size + version.bytes > _WINDOW_BYTES or files == _WINDOW_FILES):
            yield f"_source_file between {_literal(first)} and {_literal(last)}"
            size = files = 0
        if version.bytes > _WINDOW_BYTES:
            step = max(1, version.lines * _WINDOW_BYTES // version.bytes)
            # The first and the last one are open, so that lines that should not be there are seen.
            starts = range(version.first_line + step, version.first_line + version.lines, step)
            for begin, end in zip([None, *starts], [*starts, None], strict=True):
                above = "" if begin is None else f" and _source_line >= {begin}"
                below = "" if end is None else f" and _source_line < {end}"
                yield f"_source_file = {_literal(version.source_file)}{above}{below}"
            continue
        first, last = (first if files else version.source_file), version.source_file
        size, files = size + version.bytes, files + 1
    if files:
        yield f"_source_file between {_literal(first)} and {_literal(last)}"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _check_strangers(lake: Lake, feeds: Sequence[Feed], manifests: dict[int, Manifest]) -> Iterator[str]:
    """Find records of loads, or of files in a load, that no manifest knows."""
    unfinished = _unfinished_load(lake)
    known = {
        (version.feed, load_id, version.source_file)
        for load_id, manifest in manifests.items()
        for version in manifest.versions
        if version.records
    }
    for feed in feeds:
        if not has_table(lake, f"bronze.{feed.name}"):
            continue
        sql = "select _load_id, _source_file, min(_source_line) as line from t group by 1, 2 order by 1, 2"
        for row in query(lake, sql, t=f"bronze.{feed.name}"):
            if row["_load_id"] != unfinished and (feed.name, row["_load_id"], row["_source_file"]) not in known:
                yield (
                    f"{row['_source_file']}, line {row['line']}, load {row['_load_id']}: bronze.{feed.name} has this "
                    "record, but no manifest says that the load read it."
                )


# Silver and gold


def _check_outcomes(lake: Lake, table: str, outcomes: Sequence[str], checked: Checked) -> Iterator[str]:
    """Find records of a table that are not once in what is made of it, up to the load that was built."""
    if not all(has_table(lake, name) for name in (table, *outcomes, "audit.pipeline_steps")):
        return
    built = {
        row["step"].rpartition(".")[2]: row["load_id"]
        for row in query(lake, "select step, max(complete_up_to_load_id) as load_id from t group by step",
                         t="audit.pipeline_steps")
    }  # fmt: skip
    names = [name.partition(".")[2] for name in (table, *outcomes)]
    up_to = min(built.get(name) or 0 for name in (names[1:] if table.startswith("bronze.") else names))
    tables = {f"o{number}": name for number, name in enumerate(outcomes)}
    found = " union all ".join(f"select {_IDENTITY} from {alias} where _load_id <= {up_to}" for alias in tables)  # noqa: S608
    sql = f"""
        with found as (select {_IDENTITY}, count(*) as times from ({found}) group by {_IDENTITY}),
        wanted as (select {_IDENTITY}, true as is_wanted from t where _load_id <= {up_to})
        select {_IDENTITY}, times, is_wanted from wanted full outer join found using ({_IDENTITY})
        where (times is distinct from 1) or is_wanted is null
        order by {_IDENTITY}
    """  # noqa: S608
    for row in query(lake, sql, t=table, **tables):
        place = f"{row['_source_file']}, line {row['_source_line']}, load {row['_load_id']}"
        made = " and ".join(outcomes)
        if row["is_wanted"]:
            yield f"{place}: this record of {table} is {row['times'] or 0} times in {made}, not once."
        else:
            yield f"{place}: {made} have this record, but {table} has not."
    checked.add(f"loads built from {table}", up_to)


# Raw files


def _check_raw_files(lake: Lake, listing: Listing, manifests: dict[int, Manifest], checked: Checked) -> Iterator[str]:
    """Hold bronze to the raw files that are still as they were when they were loaded."""
    chains: dict[str, list[FileVersion]] = {}
    for manifest in manifests.values():
        for version in manifest.versions:
            chain = chains.setdefault(version.source_file, [])
            if version.status != "appended":
                chain.clear()
            chain.append(version)
    for file in listing.files:
        chain = chains.pop(file.name, [])
        if not chain:
            checked.add("raw files not loaded yet")
        elif (chain[-1].file_bytes, chain[-1].modified_at) != (file.size, file.modified_at):
            checked.add("raw files changed since")
        elif all(version.status in _READ for version in chain):
            checked.add("raw files compared")
            yield from _check_raw_file(lake, file.path, chain)
    checked.add("raw files gone", len(chains))


def _check_raw_file(lake: Lake, path: bytes, chain: Sequence[FileVersion]) -> Iterator[str]:
    newest = chain[-1]
    loads = ", ".join(str(version.load_id) for version in chain)
    sql = (
        f"select _load_id, _source_line, _raw, _raw_bytes, _defect from t where _load_id in ({loads})"  # noqa: S608
        f" and _source_file = {_literal(newest.source_file)} order by _source_line, _load_id"
    )
    rows = (row for rows in query_batches(lake, sql, t=f"bronze.{newest.feed}") for row in rows)
    row = next(rows, None)
    for line, record in _raw_records(path, is_document=newest.layout == "document"):
        if line >= newest.first_line + newest.lines:
            break
        kept = None
        while row is not None and row["_source_line"] <= line:
            kept, row = row, next(rows, None)
        wanted = record[:LONG_RECORD_BYTES] if kept and kept["_defect"] == "too_long" else record
        if kept is None or kept["_source_line"] != line or record_bytes(kept) != wanted:
            found = "another text for" if kept and kept["_source_line"] == line else "nothing of"
            yield f"{newest.source_file}, line {line}: bronze.{newest.feed} has {found} this line of the raw file."
            return


def _raw_records(path: bytes, *, is_document: bool) -> Iterator[tuple[int, bytes]]:
    """Yield the numbered records of a file, read in another way than staging does for lines."""
    with open(path, "rb") as file:  # noqa: PTH123 - pathlib has no paths of bytes
        is_gzip = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        text: Any = gzip.GzipFile(fileobj=file) if is_gzip else file
        if is_document:
            content = text.read().removeprefix(BYTE_ORDER_MARK)
            try:
                yield from [
                    (number, content[slice(*span)]) for number, span in enumerate(document_spans(content, 0), 1)
                ]
            except NotJsonError:
                yield 1, content.removesuffix(b"\n").removesuffix(b"\r")
            return
        for number, line in enumerate(text, 1):
            record = line.removesuffix(b"\n").removesuffix(b"\r") if line.endswith(b"\n") else line
            record = record.removeprefix(BYTE_ORDER_MARK) if number == 1 else record
            if record.strip(b" \t\r"):
                yield number, record
