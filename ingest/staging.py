"""Which files are new or changed, what each load reads of them, and the bundles that Spark reads in their place."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from itertools import chain
from typing import TYPE_CHECKING, Literal

from ingest.documents import is_json_lines
from ingest.reading import (
    BYTE_ORDER_MARK,
    RawInput,
    UnreadableError,
    UnusableError,
    document_too_large,
    too_large,
)
from ingest.records import Bundle, DocumentReader, LineReader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from ingest.discovery import Listing, RawFile

_READ = ("loaded", "appended", "replaced")
_CLOCK_DOUBT = timedelta(seconds=2)


@dataclass(frozen=True)
class FileVersion:
    """What the lake knows of one file after one load: a row of `bronze.source_files`, then what the manifest adds.

    `bytes` to `records` count what the load read (uncompressed), beginning in line `first_line`; `file_bytes` is the
    file on disk. The line after those read is always `first_line + lines`, also where nothing was read. A `reason`
    on a version that was loaded, appended or replaced says that its last line is held back.

    `read_to` is the offset in the uncompressed text, byte order mark included, where reading ended; `open_line_at`
    where a last line begins that was read without its line end; `layout` is None where nothing was decided.
    """

    feed: str
    source_file: str
    source_file_id: str
    load_id: int
    loaded_at: datetime
    status: str
    reason: str | None
    bytes: int
    lines: int
    blank_lines: int
    records: int
    first_line: int
    file_bytes: int
    content_id: str | None
    previous_file_id: str | None
    modified_at: datetime
    layout: Literal["lines", "document"] | None = None
    has_bom: bool = False
    held_back_bytes: int = 0
    read_to: int = 0
    open_line_at: int | None = None


@dataclass(frozen=True)
class Limits:
    """Bounds of one load; bytes of files, documents and loads are those of the uncompressed text."""

    settle_seconds: float = 60
    max_record_bytes: int = 16 << 20
    max_document_bytes: int = 1 << 30
    max_file_bytes: int = 64 << 30
    max_load_bytes: int = 4 << 30
    max_load_files: int = 20_000


@dataclass(frozen=True)
class StagedLoad:
    """What was staged: versions by file number, the bundles of each feed that has records, and what is left.

    `unreadable` are (name, sentence); `has_more` tells that the load was full before the files were.
    """

    versions: tuple[FileVersion, ...]
    bundles: dict[str, tuple[Path, ...]]
    unreadable: tuple[tuple[str, str], ...]
    has_more: bool


@dataclass(frozen=True)
class _Load:
    """What all files of one load have in common."""

    load_id: int
    loaded_at: datetime
    limits: Limits
    contents: dict[str, list[FileVersion]]
    resume: Callable[[FileVersion], FileVersion | None]
    now: Callable[[], datetime]


@dataclass(frozen=True)
class _Open:
    """One file of a load while it is read: where its records go, and its version before, if that was of this feed."""

    file: RawFile
    number: int
    bundle: Bundle
    old: FileVersion | None


def changed_files(
    listing: Listing, known: Mapping[str, FileVersion], *, now: datetime, limits: Limits
) -> tuple[RawFile, ...]:
    """Give the files that must be opened, in the order of the listing; `known` is the latest version by name."""
    at_rest = now - timedelta(seconds=limits.settle_seconds)
    size_reasons = _size_reasons(limits)

    def is_changed(file: RawFile) -> bool:
        version = known.get(file.name)
        if version is None or (version.file_bytes, version.modified_at) != (file.size, file.modified_at):
            return True
        if version.feed != file.feed.name or file.modified_at >= version.loaded_at - _CLOCK_DOUBT:
            return True
        if version.status == "failed":
            return _is_size_reason(version.reason) and version.reason not in size_reasons
        return _is_held_back(version) and file.modified_at <= at_rest

    return tuple(file for file in listing.files if is_changed(file))


def stage(
    files: Sequence[RawFile],
    known: Mapping[str, FileVersion],
    contents: Mapping[str, list[FileVersion]],
    *,
    load_id: int,
    loaded_at: datetime,
    folder: Path,
    limits: Limits,
    resume: Callable[[FileVersion], FileVersion | None],
    now: Callable[[], datetime],
    on_progress: Callable[[RawFile, int], None],
) -> StagedLoad:
    """Read what is new in the files, in the order of their names, into bundles under `folder/<feed>/`.

    `known` is the latest version by name, `contents` the earlier versions with rows by source_file_id; `resume`
    completes a version from its load's manifest, or gives None. `on_progress` gets bytes on disk as they are read.
    Raises OSError only where the bundles cannot be written.
    """
    load = _Load(load_id, loaded_at, limits, dict(contents), resume, now)
    versions: list[FileVersion] = []
    bundles: dict[str, Bundle] = {}
    unreadable: list[tuple[str, str]] = []
    has_more = False
    staged_bytes = 0
    for file in sorted(files, key=lambda file: file.name):
        if staged_bytes >= limits.max_load_bytes or len(versions) >= limits.max_load_files:
            has_more = True
            break
        bundle = bundles.setdefault(file.feed.name, Bundle(folder / file.feed.name))
        old = known.get(file.name)
        old = old if old is not None and old.feed == file.feed.name else None
        mark = bundle.mark()
        try:
            version = _stage_file(load, _Open(file, len(versions), bundle, old), on_progress)
        except UnreadableError as error:
            bundle.cut_back(mark)
            unreadable.append((file.name, str(error)))
            continue
        if version is None:
            continue
        versions.append(version)
        staged_bytes += version.bytes
        if version.status in _READ:
            load.contents[version.source_file_id] = [*load.contents.get(version.source_file_id, ()), version]
    parts = {feed: bundle.close() for feed, bundle in bundles.items()}
    return StagedLoad(tuple(versions), {f: p for f, p in parts.items() if p}, tuple(unreadable), has_more)


def _stage_file(load: _Load, file: _Open, on_progress: Callable[[RawFile, int], None]) -> FileVersion | None:
    """Stage what is new in one file and give its version, or None if there is nothing new."""
    mark = file.bundle.mark()
    with closing(RawInput(file.file, tell=lambda read: on_progress(file.file, read))) as source:
        try:
            reader, appends = _read_text(load, file, source)
        except UnusableError as error:
            file.bundle.cut_back(mark)
            return _failed(load, file, source, str(error))
        return _version(load, file, source, reader, appends=appends, mark=mark)


def _read_text(load: _Load, file: _Open, source: RawInput) -> tuple[LineReader | DocumentReader, bool]:
    """Read the text up to its last line end; tell whether it goes on from the version before."""
    if file.old is not None and file.old.status != "failed":
        old = load.resume(file.old)
        if old is not None and old.layout == "lines":
            pieces = _text(load, file, source)
            reader = _line_reader(load, file)
            rest = None if isinstance(pieces, bytearray) else reader.pass_over(pieces, old)
            if rest is not None:
                for piece in rest:
                    reader.feed(piece)
                return reader, True
    pieces = _text(load, file, source)
    if isinstance(pieces, bytearray):
        longest = load.limits.max_record_bytes
        return DocumentReader(pieces, file.bundle, file_number=file.number, max_record_bytes=longest), False
    reader = _line_reader(load, file)
    for piece in pieces:
        reader.feed(piece)
    return reader, False


def _line_reader(load: _Load, file: _Open) -> LineReader:
    return LineReader(file.bundle, file_number=file.number, max_record_bytes=load.limits.max_record_bytes)


def _text(load: _Load, file: _Open, source: RawInput) -> Iterator[bytes] | bytearray:
    """Give the text from its start: in pieces if it is lines, as a whole if it is a document."""
    pieces = source.text(max_bytes=load.limits.max_file_bytes)
    if _is_always_lines(file.file.name):
        return pieces
    text = bytearray()
    is_lines: bool | None = None
    for piece in pieces:
        text += piece
        if is_lines is None and b"\n" in piece:
            is_lines = is_json_lines(_without_mark(text), is_whole=False)
        if is_lines:
            return chain([bytes(text)], pieces)
        if len(text) > load.limits.max_document_bytes:
            raise UnusableError(document_too_large(load.limits.max_document_bytes))
    return iter([bytes(text)] if text else []) if is_json_lines(_without_mark(text), is_whole=True) else text


def _version(
    load: _Load,
    file: _Open,
    source: RawInput,
    reader: LineReader | DocumentReader,
    *,
    appends: bool,
    mark: tuple[int, int],
) -> FileVersion | None:
    """Give the version of a file that was read to its last line end, or None if there is nothing new in it."""
    old = file.old
    file_id = source.gzip_hash.hexdigest() if source.gzip_hash else reader.text_id
    is_same = old is not None and old.source_file_id == file_id and old.status != "failed"
    if is_same and not _is_held_back(old):
        file.bundle.cut_back(mark)
        return None
    repeated = None if is_same else _repeated(load, file, reader.layout or "document", file_id)
    is_at_rest = load.now() - source.newest_modification() >= timedelta(seconds=load.limits.settle_seconds)
    if repeated is not None or is_at_rest or reader.has_complete_tail():
        reader.take_tail()
    if is_same and appends and not reader.lines:
        return None
    held_back = reader.length - reader.read_to
    version = FileVersion(
        feed=file.file.feed.name,
        source_file=file.file.name,
        source_file_id=file_id,
        load_id=load.load_id,
        loaded_at=load.loaded_at,
        status="appended" if appends else "replaced" if old is not None and old.status != "failed" else "loaded",
        reason=f"{held_back:,} bytes of an unfinished end wait until the file comes to rest" if held_back else None,
        bytes=reader.read_to - reader.start,
        lines=reader.lines,
        blank_lines=reader.blank_lines,
        records=reader.records,
        first_line=reader.first_line,
        file_bytes=source.bytes_read,
        content_id=reader.content_id,
        previous_file_id=None if old is None else old.source_file_id,
        modified_at=source.modified_at,
        layout=reader.layout,
        has_bom=reader.has_bom,
        held_back_bytes=held_back,
        read_to=reader.read_to,
        open_line_at=reader.open_line_at,
    )
    if repeated is None:
        return version
    file.bundle.cut_back(mark)
    return replace(
        version,
        status="duplicate_content",
        reason=f"the same content as {repeated.source_file}, which load {repeated.load_id} read",
        bytes=0,
        lines=0,
        blank_lines=0,
        records=0,
        first_line=reader.first_line + reader.lines,
    )


def _failed(load: _Load, file: _Open, source: RawInput, reason: str) -> FileVersion | None:
    file_id = source.whole_digest()
    old = file.old
    if old is not None and (old.status, old.source_file_id, old.reason) == ("failed", file_id, reason):
        return None
    return FileVersion(
        feed=file.file.feed.name,
        source_file=file.file.name,
        source_file_id=file_id,
        load_id=load.load_id,
        loaded_at=load.loaded_at,
        status="failed",
        reason=reason,
        bytes=0,
        lines=0,
        blank_lines=0,
        records=0,
        first_line=1,
        file_bytes=source.bytes_read,
        content_id=None,
        previous_file_id=None if old is None else old.source_file_id,
        modified_at=source.modified_at,
    )


def _repeated(load: _Load, file: _Open, layout: str, file_id: str) -> FileVersion | None:
    """Find the version that brought the same bytes before, whole and read the same way, where that is to be skipped."""
    if file.file.feed.repeated_content == "load":
        return None
    for earlier in load.contents.get(file_id, ()):
        if not _is_held_back(earlier) and earlier.feed == file.file.feed.name and _layout(load, earlier) == layout:
            return earlier
    return None


def _layout(load: _Load, version: FileVersion) -> str | None:
    if _is_always_lines(version.source_file):
        return "lines"
    complete = version if version.layout else load.resume(version)
    return complete.layout if complete else None


def _is_always_lines(name: str) -> bool:
    return not name.lower().removesuffix(".gz").endswith(".json")


def _is_held_back(version: FileVersion | None) -> bool:
    return version is not None and version.status in _READ and version.reason is not None


def _without_mark(text: bytearray) -> bytearray:
    return text[len(BYTE_ORDER_MARK) :] if text.startswith(BYTE_ORDER_MARK) else text


def _size_reasons(limits: Limits) -> tuple[str, ...]:
    return (too_large(limits.max_file_bytes), document_too_large(limits.max_document_bytes))


def _is_size_reason(reason: str | None) -> bool:
    return reason is not None and reason.startswith("over the size limit")
