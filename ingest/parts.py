"""The second reading of a file: its new records as finished Parquet files, in the folder of their table.

No reader of the table sees such a part before a commit names it, so the parts are all the staging that a load has.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import closing, suppress
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from ingest.parsing import RecordParser
from ingest.places import send, sync
from ingest.reading import BYTE_ORDER_MARK, RawInput, UnreadableError, UnusableError, open_raw
from ingest.records import Counts, Records, document_blocks, line_blocks, records_of
from ingest.versions import Part

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from ingest.feeds import Feed
    from ingest.scanning import Stretch
    from ingest.versions import Load

_BATCH_RECORDS, _BATCH_BYTES, _ROW_GROUP_BYTES = 8_192, 2 << 20, 64 << 20
_OWN_COLUMNS = [
    ("_raw", pa.string()),
    ("_raw_bytes", pa.binary()),
    ("_defect", pa.string()),
    ("_unknown_keys", pa.list_(pa.field("element", pa.string()))),
    ("_source_file", pa.string()),
    ("_source_line", pa.int64()),
    ("_source_file_id", pa.string()),
    ("_load_id", pa.int64()),
    ("_loaded_at", pa.timestamp("us", "UTC")),
]
# Minima and maxima of what the pipeline itself asks for; those of texts would be long, and of no use.
_WITH_STATISTICS = ["_defect", "_source_file", "_source_line", "_source_file_id", "_load_id", "_loaded_at"]
_ALL_DIFFERENT = {"_raw", "_raw_bytes", "_source_line"}


class ChangedError(Exception):
    """A file is no longer what it was when it was scanned."""


@dataclass(frozen=True)
class Source:
    """The stretches of one file that a part reads, one after the other; `number` is the file's place in the load."""

    number: int
    path: bytes
    name: str
    source_file_id: str
    is_gzip: bool
    is_document: bool
    stretches: tuple[Stretch, ...]

    @property
    def bytes(self) -> int:
        return sum(stretch.end - stretch.begin for stretch in self.stretches)


@dataclass(frozen=True)
class PartTask:
    """What one part of a feed's table is made of."""

    load: Load
    feed: Feed
    sources: tuple[Source, ...]


@dataclass(frozen=True)
class Written:
    """What a task has made: its part, if there were records, and the counts by the numbers of the files.

    If files have `changed` since they were scanned, there is no part.
    """

    feed: str
    part: Part | None
    counts: dict[int, Counts]
    changed: tuple[str, ...] = ()


def bronze_schema(keys: Sequence[str]) -> pa.Schema:
    """Give the columns of a feed's bronze table."""
    return pa.schema([*((key, pa.string()) for key in keys), *_OWN_COLUMNS])


def write_part(task: PartTask) -> Written:
    """Read the stretches again and write their records; if files have changed meanwhile, name them and keep nothing."""
    writer = PartWriter(task.load, task.feed)
    counts: dict[int, Counts] = {}
    changed: list[str] = []
    try:
        for source in task.sources:
            of_file = counts.setdefault(source.number, Counts())
            try:
                _read(source, writer, of_file, task.load.limits.max_record_bytes)
            except (ChangedError, UnreadableError, UnusableError):
                changed.append(source.name)
        part = None if changed else writer.finish()
    finally:
        writer.close()
    return Written(task.feed.name, part, counts, tuple(changed))


class PartWriter:
    """Writes the rows of one part, a row group at a time."""

    def __init__(self, load: Load, feed: Feed) -> None:
        """Begin a part, whose file appears with its first row; one for a store is first written on this machine."""
        self._load = load
        self._parser = RecordParser(feed.keys)
        self._schema = bronze_schema(feed.keys)
        name = f"load-{load.load_id:010}-{uuid4()}.zstd.parquet"
        self._place = load.lake.table(f"bronze.{feed.name}") / name
        self._file = self._place if load.lake.is_on_disk else load.lake.spool / name
        self._writer: pq.ParquetWriter | None = None
        self._runs: list[tuple[str, str, Counts, int]] = []
        self._lines: list[int] = []
        self._records: list[bytes] = []
        self._too_long: set[int] = set()
        self._bytes = 0
        self._batches: list[pa.RecordBatch] = []

    def add(self, name: str, source_file_id: str, counts: Counts, found: Records) -> None:
        """Take records of one file; the defective ones are in its counts once the part is finished."""
        self._runs.append((name, source_file_id, counts, len(found.records)))
        self._too_long.update(len(self._records) + place for place in found.too_long)
        self._lines += found.lines
        self._records += found.records
        self._bytes += sum(map(len, found.records))
        if len(self._records) >= _BATCH_RECORDS or self._bytes >= _BATCH_BYTES:
            self._make_batch()

    def finish(self) -> Part | None:
        """Write what is left, and have the part on disk, as a plan will rely on it; None if it has no rows."""
        self._make_batch()
        self._write_row_group()
        if self._writer is None:
            return None
        self._writer.close()
        self._writer = None
        sync(self._file)
        sync(self._file.parent)
        status = self._file.stat()
        statistics = _statistics(pq.read_metadata(self._file))
        if self._file != self._place:
            send(self._file, self._place)
            self._file.unlink()
        return Part(self._place.name, status.st_size, status.st_mtime_ns // 1_000_000, statistics)

    def close(self) -> None:
        """Remove a part that was not finished."""
        if self._writer is not None:
            with suppress(OSError):
                self._writer.close()
            self._file.unlink(missing_ok=True)

    def _make_batch(self) -> None:
        if not self._records:
            return
        count = len(self._records)
        columns = self._parser.columns(self._records, self._too_long)
        names, ids, counts, sizes = zip(*self._runs, strict=True)
        of_run = pa.array(np.repeat(np.arange(len(sizes)), sizes))
        is_defective = columns.defect.is_valid().to_numpy(zero_copy_only=False)
        defective = np.add.reduceat(is_defective, np.cumsum((0, *sizes[:-1])), dtype=np.int64)
        for of_file, number in zip(counts, defective.tolist(), strict=True):
            of_file.defective_records += number
        batch = pa.RecordBatch.from_arrays(
            [
                *columns.declared,
                columns.raw,
                columns.raw_bytes,
                columns.defect,
                columns.unknown_keys,
                pa.array(names, pa.string()).take(of_run),
                pa.array(self._lines, pa.int64()),
                pa.array(ids, pa.string()).take(of_run),
                pa.repeat(pa.scalar(self._load.load_id, pa.int64()), count),
                pa.repeat(pa.scalar(self._load.loaded_at, pa.timestamp("us", "UTC")), count),
            ],
            schema=self._schema,
        )
        self._batches.append(batch)
        self._runs, self._lines, self._records, self._too_long, self._bytes = [], [], [], set(), 0
        if sum(batch.nbytes for batch in self._batches) >= _ROW_GROUP_BYTES:
            self._write_row_group()

    def _write_row_group(self) -> None:
        if not self._batches:
            return
        if self._writer is None:
            self._file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._writer = pq.ParquetWriter(
                self._file,
                self._schema,
                compression="zstd",
                compression_level=1,
                store_schema=False,
                use_dictionary=[name for name in self._schema.names if name not in _ALL_DIFFERENT],
                write_statistics=_WITH_STATISTICS,
            )
        rows = pa.Table.from_batches(self._batches)
        self._writer.write_table(rows, row_group_size=rows.num_rows)
        self._batches = []


def _statistics(metadata: Any) -> str:
    """Give Delta's statistics of a Parquet file, from Parquet's own."""
    least: dict[str, Any] = {}
    most: dict[str, Any] = {}
    nulls: dict[str, int] = {}
    unbounded: set[str] = set()
    for group in range(metadata.num_row_groups):
        for number in range(metadata.num_columns):
            column = metadata.row_group(group).column(number)
            name, found = column.path_in_schema, column.statistics
            if name not in _WITH_STATISTICS or found is None:
                continue
            nulls[name] = nulls.get(name, 0) + found.null_count
            if found.has_min_max:
                least[name] = min(least.get(name, found.min), found.min)
                most[name] = max(most.get(name, found.max), found.max)
            elif found.null_count < column.num_values:  # Parquet keeps no bounds of very long texts
                unbounded.add(name)
    for name in unbounded:
        least.pop(name, None)
        most.pop(name, None)
    content = {"numRecords": metadata.num_rows, "minValues": least, "maxValues": most, "nullCount": nulls}
    return json.dumps(content, default=lambda time: f"{time:%Y-%m-%dT%H:%M:%S.%fZ}")


# Files to records


def _read(source: Source, writer: PartWriter, counts: Counts, longest: int) -> None:
    """Add the records of a file's stretches. Raises ChangedError where one is not what was scanned."""
    with closing(open_raw(source.path)) as opened:
        pieces = RawInput(opened).text_again(source.stretches[0].begin, is_gzip=source.is_gzip)
        text = _Text(pieces)
        for stretch in source.stretches:
            text.hash, records_hash = hashlib.sha256(), hashlib.sha256()
            new = text.take(stretch.end - stretch.begin)
            if not stretch.begin:
                new = _without_mark(new, counts)
            before = counts.records
            blocks = (
                document_blocks(new, counts)
                if source.is_document
                else line_blocks(new, stretch.first_line, longest, counts)
            )
            for lines, texts, dropped_bytes in blocks:
                if not texts:
                    continue
                found = records_of(lines, texts, longest, counts, dropped_bytes)
                records_hash.update(b"\n".join(found.records) + b"\n")
                writer.add(source.name, source.source_file_id, counts, found)
            if text.hash.hexdigest() != stretch.text_id:
                raise ChangedError
            if counts.records > before:
                counts.record_hashes.append((stretch.first_line, records_hash.hexdigest()))


class _Text:
    """Text as it comes, hashed as it is taken."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self.hash = hashlib.sha256()
        self._pieces = pieces
        self._rest = b""

    def take(self, size: int) -> Iterator[bytes]:
        """Yield the next so many bytes, or fewer if there are no more."""
        while size and (piece := self._rest or next(self._pieces, b"")):
            part, self._rest = piece[:size], piece[size:]
            size -= len(part)
            self.hash.update(part)
            yield part


def _without_mark(pieces: Iterator[bytes], counts: Counts) -> Iterator[bytes]:
    start = next(pieces, b"")
    while len(start) < len(BYTE_ORDER_MARK) and (more := next(pieces, b"")):
        start += more
    counts.other_bytes += len(BYTE_ORDER_MARK) if start.startswith(BYTE_ORDER_MARK) else 0
    return chain([start.removeprefix(BYTE_ORDER_MARK)], pieces)
