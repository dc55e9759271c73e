"""An open raw file as a stream of text: its bytes up to the size it had, gunzipped if need be."""

from __future__ import annotations

import hashlib
import os
import re
import stat
import zlib
from datetime import UTC, datetime
from itertools import chain
from typing import TYPE_CHECKING

from ingest.discovery import modification_time, stamp
from ingest.places import open_file

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BYTE_ORDER_MARK = b"\xef\xbb\xbf"
# By its mark, or by the zeros that the first two ASCII characters of such a text have beside them.
_WIDE_TEXT = re.compile(rb"\xff\xfe|\xfe\xff|\0\0\xfe\xff|A\0A\0|\0A\0A|A\0\0\0|\0\0\0A".replace(b"A", rb"[\x01-\x7f]"))
_GZIP_MARK = b"\x1f\x8b"
_PIECE_BYTES = 1 << 20
_GZIP_BYTES = 1 << 14


class UnreadableError(Exception):
    """The file cannot be opened or read; the message is what the system says."""


class UnusableError(Exception):
    """The file fails as a whole; the message says why and what to do."""


class DiskFile:
    """An open file on a disk, with its `size` in bytes and its times as it was opened.

    Its `stamp` tells it from what it was before and will be, if enough time has gone by since it was `changed_at`.
    """

    def __init__(self, path: bytes) -> None:
        """Raises UnreadableError if it cannot be opened, or is no regular file any more."""
        try:
            self._descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise UnreadableError(error.strerror) from error
        status = os.fstat(self._descriptor)
        if not stat.S_ISREG(status.st_mode):
            self.close()
            message = "it is no longer a regular file"
            raise UnreadableError(message)
        self.size = status.st_size
        self.modified_at = modification_time(status)
        self.stamp = stamp(status)
        self.changed_at: datetime | None = datetime.fromtimestamp(status.st_ctime, UTC)

    def read_at(self, offset: int, size: int) -> bytes:
        return os.pread(self._descriptor, size, offset)

    def modified_now_at(self) -> datetime:
        return modification_time(os.fstat(self._descriptor))

    def close(self) -> None:
        os.close(self._descriptor)


class StoredObject:
    """An object of a store as a DiskFile; one that is put in its place meanwhile is never read for it."""

    changed_at: datetime | None = None

    def __init__(self, path: bytes) -> None:
        """Raises UnreadableError if it is not there any more, or the store does not give it."""
        try:
            self._file = open_file(path)
        except OSError as error:
            raise UnreadableError(error.strerror or str(error)) from error
        self.size: int = self._file.size
        self.modified_at: datetime = self._file.details["LastModified"].replace(microsecond=0)
        self.stamp: str = self._file.details["ETag"]

    def read_at(self, offset: int, size: int) -> bytes:
        self._file.seek(offset)
        content: bytes = self._file.read(size)
        return content

    def modified_now_at(self) -> datetime:
        """Give the time of the object that was opened, for it cannot change."""
        return self.modified_at

    def close(self) -> None:
        self._file.close()


def open_raw(path: bytes) -> DiskFile | StoredObject:
    """Open a raw file by the path that its listing has."""
    return DiskFile(path) if path.startswith(b"/") else StoredObject(path)


class RawInput:
    """The bytes of one open file, up to the size that it had then: what comes later is for a later load.

    `modified_at` is from before the first byte was read, `bytes_read` counts bytes on disk. `gzip_id` gives
    their SHA-256 once the text of a gzip has been read to its end; in any other file they are the text.
    """

    def __init__(self, file: DiskFile | StoredObject) -> None:
        self.modified_at = file.modified_at
        self.bytes_read = 0
        self.gzip_id: Callable[[], str] | None = None
        self._file = file

    def text(self, *, is_named_gzip: bool, max_bytes: int) -> Iterator[bytes]:
        """Yield the uncompressed text from its start; no piece is empty, the first has 4 bytes or all.

        Raises UnusableError when it meets what makes the whole file unusable, UnreadableError if reading
        fails.
        """
        self.gzip_id = None
        raw = self._raw()
        first = next(raw, b"")
        pieces = chain([first], raw) if first else raw
        if first.startswith(_GZIP_MARK):
            digest = hashlib.sha256()
            self.gzip_id = digest.hexdigest
            pieces = _gunzip(_slices(_hashed(pieces, digest)))
        elif not first and is_named_gzip:
            message = "empty, which no gzip is: write the file again"
            raise UnusableError(message)
        elif self._file.size > max_bytes:
            raise UnusableError(too_large(max_bytes))
        text_bytes = 0
        for piece in _checked_start(pieces):
            text_bytes += len(piece)
            if text_bytes > max_bytes:
                raise UnusableError(too_large(max_bytes))
            yield piece

    def text_again(self, begin: int, *, is_gzip: bool) -> Iterator[bytes]:
        """Yield the uncompressed text from an offset on, for who has read it once and knows what it is."""
        if not is_gzip:
            yield from self._raw(begin)
            return
        at = 0
        for piece in _gunzip(_slices(self._raw())):
            at += len(piece)
            if at > begin:
                yield piece[max(0, len(piece) - (at - begin)) :]

    def whole_id(self) -> str:
        """Give the SHA-256 of the bytes on disk by reading them once more, for a file that gave no text."""
        digest = hashlib.sha256()
        for piece in self._raw():
            digest.update(piece)
        return digest.hexdigest()

    def last_modified_at(self) -> datetime:
        """Give the time of modification as it is now, or was at the start if that is later."""
        return max(self.modified_at, self._file.modified_now_at())

    def _raw(self, begin: int = 0) -> Iterator[bytes]:
        self.bytes_read = begin
        while wanted := min(_PIECE_BYTES, self._file.size - self.bytes_read):
            try:
                piece = self._file.read_at(self.bytes_read, wanted)
            except OSError as error:
                raise UnreadableError(error.strerror or str(error)) from error
            if not piece:
                return
            self.bytes_read += len(piece)
            yield piece


def too_large(max_bytes: int) -> str:
    """Say that a file has more text than is allowed."""
    return f"over the size limit of {max_bytes:,} bytes of uncompressed text: split it into several files"


def _hashed(pieces: Iterator[bytes], digest: hashlib._Hash) -> Iterator[bytes]:
    for piece in pieces:
        digest.update(piece)
        yield piece


def _slices(pieces: Iterator[bytes]) -> Iterator[bytes]:
    """Cut pieces small: what follows a gzip member is copied at its end."""
    for piece in pieces:
        for at in range(0, len(piece), _GZIP_BYTES):
            yield piece[at : at + _GZIP_BYTES]


def _gunzip(pieces: Iterator[bytes]) -> Iterator[bytes]:
    member = zlib.decompressobj(wbits=31)
    for piece in pieces:
        rest = piece
        while rest:
            if member.eof:
                rest = rest.lstrip(b"\0")
                if not rest:
                    break
                member = zlib.decompressobj(wbits=31)
            try:
                text = member.decompress(rest, _PIECE_BYTES)
            except zlib.error as error:
                message = f"corrupt gzip, or other bytes after it ({error}): write the file again"
                raise UnusableError(message) from error
            rest = member.unused_data if member.eof else member.unconsumed_tail
            if text:
                yield text
    if not member.eof:
        message = "truncated gzip, its end is missing: finish writing the file, or write it again"
        raise UnusableError(message)


def _checked_start(pieces: Iterator[bytes]) -> Iterator[bytes]:
    start = next(pieces, b"")
    while len(start) < 4 and (more := next(pieces, b"")):  # noqa: PLR2004 - the longest byte order mark
        start += more
    if _WIDE_TEXT.match(start):
        message = "UTF-16 or UTF-32, by its first bytes: write the file as UTF-8"
        raise UnusableError(message)
    if start:
        yield start
    yield from pieces
