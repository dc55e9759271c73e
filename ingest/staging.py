"""What one load is: which files are new or changed, what of each is read, and the parts that hold its records."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace
from datetime import timedelta
from itertools import chain, islice
from typing import TYPE_CHECKING, TypeVar

from ingest.changes import is_held_back
from ingest.lake import remove_parts
from ingest.parts import PartTask, Source, write_part
from ingest.scanning import DOCUMENT_NAME, ScanTask, scan_all
from ingest.versions import FileVersion, StagedLoad
from ingest.workers import CORES, WORTH_A_PROCESS_BYTES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime

    from ingest.changes import Seen
    from ingest.discovery import RawFile
    from ingest.feeds import Feed
    from ingest.parts import Written
    from ingest.records import Counts
    from ingest.scanning import Scan, Stretch, Text
    from ingest.versions import Load, Part
    from ingest.workers import Run

T = TypeVar("T")
MOST_CHANGES = 3
CLOCK_DOUBT = timedelta(seconds=2)
PART_BYTES = 128 << 20
SCAN_FILES, SCAN_BYTES = 2_000, 1 << 30


@dataclass
class _Decided:
    """What becomes of the files: their versions, still without counts, and where the records of those read are."""

    versions: list[FileVersion] = field(default_factory=list)
    sources: defaultdict[Feed, list[Source]] = field(default_factory=lambda: defaultdict(list))
    contents: dict[str, list[FileVersion]] = field(default_factory=dict)
    unreadable: list[tuple[str, str]] = field(default_factory=list)
    seen: Seen = field(default_factory=dict)
    has_more: bool = False


def stage(  # noqa: PLR0913 - all of it is the caller's to know, and given by name
    files: Sequence[RawFile],
    known: Mapping[str, FileVersion],
    contents: Mapping[str, list[FileVersion]],
    *,
    load: Load,
    resume: Callable[[FileVersion], FileVersion | None],
    now: Callable[[], datetime],
    run: Run,
    on_progress: Callable[[str, str, int, int], None],
) -> StagedLoad:
    """Read what is new in the files, in the order of their names, into parts in the folders of the bronze tables.

    `known` is the latest version by name, `contents` the earlier versions with rows by source_file_id; `resume`
    completes a version from the manifest of its load, or gives None. `on_progress` gets a pass, a feed, the bytes of it
    that are done, and those of all. A file that changes between its two readings is read once more. Raises OSError if
    the parts cannot be written.
    """
    files = sorted(files, key=lambda file: file.name)
    decider = _Decider(files, known, contents, load, resume, now, run, on_progress)
    changes: Counter[str] = Counter()
    while True:
        decided = decider.decide()
        written = list(_write(decided, load, run, on_progress))
        changed = {name for part in written for name in part.changed}
        if not changed:
            break
        remove_parts(load.lake, after=load.load_id - 1)
        changes.update(changed)
        for name in changed:
            decider.forget(name, is_given_up=changes[name] == MOST_CHANGES)
    parts: defaultdict[str, list[Part]] = defaultdict(list)
    for done in written:
        if done.part:
            parts[done.feed].append(done.part)
    return StagedLoad(
        tuple(_counted(decided.versions, written)),
        {feed: tuple(of_feed) for feed, of_feed in parts.items()},
        tuple(decided.unreadable),
        decided.seen,
        decided.has_more,
    )


@dataclass
class _Decider:
    """Scans files, and says what becomes of each in this load; asked again, it scans what it was told to forget."""

    files: Sequence[RawFile]
    known: Mapping[str, FileVersion]
    contents: Mapping[str, list[FileVersion]]
    load: Load
    resume: Callable[[FileVersion], FileVersion | None]
    now: Callable[[], datetime]
    run: Run
    on_progress: Callable[[str, str, int, int], None]

    def __post_init__(self) -> None:
        self._size = sum(file.size for file in self.files)
        self._read_at = self.now()
        self._scans: dict[str, Scan | str] = {}

    def forget(self, name: str, *, is_given_up: bool) -> None:
        """Scan the file again, or take it for unreadable."""
        del self._scans[name]
        if is_given_up:
            self._scans[name] = "it changes while it is read, so the next run tries again"

    def decide(self) -> _Decided:
        """Go through the files until the load is full."""
        limits = self.load.limits
        decided = _Decided(contents=dict(self.contents))
        staged_bytes = 0
        for file, found in self._scanned():
            if staged_bytes >= limits.max_load_bytes or len(decided.versions) >= limits.max_load_files:
                decided.has_more = True
                break
            if isinstance(found, str):
                decided.unreadable.append((file.name, f"this file cannot be read: {found}"))
                continue
            version = self._decide_one(file, self._old(file), found, decided)
            if version is not None:
                decided.versions.append(version)
                staged_bytes += version.bytes
                if version.is_read:
                    same = decided.contents.get(version.source_file_id, [])
                    decided.contents[version.source_file_id] = [*same, version]
            else:
                del self._scans[file.name]  # there may be many that were but touched
            newest = version or self.known[file.name]
            if found.changed_at is None or self._read_at - found.changed_at > CLOCK_DOUBT:
                decided.seen[file.name] = (newest.load_id, found.stamp)
        return decided

    def _scanned(self) -> Iterator[tuple[RawFile, Scan | str]]:
        """Yield the files with what they were found to be, some scanned at a time."""
        files = iter(self.files)
        while some := list(islice(files, SCAN_FILES)):
            tasks = [
                ScanTask(file, self._resumed(self._old(file)), self.load.limits)
                for file in some
                if file.name not in self._scans
            ]
            size = sum(task.file.size for task in tasks)
            chunks = list(_chunks(tasks, lambda task: task.file.size, max(SCAN_BYTES // 64, size // (4 * CORES))))
            for chunk, scans in zip(chunks, self.run(scan_all, chunks, size), strict=True):
                for task, scan in zip(chunk, scans, strict=True):
                    self._scans[task.file.name] = scan
                    self.on_progress("scanning", task.file.feed.name, task.file.size, self._size)
            yield from ((file, self._scans[file.name]) for file in some)

    def _old(self, file: RawFile) -> FileVersion | None:
        old = self.known.get(file.name)
        return old if old and old.feed == file.feed.name else None

    def _resumed(self, old: FileVersion | None) -> FileVersion | None:
        """Complete a version that reading can go on from; a document is always read again as a whole."""
        version = self.resume(old) if old and old.status != "failed" else None
        return version if version and version.layout != "document" else None

    def _decide_one(self, file: RawFile, old: FileVersion | None, found: Scan, decided: _Decided) -> FileVersion | None:
        """Say what becomes of one file, None if nothing of it is new, and note what is to be read of it."""
        if found.text is None:
            return self._failed(file, old, found)
        text, limits = found.text, self.load.limits
        is_same = old is not None and old.status != "failed" and old.source_file_id == found.source_file_id
        if old and is_same and not is_held_back(old):
            return None
        twin = self._loaded_before(file, found.source_file_id, text.layout or "document", decided)
        is_at_rest = self.now() - found.rested_since >= timedelta(seconds=limits.settle_seconds)
        tail = text.tail if twin or is_at_rest or text.is_tail_complete else None
        if is_same and text.tail and not tail:
            return None
        stretches = (*text.stretches, *((tail,) if tail else ()))
        version = _read(self._unread(file, old, found), old, text, stretches, is_same=is_same)
        if twin:
            return _as_duplicate(version, twin)
        if stretches:
            is_document = version.layout == "document"
            number = len(decided.versions)
            source = Source(number, file.path, file.name, found.source_file_id, found.is_gzip, is_document, stretches)
            decided.sources[file.feed].append(source)
        return version

    def _failed(self, file: RawFile, old: FileVersion | None, found: Scan) -> FileVersion | None:
        is_same = old is not None and old.source_file_id == found.source_file_id
        if old and is_same and (old.status != "failed" or old.reason == found.failure):
            return None
        return self._unread(file, old, found)

    def _unread(self, file: RawFile, old: FileVersion | None, found: Scan) -> FileVersion:
        """Give the version of a file of which nothing is read."""
        return FileVersion(
            feed=file.feed.name,
            source_file=file.name,
            source_file_id=found.source_file_id,
            load_id=self.load.load_id,
            loaded_at=self.load.loaded_at,
            status="failed",
            reason=found.failure,
            bytes=0,
            lines=0,
            blank_lines=0,
            records=0,
            defective_records=0,
            first_line=1,
            file_bytes=found.file_bytes,
            content_id=None,
            previous_file_id=old.source_file_id if old else None,
            modified_at=found.modified_at,
        )

    def _loaded_before(self, file: RawFile, source_file_id: str, layout: str, decided: _Decided) -> FileVersion | None:
        """Find where the same bytes were loaded, whole and read the same way, if repeats of them are skipped."""
        if file.feed.repeated_content == "load":
            return None
        for version in decided.contents.get(source_file_id, []):
            is_whole = version.is_read and not is_held_back(version)
            if is_whole and version.feed == file.feed.name and self._is_read_as(layout, file, version):
                return version
        return None

    def _is_read_as(self, layout: str, file: RawFile, version: FileVersion) -> bool:
        if not DOCUMENT_NAME.search(version.source_file):
            return layout == "lines"
        if DOCUMENT_NAME.search(file.name):
            return True
        complete = version if version.layout else self.resume(version)
        return complete is not None and complete.layout == layout


def _read(
    unread: FileVersion, old: FileVersion | None, text: Text, stretches: Sequence[Stretch], *, is_same: bool
) -> FileVersion:
    """Complete the version of a file of which these stretches are read, still without counts."""
    is_whole = not text.tail or text.tail in stretches
    held_back_bytes = 0 if is_whole else text.length - text.read_to
    waiting = f"{held_back_bytes} bytes of an unfinished last line wait until the file comes to rest"
    layout = text.layout or ("document" if is_whole else None)
    open_line_at = text.tail.begin if text.tail and is_whole else text.open_line_at
    status = "loaded"
    if old and old.status != "failed":
        status = "appended" if text.goes_on or (is_same and layout == "document") else "replaced"
    return replace(
        unread,
        status=status,
        reason=waiting if held_back_bytes else None,
        bytes=sum(stretch.end - stretch.begin for stretch in stretches) + text.line_end_bytes,
        lines=sum(stretch.lines for stretch in stretches),
        first_line=stretches[0].first_line if stretches else text.next_line,
        content_id=text.text_id if is_whole else text.content_id,
        layout=layout,
        has_bom=text.has_bom,
        held_back_bytes=held_back_bytes,
        read_to=text.length if is_whole else text.read_to,
        open_line_at=None if layout == "document" else open_line_at,
        other_bytes=text.line_end_bytes,
    )


def _write(
    decided: _Decided, load: Load, run: Run, on_progress: Callable[[str, str, int, int], None]
) -> Iterator[Written]:
    """Write the parts of a load, as many as its text needs or as there are cores."""
    size = sum(source.bytes for sources in decided.sources.values() for source in sources)
    part_bytes = min(PART_BYTES, max(WORTH_A_PROCESS_BYTES, -(-size // CORES)))
    tasks = [
        PartTask(load, feed, tuple(chunk))
        for feed, sources in decided.sources.items()
        for chunk in _chunks(list(chain.from_iterable(map(_pieces, sources))), lambda piece: piece.bytes, part_bytes)
    ]
    for task, written in zip(tasks, run(write_part, tasks, size), strict=True):
        on_progress("reading", task.feed.name, sum(source.bytes for source in task.sources), size)
        yield written


def _pieces(source: Source) -> list[Source]:
    """Cut a source into what parts can share: a gzip is read from its start, so it is one piece."""
    if source.is_gzip:
        return [source]
    return [replace(source, stretches=(stretch,)) for stretch in source.stretches]


def _counted(versions: Sequence[FileVersion], written: Sequence[Written]) -> Iterator[FileVersion]:
    """Put the counts of all parts into the versions."""
    counts: defaultdict[int, list[Counts]] = defaultdict(list)
    for part in written:
        for number, of_part in part.counts.items():
            counts[number].append(of_part)
    for number, version in enumerate(versions):
        yield with_counts(version, counts[number])


def with_counts(version: FileVersion, counts: Sequence[Counts]) -> FileVersion:
    """Complete a version with what was counted of its records, in all parts that have some."""
    records = sum(part.records for part in counts)
    return replace(
        version,
        blank_lines=version.lines - records if version.is_read else 0,
        records=records,
        defective_records=sum(part.defective_records for part in counts),
        cut_bytes=sum(part.cut_bytes for part in counts),
        other_bytes=version.other_bytes + sum(part.other_bytes for part in counts),
        record_hashes=tuple(sorted(pair for part in counts for pair in part.record_hashes)),
    )


def _chunks(things: Sequence[T], size_of: Callable[[T], int], most_bytes: int) -> Iterator[list[T]]:
    """Share things out, in their order, in chunks that end once they have so many bytes."""
    chunk: list[T] = []
    size = 0
    for thing in things:
        chunk.append(thing)
        size += size_of(thing)
        if size >= most_bytes:
            yield chunk
            chunk, size = [], 0
    if chunk:
        yield chunk


def _as_duplicate(version: FileVersion, twin: FileVersion) -> FileVersion:
    return replace(
        version,
        status="duplicate_content",
        reason=f"the same bytes were loaded from {twin.source_file} in load {twin.load_id}",
        bytes=0,
        lines=0,
        first_line=version.first_line + version.lines,
        other_bytes=0,
    )
