"""Check a whole lake without a JVM: every byte, line and record of every load is where it must be, once.

What staging counted and hashed is in the JSON manifests; what the tables hold is counted and hashed again here, and
must be the same. Then every record must have one outcome in silver, and every accepted event must be in gold once.
"""

from __future__ import annotations

import hashlib
import json
import zlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from ingest.errors import IngestError
from ingest.lake import check_is_lake, column_types, has_table, literal, open_table, query, query_batches, tables_of
from ingest.manifest import SOURCE_FILES, TABLE_FIELDS, Manifest, known_versions, read_manifest, read_seen
from ingest.places import names_in
from ingest.raw_records import raw_records, record_bytes
from ingest.records import LONG_RECORD_BYTES
from ingest.status import complete_up_to
from ingest.versions import TOPICS, FileVersion

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from ingest.changes import Seen
    from ingest.discovery import Listing, RawFile
    from ingest.feeds import Feed
    from ingest.lake import Lake

_WINDOW_BYTES = 64 << 20
_WINDOW_FILES = 1_000
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

    `listing` has the raw files, if bronze is to be held to them too. A load that is not finished, or ends
    meanwhile, is none of its business. Raises IngestError if there is no lake.
    """
    check_is_lake(lake)
    try:
        for table in tables_of(lake):
            open_table(lake, table)
            checked.add("tables")
        manifests: dict[int, Manifest] = {}
        yield from _check_manifests(lake, manifests)
        for feed in feeds:
            yield from _check_feed(lake, feed, manifests, checked)
        for manifest in manifests.values():
            checked.add("loads")
            checked.add("file versions", len(manifest.versions))
            checked.add("bytes", sum(version.bytes for version in manifest.versions))
        for table, outcomes in OUTCOMES.items():
            yield from _check_outcomes(lake, table, outcomes, checked)
        if listing is not None:
            yield from _check_raw_files(lake, listing, manifests, checked)
    except IngestError as error:
        yield str(error)


def _check_manifests(lake: Lake, manifests: dict[int, Manifest]) -> Iterator[str]:
    """Hold bronze.source_files to the JSON manifests, row by row; fills `manifests` by load, in order."""
    loads: dict[int, dict[str, list[FileVersion]]] = {}
    for version in known_versions(lake):
        loads.setdefault(version.load_id, {}).setdefault(version.source_file, []).append(version)
    folder = lake.root / "manifests"
    for name in sorted(name for name in names_in(folder) if name.endswith(".json")):
        try:
            manifest = read_manifest(folder / name)
        except IngestError as error:
            yield str(error)
            continue
        if manifest.load_id in loads or (manifest.load_id and not _is_in_flight(lake, manifest.load_id)):
            manifests[manifest.load_id] = manifest
    for load_id, manifest in manifests.items():
        yield from _check_rows(manifest, loads.get(load_id, {}))
    for load_id in sorted(loads.keys() - manifests.keys()):
        yield f"{SOURCE_FILES} has load {load_id}, of which there is no sound file in {folder}."


def _is_in_flight(lake: Lake, load_id: int) -> bool:
    """Tell whether a load is not finished, or was not when its table was read."""
    try:
        is_planned = read_manifest(lake.plan).load_id == load_id
    except FileNotFoundError:
        is_planned = False
    return is_planned or any(version.load_id == load_id for version in known_versions(lake))


def _check_rows(manifest: Manifest, rows: dict[str, list[FileVersion]]) -> Iterator[str]:
    for version in manifest.versions:
        found = rows.get(version.source_file, [])
        if len(found) != 1 or not _is_same(found[0], version):
            wrong = "a row that differs from" if len(found) == 1 else f"{len(found)} rows for"
            yield f"{version.source_file}: {SOURCE_FILES} has {wrong} its manifest of load {manifest.load_id}."
    for name in sorted(rows.keys() - {version.source_file for version in manifest.versions}):
        yield f"{name}: {SOURCE_FILES} has a row of load {manifest.load_id} that its manifest does not have."


def _is_same(row: FileVersion, version: FileVersion) -> bool:
    return all(getattr(row, name) == getattr(version, name) for name in TABLE_FIELDS)


# Bronze


class _Tally:
    """Counts and hashes the rows of one file version as they come, in the order of their lines."""

    def __init__(self, version: FileVersion) -> None:
        self.version = version
        self.hashes = [hashlib.sha256() for _ in version.record_hashes]
        self.records = self.bytes = self.defects = 0
        self.line = version.first_line - 1
        self.absent: int | None = None
        self.suspect: int | None = None
        self.is_told = False

    def add(self, row: dict[str, Any], keys: Sequence[str]) -> Iterator[str]:
        line, version = row["_source_line"] or 0, self.version
        place = f"{version.source_file}, line {line}, load {version.load_id}"
        wrong = None
        if self.records and line == self.line:
            wrong = f"this record is in bronze.{version.feed} twice"
        elif not version.first_line <= line < version.first_line + version.lines:
            wrong = f"bronze.{version.feed} has this record, but the load did not read that line"
        elif (row["_source_file_id"], row["_loaded_at"]) != (version.source_file_id, version.loaded_at):
            wrong = "its _source_file_id or _loaded_at is not that of the load"
        elif line > self.line + 1 and self.absent is None:
            self.absent = self.line + 1
        if wrong:
            self.is_told = True
            yield f"{place}: {wrong}."
        self.line = line
        text = record_bytes(row)
        self.records += 1
        self.bytes += len(text)
        self.defects += row["_defect"] is not None
        if begun := [of for of, (first, _) in zip(self.hashes, version.record_hashes, strict=True) if first <= line]:
            begun[-1].update(text + b"\n")
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
        elif self.records > version.records and not self.is_told:
            yield f"{place}: {table} has {self.records:,} records of this file, but {version.records:,} were read."
        elif self.is_told:
            return
        elif [of.hexdigest() for of in self.hashes] != [wanted for _, wanted in version.record_hashes]:
            where = f"line {self.suspect}" if self.suspect is not None else "one of its lines, which --raw would tell"
            yield f"{place}, {where}: the text in {table} is not what was read."
        elif self.suspect is not None:
            yield f"{place}, line {self.suspect}: the columns in {table} do not say what its _raw says."
        elif version.record_hashes and version.bytes != self.bytes + version.cut_bytes + version.other_bytes:
            yield f"{place}: {version.bytes:,} bytes were read, but records and what is around them have not as many."
        elif self.defects != version.defective_records:
            yield f"{place}: {table} has {self.defects} defective records, its manifest {version.defective_records}."


def _contradicts_itself(row: dict[str, Any], keys: Sequence[str]) -> bool:
    """Tell whether a column with a JSON string does not say what the record's text says.

    A key that was not declared yet when the record came is in `_unknown_keys`, and its column is NULL.
    """
    if row["_defect"] is not None:
        return False
    try:
        values = json.loads(row["_raw"] or "")
    except ValueError:
        return True
    except RecursionError:  # sound, but deeper than Python reads; its text is compared in any case
        return False
    if not isinstance(values, dict):
        return True
    texts = {key: values.get(key) for key in keys if key not in (row["_unknown_keys"] or ())}
    return any(isinstance(text, str) and text.isascii() and text != row[key] for key, text in texts.items())


def _check_feed(lake: Lake, feed: Feed, manifests: dict[int, Manifest], checked: Checked) -> Iterator[str]:
    """Hold a feed's table to the manifests, load by load."""
    table = f"bronze.{feed.name}"
    is_there = has_table(lake, table)
    keys = [key for key in feed.keys if key in column_types(lake, table)] if is_there else []
    columns = "".join(f'"{key}", ' for key in keys)
    for load_id, manifest in manifests.items():
        tallies = {
            version.source_file: _Tally(version)
            for version in manifest.versions
            if version.feed == feed.name and version.records
        }
        if tallies and not is_there:
            yield f"{table} is not there, but load {load_id} has records in it."
            return
        for condition in _windows([tally.version for tally in tallies.values()]):
            sql = (
                f"select {columns}_raw, _raw_bytes, _defect, _unknown_keys, _source_file, _source_line,"
                f" _source_file_id, _loaded_at from t where _load_id = {load_id} and {condition}"
                " order by _source_file, _source_line"
            )
            for rows in query_batches(lake, sql, t=table):
                for row in rows:
                    if row["_source_file"] in tallies:
                        yield from tallies[row["_source_file"]].add(row, keys)
        for tally in tallies.values():
            yield from tally.verdict()
            checked.add("records", tally.records)
    if is_there:
        yield from _check_strangers(lake, feed, manifests)


def _windows(versions: Iterable[FileVersion]) -> Iterator[str]:
    """Yield conditions that share the rows of a load among queries of bounded size."""
    first, size, files, last = "", 0, 0, ""
    for version in sorted(versions, key=lambda version: version.source_file):
        if files and (size + version.bytes > _WINDOW_BYTES or files == _WINDOW_FILES):
            yield f"_source_file between {literal(first)} and {literal(last)}"
            size = files = 0
        if version.bytes > _WINDOW_BYTES:
            step = max(1, version.lines * _WINDOW_BYTES // version.bytes)
            # The first and the last one are open, so that lines that should not be there are seen.
            starts = range(version.first_line + step, version.first_line + version.lines, step)
            for begin, end in zip([None, *starts], [*starts, None], strict=True):
                above = "" if begin is None else f" and _source_line >= {begin}"
                below = "" if end is None else f" and _source_line < {end}"
                yield f"_source_file = {literal(version.source_file)}{above}{below}"
            continue
        first, last = (first if files else version.source_file), version.source_file
        size, files = size + version.bytes, files + 1
    if files:
        yield f"_source_file between {literal(first)} and {literal(last)}"


def _check_strangers(lake: Lake, feed: Feed, manifests: dict[int, Manifest]) -> Iterator[str]:
    """Find records of loads, or of files in a load, that no manifest knows."""
    known = {
        (load_id, version.source_file)
        for load_id, manifest in manifests.items()
        for version in manifest.versions
        if version.feed == feed.name and version.records
    }
    sql = "select _load_id, _source_file, min(_source_line) as line from t group by 1, 2 order by 1, 2"
    for row in query(lake, sql, t=f"bronze.{feed.name}"):
        load_id, name = row["_load_id"], row["_source_file"]
        if (load_id, name) not in known and (load_id in manifests or not _is_in_flight(lake, load_id)):
            yield (
                f"{name}, line {row['line']}, load {load_id}: bronze.{feed.name} has this record, but no manifest "
                "says that the load read it."
            )


# Silver and gold


def _check_outcomes(lake: Lake, table: str, outcomes: Sequence[str], checked: Checked) -> Iterator[str]:
    """Find records of a table that are not once in what is made of it, up to the load that was built."""
    built = complete_up_to(lake)
    names = [name.partition(".")[2] for name in (table, *outcomes)]
    up_to = min(built.get(name, 0) for name in (names[1:] if table.startswith("bronze.") else names))
    lost = [name for name in (table, *outcomes) if up_to and not has_table(lake, name)]
    if lost or not up_to:
        yield from (f"{name} is not there, but was built up to load {up_to}." for name in lost)
        return
    tables = {f"o{number}": name for number, name in enumerate(outcomes)}
    found = " union all ".join(f"select {_IDENTITY} from {alias} where _load_id <= {up_to}" for alias in tables)
    sql = f"""
        with found as (select {_IDENTITY}, count(*) as times from ({found}) group by {_IDENTITY}),
        wanted as (select {_IDENTITY}, true as is_wanted from t where _load_id <= {up_to})
        select {_IDENTITY}, times, is_wanted from wanted full outer join found using ({_IDENTITY})
        where (times is distinct from 1) or is_wanted is null
        order by {_IDENTITY}
    """
    for row in query(lake, sql, t=table, **tables):
        place = f"{row['_source_file']}, line {row['_source_line']}, load {row['_load_id']}"
        made = " and ".join(outcomes)
        if row["is_wanted"]:
            yield f"{place}: this record of {table} is {row['times'] or 0} times in {made}, not once."
        else:
            yield f"{place}: {made} have this record, but {table} has not."
    checked.add(f"loads of {table} built", up_to)


# Raw files


def _check_raw_files(lake: Lake, listing: Listing, manifests: dict[int, Manifest], checked: Checked) -> Iterator[str]:
    """Hold bronze to the raw files that are still as they were when they were loaded."""
    chains: dict[str, list[FileVersion]] = {}
    for manifest in manifests.values():
        for version in manifest.versions:
            if version.source_file.startswith(TOPICS):
                continue
            chain = chains.setdefault(version.source_file, [])
            if version.status != "appended":
                chain.clear()
            chain.append(version)
    seen = read_seen(lake)
    for file in listing.files:
        chain = chains.pop(file.name, [])
        if not chain:
            checked.add("raw files not loaded yet")
        elif not _is_as_loaded(file, chain[-1], seen):
            checked.add("raw files changed since")
        elif all(version.is_read for version in chain):
            checked.add("raw files compared")
            try:
                yield from _check_raw_file(lake, file.path, chain)
            except (OSError, EOFError, zlib.error) as error:
                yield f"{file.name}: this raw file cannot be read any more ({error})."
        else:
            checked.add("raw files that were failed or repeats")
    checked.add("raw files gone", len(chains))


def _is_as_loaded(file: RawFile, version: FileVersion, seen: Seen) -> bool:
    load_id, stamp = seen.get(file.name, (0, ""))
    if load_id == version.load_id:
        return stamp == file.stamp
    return (version.file_bytes, version.modified_at) == (file.size, file.modified_at)


def _check_raw_file(lake: Lake, path: bytes, chain: Sequence[FileVersion]) -> Iterator[str]:
    newest = chain[-1]
    rows = _rows_by_line(lake, chain)
    row = next(rows, None)
    once_open = {version.first_line + version.lines - 1 for version in chain if version.open_line_at is not None}
    open_line = newest.first_line + newest.lines - 1 if newest.open_line_at is not None else None
    for line, record in raw_records(path, is_document=newest.layout == "document"):
        if line >= newest.first_line + newest.lines:
            break
        kept = None
        while row is not None and row["_source_line"] <= line:
            kept, row = row, next(rows, None)
        wanted = record[:LONG_RECORD_BYTES] if kept and kept["_defect"] == "too_long" else record
        if line == open_line and newest.open_line_at is not None:
            wanted = wanted[: newest.read_to - newest.open_line_at]
        found_text = record_bytes(kept) if kept else b""
        if line in once_open:  # its line end came later, and may have begun with a CR that was read
            found_text = found_text.removesuffix(b"\r")
            wanted = wanted.removesuffix(b"\r")
        if kept is None or kept["_source_line"] != line or found_text != wanted:
            found = "another text for" if kept and kept["_source_line"] == line else "nothing of"
            yield f"{newest.source_file}, line {line}: bronze.{newest.feed} has {found} this line of the raw file."
            return


def _rows_by_line(lake: Lake, chain: Sequence[FileVersion]) -> Iterator[dict[str, Any]]:
    """Yield what bronze has of a file, a bounded part at a time; a line that was read again comes twice."""
    table = f"bronze.{chain[0].feed}"
    if not has_table(lake, table):
        return
    for version in chain:
        for condition in _windows([version] if version.records else []):
            sql = (
                "select _source_line, _raw, _raw_bytes, _defect from t"
                f" where _load_id = {version.load_id} and {condition} order by _source_line"
            )
            for rows in query_batches(lake, sql, t=table):
                yield from rows
