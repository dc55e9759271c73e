"""Which files are new or changed, what a load reads of them, and the bundles that Spark reads instead."""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from itertools import chain
from typing import TYPE_CHECKING

from ingest.bundles import Bundle
from ingest.documents import is_json_lines
from ingest.reading import BYTE_ORDER_MARK, RawInput, UnreadableError, UnusableError, open_raw, too_large
from ingest.records import DocumentReader, LineReader
from ingest.versions import FileVersion

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from ingest.discovery import Listing, RawFile

_CLOCK_DOUBT = timedelta(seconds=2)
_DOCUMENT_NAME = re.compile(r"\.json(\.gz)?$", re.IGNORECASE)


@dataclass(frozen=True)
class Limits:
    """Bounds of files and loads; all bytes but those on disk are of uncompressed text."""

    settle_seconds: float = 60
    max_record_bytes: int = 16 << 20
    max_document_bytes: int = 1 << 30
    max_file_bytes: int = 64 << 30
    max_load_bytes: int = 4 << 30
    max_load_files: int = 20_000


@dataclass(frozen=True)
class StagedLoad:
    """What was staged: a version for each file number, and the bundles of each feed that has records.

    `unreadable` are (name, sentence); `has_more` says that the load was full before all files were read.
    """

    versions: tuple[FileVersion, ...]
    bundles: dict[str, tuple[Path, ...]]
    unreadable: tuple[tuple[str, str], ...]
    has_more: bool


@dataclass(frozen=True)
class _Load:
    """What all files of one load have in common, and what has been staged of it."""

    load_id: int
    loaded_at: datetime
    limits: Limits
    resume: Callable[[FileVersion], FileVersion | None]
    now: Callable[[], datetime]
    contents: dict[str, list[FileVersion]]
    bundles: dict[str, Bundle]
    versions: list[FileVersion]


def changed_files(
    listing: Listing, known: Mapping[str, FileVersion], *, now: datetime, limits: Limits
) -> tuple[RawFile, ...]:
    """Give the files that must be opened, as listed; `known` is the latest version of each by its name."""
    at_rest_since = now - timedelta(seconds=limits.settle_seconds)

    def is_changed(file: RawFile) -> bool:
        version = known.get(file.name)
        if version is None or version.feed != file.feed.name:
            return True
        if (version.file_bytes, version.modified_at) != (file.size, file.modified_at):
            return True
        if file.modified_at >= version.loaded_at - _CLOCK_DOUBT:
            return True
        if version.status == "failed":
            return _failed_by_other_limits(version, limits)
        return _is_held_back(version) and file.modified_at <= at_rest_since

    return tuple(file for file in listing.files if is_changed(file))


def is_certain(file: RawFile, version: FileVersion | None, read_at: datetime) -> bool:
    """Tell whether a file that was found unchanged at this time needs no other look while its size and time stay."""
    return version is not None and not _is_held_back(version) and file.modified_at < read_at - _CLOCK_DOUBT


def stage(  # noqa: PLR0913 - all of it is the caller's to know, and given by name
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

    `known` is the latest version by name, `contents` the earlier versions with rows by source_file_id;
    `resume` completes a version from the manifest of its load, or gives None. `on_progress` gets the bytes on
    disk after each read. Raises OSError if the bundles cannot be written.
    """
    bundles = {feed: Bundle(folder / feed) for feed in sorted({file.feed.name for file in files})}
    load = _Load(load_id, loaded_at, limits, resume, now, dict(contents), bundles, [])
    unreadable: list[tuple[str, str]] = []
    has_more = False
    staged_bytes = 0
    for file in sorted(files, key=lambda file: file.name):
        if staged_bytes >= limits.max_load_bytes or len(load.versions) >= limits.max_load_files:
            has_more = True
            break
        bundle = bundles[file.feed.name]
        mark = bundle.mark()
        old = known.get(file.name)
        version = None
        try:
            version = _stage_file(
                file, old if old and old.feed == file.feed.name else None, load, partial(on_progress, file)
            )
        except UnreadableError as error:
            unreadable.append((file.name, f"this file cannot be read: {error}"))
        if version is None or not version.is_read:
            bundle.cut_back(mark)
        if version is not None:
            load.versions.append(version)
            staged_bytes += version.bytes
            if version.is_read:
                same = load.contents.get(version.source_file_id, [])
                load.contents[version.source_file_id] = [*same, version]
    parts = {feed: paths for feed, bundle in bundles.items() if (paths := bundle.finish())}
    return StagedLoad(tuple(load.versions), parts, tuple(unreadable), has_more)


def _stage_file(file: RawFile, old: FileVersion | None, load: _Load, tell: Callable[[int], None]) -> FileVersion | None:
    """Read one file into the bundle, for the caller to cut back unless loaded; None if nothing is new."""
    with closing(open_raw(file.path)) as opened:
        raw = RawInput(opened, tell=tell)
        try:
            reader = _read(raw, file, _resumed(old, load), load)
        except UnusableError as error:
            return _failed(file, old, raw, str(error), load)
        is_at_rest = load.now() - raw.last_modified_at() >= timedelta(seconds=load.limits.settle_seconds)
    source_file_id = raw.gzip_id() if raw.gzip_id else reader.text_id
    is_same = old is not None and old.status != "failed" and old.source_file_id == source_file_id
    if old and is_same and not _is_held_back(old):
        return None
    twin = _loaded_before(file, source_file_id, reader.layout or "document", load)
    if twin or is_at_rest or reader.has_complete_tail():
        reader.take_tail()
    held_back_bytes = reader.length - reader.read_to
    if is_same and held_back_bytes:
        return None
    waiting = f"{held_back_bytes} bytes of an unfinished last line wait until the file comes to rest"
    version = FileVersion(
        feed=file.feed.name,
        source_file=file.name,
        source_file_id=source_file_id,
        load_id=load.load_id,
        loaded_at=load.loaded_at,
        status=_status(old, reader, is_same=is_same),
        reason=waiting if held_back_bytes else None,
        bytes=reader.read_to - reader.start,
        lines=reader.lines,
        blank_lines=reader.blank_lines,
        records=reader.records,
        first_line=reader.first_line,
        file_bytes=raw.bytes_read,
        content_id=reader.content_id,
        previous_file_id=old.source_file_id if old else None,
        modified_at=raw.modified_at,
        layout=reader.layout,
        has_bom=reader.has_bom,
        held_back_bytes=held_back_bytes,
        read_to=reader.read_to,
        open_line_at=reader.open_line_at,
        records_id=reader.records_id,
        cut_bytes=reader.cut_bytes,
        other_bytes=reader.other_bytes,
        cr_bytes=reader.cr_bytes,
    )
    return _as_duplicate(version, twin) if twin else version


def _read(raw: RawInput, file: RawFile, old: FileVersion | None, load: _Load) -> LineReader | DocumentReader:
    """Stage the text that comes after what the old version has read, or all if it does not begin with that."""
    is_named_gzip = file.name.lower().endswith(".gz")
    pieces = raw.text(is_named_gzip=is_named_gzip, max_bytes=load.limits.max_file_bytes)
    bundle, number, longest = load.bundles[file.feed.name], len(load.versions), load.limits.max_record_bytes
    if _DOCUMENT_NAME.search(file.name):
        text = _told_apart(pieces, load.limits)
        if isinstance(text, bytearray):
            return DocumentReader(text, bundle, file_number=number, max_record_bytes=longest)
        pieces = text
    reader = LineReader(bundle, file_number=number, max_record_bytes=longest)
    if old:
        rest = reader.pass_over(pieces, old)
        if rest is None:
            return _read(raw, file, None, load)
        pieces = rest
    for piece in pieces:
        reader.feed(piece)
    return reader


def _told_apart(pieces: Iterator[bytes], limits: Limits) -> bytearray | Iterator[bytes]:
    """Give the whole text if it is no JSON Lines, else its pieces."""
    text = bytearray()
    look_at = 0
    for piece in pieces:
        text += piece
        is_over = len(text) > limits.max_document_bytes
        if len(text) >= look_at or is_over:
            # Looking only as often as the text doubles keeps the work in proportion to the text.
            look_at = 2 * len(text)
            if is_json_lines(text, _start(text), is_whole=False):
                return chain([bytes(text)], pieces)
        if is_over:
            raise UnusableError(_too_large_document(limits.max_document_bytes))
    return iter([bytes(text)] if text else []) if is_json_lines(text, _start(text), is_whole=True) else text


def _start(text: bytearray) -> int:
    return len(BYTE_ORDER_MARK) if text.startswith(BYTE_ORDER_MARK) else 0


def _resumed(old: FileVersion | None, load: _Load) -> FileVersion | None:
    """Complete a version that reading can go on from; a document is always read again as a whole."""
    version = load.resume(old) if old and old.status != "failed" else None
    return version if version and version.layout != "document" else None


def _status(old: FileVersion | None, reader: LineReader | DocumentReader, *, is_same: bool) -> str:
    if old is None or old.status == "failed":
        return "loaded"
    is_held_back_document = is_same and reader.layout == "document"
    return "appended" if reader.goes_on or is_held_back_document else "replaced"


def _failed(file: RawFile, old: FileVersion | None, raw: RawInput, reason: str, load: _Load) -> FileVersion | None:
    source_file_id = raw.whole_id()
    if old and old.source_file_id == source_file_id and (old.status != "failed" or old.reason == reason):
        return None
    return FileVersion(
        feed=file.feed.name,
        source_file=file.name,
        source_file_id=source_file_id,
        load_id=load.load_id,
        loaded_at=load.loaded_at,
        status="failed",
        reason=reason,
        bytes=0,
        lines=0,
        blank_lines=0,
        records=0,
        first_line=1,
        file_bytes=raw.bytes_read,
        content_id=None,
        previous_file_id=old.source_file_id if old else None,
        modified_at=raw.modified_at,
    )


def _as_duplicate(version: FileVersion, twin: FileVersion) -> FileVersion:
    return replace(
        version,
        status="duplicate_content",
        reason=f"the same bytes were loaded from {twin.source_file} in load {twin.load_id}",
        bytes=0,
        lines=0,
        blank_lines=0,
        records=0,
        first_line=version.first_line + version.lines,
        records_id=None,
        cut_bytes=0,
        other_bytes=0,
        cr_bytes=0,
    )


def _loaded_before(file: RawFile, source_file_id: str, layout: str, load: _Load) -> FileVersion | None:
    """Find where the same bytes were loaded, whole and read the same way, if repeats of them are skipped."""
    if file.feed.repeated_content == "load":
        return None
    for version in load.contents.get(source_file_id, []):
        is_whole = version.is_read and not _is_held_back(version)
        if is_whole and version.feed == file.feed.name and _is_read_as(layout, file, version, load):
            return version
    return None


def _is_read_as(layout: str, file: RawFile, version: FileVersion, load: _Load) -> bool:
    if not _DOCUMENT_NAME.search(version.source_file):
        return layout == "lines"
    if _DOCUMENT_NAME.search(file.name):
        return True
    complete = version if version.layout else load.resume(version)
    return complete is not None and complete.layout == layout


def _is_held_back(version: FileVersion) -> bool:
    return version.is_read and version.reason is not None


def _failed_by_other_limits(version: FileVersion, limits: Limits) -> bool:
    now = (too_large(limits.max_file_bytes), _too_large_document(limits.max_document_bytes))
    return (version.reason or "").startswith("over the size limit") and version.reason not in now


def _too_large_document(max_bytes: int) -> str:
    return f"over the size limit of {max_bytes:,} bytes for one document: write it as JSON Lines"
