"""The first reading of a file: what it is, what it is called by its bytes, and which stretches of it are new.

A file is read twice. This pass hashes it and cuts its text at line ends, so that every decision about it is made before
a row is written. The second (`parts`) makes the rows, and compares each stretch to the hash that this one has taken.
"""

from __future__ import annotations

import hashlib
import re
from contextlib import closing
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING, Literal

from ingest.documents import NotJsonError, document_records, is_json_lines, is_json_value
from ingest.reading import BYTE_ORDER_MARK, RawInput, UnreadableError, UnusableError, open_raw

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from datetime import datetime

    from ingest.discovery import RawFile
    from ingest.versions import FileVersion

STRETCH_BYTES = 32 << 20
DOCUMENT_NAME = re.compile(r"\.json(\.gz)?$", re.IGNORECASE)


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
class Stretch:
    """A piece of a file's text, from the offset `begin` on and before `end`, with its first line and its SHA-256."""

    begin: int
    end: int
    first_line: int
    lines: int
    text_id: str


@dataclass(frozen=True)
class Text:
    """What is new in a text.

    The whole lines are in `stretches`, one after the other; if they alone are read, reading ends at `read_to`, before
    the line `next_line`, and the text up to there has the SHA-256 `content_id`. What comes after them is the `tail`, an
    unfinished line or document. The `line_end_bytes` before all that end a line that an earlier load has read; a line
    `open_line_at` an offset was read then without its end, which has still not come.
    """

    layout: Literal["lines", "document"] | None
    length: int
    text_id: str
    stretches: tuple[Stretch, ...]
    read_to: int
    next_line: int
    content_id: str
    tail: Stretch | None = None
    is_tail_complete: bool = False
    goes_on: bool = False
    has_bom: bool = False
    open_line_at: int | None = None
    line_end_bytes: int = 0


@dataclass(frozen=True)
class Scan:
    """What one file was when it was read; `text` is None if it is unusable, for the `failure` that it has then.

    `rested_since` is when it was last modified, before or during the reading; `changed_at` is when a change last showed
    in its `stamp`, None where every change does.
    """

    source_file_id: str
    file_bytes: int
    modified_at: datetime
    rested_since: datetime
    changed_at: datetime | None
    stamp: str
    is_gzip: bool
    text: Text | None = None
    failure: str | None = None


@dataclass(frozen=True)
class ScanTask:
    """A file to read, and the version of it to go on from, if there is one."""

    file: RawFile
    old: FileVersion | None
    limits: Limits


def scan_all(tasks: Sequence[ScanTask]) -> list[Scan | str]:
    """Read these files one after the other."""
    return [scan(task) for task in tasks]


def scan(task: ScanTask) -> Scan | str:
    """Read one file from its start to its end; give what the system says if that is not possible."""
    try:
        with closing(open_raw(task.file.path)) as opened:
            raw = RawInput(opened)
            text: Text | None = None
            failure = None
            try:
                text = _scan_text(raw, task, task.old)
            except UnusableError as error:
                failure = str(error)
            return Scan(
                source_file_id=raw.whole_id() if text is None else raw.gzip_id() if raw.gzip_id else text.text_id,
                file_bytes=raw.bytes_read,
                modified_at=raw.modified_at,
                rested_since=raw.last_modified_at(),
                changed_at=opened.changed_at,
                stamp=opened.stamp,
                is_gzip=raw.gzip_id is not None,
                text=text,
                failure=failure,
            )
    except UnreadableError as error:
        return str(error)


def _scan_text(raw: RawInput, task: ScanTask, old: FileVersion | None) -> Text:
    """Read the text after what the old version has read, or all of it if it does not begin with that."""
    limits = task.limits
    is_named_gzip = task.file.name.lower().endswith(".gz")
    pieces = raw.text(is_named_gzip=is_named_gzip, max_bytes=limits.max_file_bytes)
    pieces = chain([next(pieces, b"")], pieces)
    if DOCUMENT_NAME.search(task.file.name):
        text = _told_apart(pieces, limits.max_document_bytes)
        if isinstance(text, bytearray):
            return _scan_document(text)
        pieces = text
    # A gzip is read from its start each time, so it is one stretch.
    stretch_bytes = float("inf") if raw.gzip_id else STRETCH_BYTES
    lines = _LineScan(longest_tail=limits.max_record_bytes, stretch_bytes=stretch_bytes)
    if old and not lines.pass_over(pieces, old):
        return _scan_text(raw, task, None)
    return lines.read(pieces)


def _told_apart(pieces: Iterator[bytes], max_bytes: int) -> bytearray | Iterator[bytes]:
    """Give the whole text if it is no JSON Lines, else its pieces."""
    text = bytearray()
    look_at = 0
    for piece in pieces:
        text += piece
        is_over = len(text) > max_bytes
        if len(text) >= look_at or is_over:
            # Looking only as often as the text doubles keeps the work in proportion to the text.
            look_at = 2 * len(text)
            if is_json_lines(text, _start(text), is_whole=False):
                return chain([bytes(text)], pieces)
        if is_over:
            raise UnusableError(too_large_document(max_bytes))
    return iter([bytes(text)] if text else []) if is_json_lines(text, _start(text), is_whole=True) else text


def _start(text: bytearray) -> int:
    return len(BYTE_ORDER_MARK) if text.startswith(BYTE_ORDER_MARK) else 0


def too_large_document(max_bytes: int) -> str:
    return f"over the size limit of {max_bytes:,} bytes for one document: write it as JSON Lines"


def _scan_document(text: bytearray) -> Text:
    """Count the records of a document; a text that is none is one record, and may be unfinished without a line end."""
    text_id = hashlib.sha256(text).hexdigest()
    try:
        records, is_whole = len(document_records(text, _start(text))), True
    except NotJsonError:
        records, is_whole = 1, text.endswith(b"\n")
    whole = Stretch(0, len(text), 1, records, text_id)
    return Text(
        layout="document" if is_whole else None,
        length=len(text),
        text_id=text_id,
        stretches=(whole,) if is_whole else (),
        read_to=len(text) if is_whole else 0,
        next_line=records + 1 if is_whole else 1,
        content_id=text_id if is_whole else hashlib.sha256().hexdigest(),
        tail=None if is_whole else whole,
        has_bom=text.startswith(BYTE_ORDER_MARK),
    )


class _LineScan:
    """Counts and hashes lines piece by piece, with no more in memory than one piece and the longest record allowed."""

    def __init__(self, *, longest_tail: int, stretch_bytes: float) -> None:
        """Begin at the start of a text; a stretch ends with the first line after so many bytes."""
        self._longest_tail, self._stretch_bytes = longest_tail, stretch_bytes
        self._hash = hashlib.sha256()
        self._length = self._begin = self._lines = self._line_end_bytes = 0
        self._first_line = 1
        self._stretch_hash: hashlib._Hash | None = None  # the first stretch of a text has the hash of the text
        self._stretches: list[Stretch] = []
        self._goes_on = self._has_bom = False
        self._open_line_at: int | None = None
        self._rest = b""
        self._forget_tail()
        self._mark()

    def pass_over(self, pieces: Iterator[bytes], old: FileVersion) -> bool:
        """Pass over the text that an earlier load has read; tell whether it is still the same.

        A last line that was read then without its line end is new again, under its old number, if more than that has
        come.
        """
        self._goes_on = True
        if not old.read_to:
            return True
        self._rest = next(pieces, b"")
        if self._rest.startswith(BYTE_ORDER_MARK) != old.has_bom:
            return False
        self._has_bom = old.has_bom
        line_at = old.read_to if old.open_line_at is None else old.open_line_at
        for _ in self._up_to(line_at, pieces):
            pass
        self._begin_stretch(old.first_line + old.lines - (old.open_line_at is not None))
        for part in self._up_to(old.read_to, pieces):
            self._hold(part)
        if self._length != old.read_to or self._hash.hexdigest() != old.content_id:
            return False
        self._mark()
        self._open_line_at = old.open_line_at
        if old.open_line_at is not None:
            self._pass_over_line_end(pieces)
        return True

    def read(self, pieces: Iterator[bytes]) -> Text:
        """Read on to the end of the text."""
        for piece in chain([self._rest], pieces):
            self._feed(piece)
        if self._lines or (self._has_bom and not self._begin):
            self._end_stretch()
        tail = None
        if self._tail_bytes:
            tail_id = self._tail_hash.hexdigest()
            tail = Stretch(self._length - self._tail_bytes, self._length, self._first_line, 1, tail_id)
        is_held = len(self._tail) == self._tail_bytes and not self._tail.endswith(b"\r")
        return Text(
            layout="lines",
            length=self._length,
            text_id=self._hash.hexdigest(),
            stretches=tuple(self._stretches),
            read_to=self._read_to,
            next_line=self._first_line + (self._open_line_at is not None),
            content_id=self._content_id,
            tail=tail,
            is_tail_complete=is_held and is_json_value(bytes(self._tail)),
            goes_on=self._goes_on,
            has_bom=self._has_bom,
            open_line_at=self._open_line_at,
            line_end_bytes=self._line_end_bytes,
        )

    def _feed(self, piece: bytes) -> None:
        if not self._length and piece.startswith(BYTE_ORDER_MARK):
            self._has_bom = True
            self._take(BYTE_ORDER_MARK)
            self._mark()
            piece = piece[len(BYTE_ORDER_MARK) :]
        end = piece.rfind(b"\n") + 1
        if end:
            self._take(piece[:end])
            self._lines += piece.count(b"\n")
            self._open_line_at = None
            self._forget_tail()
            self._mark()
            if self._length - self._begin >= self._stretch_bytes:
                self._end_stretch()
        self._take(piece[end:])
        self._hold(piece[end:])

    def _pass_over_line_end(self, pieces: Iterator[bytes]) -> None:
        """End the open line if its line end has come, and forget it if nothing else has."""
        while len(self._rest) < len(b"\r\n") and (more := next(pieces, b"")):
            self._rest += more
        self._line_end_bytes = 2 if self._rest.startswith(b"\r\n") else 1 if self._rest.startswith(b"\n") else 0
        if self._line_end_bytes or not self._rest:
            self._forget_tail()
        if self._line_end_bytes:
            self._take(self._rest[: self._line_end_bytes])
            self._rest = self._rest[self._line_end_bytes :]
            self._open_line_at = None
            self._begin_stretch(self._first_line + 1)
            self._mark()

    def _up_to(self, offset: int, pieces: Iterator[bytes]) -> Iterator[bytes]:
        """Take the text up to the offset, or to its end if it is shorter."""
        while self._length < offset and (piece := self._rest or next(pieces, b"")):
            wanted = offset - self._length
            part, self._rest = piece[:wanted], piece[wanted:]
            self._take(part)
            yield part

    def _take(self, part: bytes) -> None:
        self._length += len(part)
        self._hash.update(part)
        if self._stretch_hash:
            self._stretch_hash.update(part)

    def _mark(self) -> None:
        """Keep what the text up to here is called."""
        self._read_to = self._length
        self._content_id = self._hash.hexdigest()
        self._stretch_id = self._stretch_hash.hexdigest() if self._stretch_hash else self._content_id

    def _begin_stretch(self, first_line: int) -> None:
        self._begin, self._first_line, self._lines = self._length, first_line, 0
        self._stretch_hash = hashlib.sha256()

    def _end_stretch(self) -> None:
        """End the stretch with the last whole line; the next one begins there."""
        stretch = Stretch(self._begin, self._read_to, self._first_line, self._lines, self._stretch_id)
        self._stretches.append(stretch)
        self._begin_stretch(self._first_line + self._lines)

    def _hold(self, part: bytes) -> None:
        """Keep a part of the last line, which has no end yet, unless it is too long for that."""
        self._tail_bytes += len(part)
        self._tail_hash.update(part)
        if self._tail_bytes <= self._longest_tail:
            self._tail += part

    def _forget_tail(self) -> None:
        self._tail, self._tail_bytes, self._tail_hash = bytearray(), 0, hashlib.sha256()
