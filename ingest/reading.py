"""An open raw file as a stream of text: its bytes up to the size it had, gunzipped if need be."""

from __future__ import annotations

import hashlib
import os
import stat
import zlib
from itertools import chain
from typing import TYPE_CHECKING

from ingest.discovery import modification_time

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from datetime import datetime

    from ingest.discovery import RawFile

CHUNK_BYTES = 1 << 20
BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_GZIP_MARK = b"\x1f\x8b"
_UTF_16_MARKS = (b"\xff\xfe", b"\xfe\xff")


class UnusableError(Exception):
    """The file fails as a whole; the message says why and what to do."""


class UnreadableError(Exception):
    """The file cannot be opened or read now; the message says why and what to do."""

    def __init__(self, error: OSError) -> None:
        """Say what the system said."""
        super().__init__(f"cannot be read ({error.strerror}): it stays as it is in the lake and is tried at every run")


def too_large(max_bytes: int) -> str:
    """Say that a file has more uncompressed text than is allowed."""
    return f"over the size limit of {max_bytes:,} bytes of uncompressed text: split it into several files"


def document_too_large(max_bytes: int) -> str:
    """Say that one JSON document has more text than is allowed."""
    return f"over the size limit of {max_bytes:,} bytes for one JSON document: write JSON Lines, one record a line"


class RawInput:
    """The bytes of one open regular file, up to the size it had when it was opened, so that growth comes later.

    `bytes_read` counts the bytes on disk, `digest()` is their SHA-256 in hexadecimal, of gzip only once the text
    has been read to its end.
    """

    def __init__(self, file: RawFile, *, tell: Callable[[int], None]) -> None:
        """Open the file; raises UnreadableError if that cannot be, or it is no regular file any more."""
        try:
            descriptor = os.open(file.path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            raise UnreadableError(error) from error
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            os.close(descriptor)
            raise UnreadableError(OSError(None, "no regular file any more"))
        self.modified_at = modification_time(status)
        self.bytes_read = 0
        self.gzip_hash: hashlib._Hash | None = None
        self._descriptor = descriptor
        self._name = file.name
        self._size = status.st_size
        self._tell = tell

    def text(self, *, max_bytes: int) -> Iterator[bytes]:
        """Yield the uncompressed text from its start, never an empty piece, the first with at least 4 bytes if it has.

        Raises UnusableError when it meets what makes the whole file unusable, UnreadableError if it cannot be read.
        """
        raw = self._raw()
        first = next(raw, b"")
        if first.startswith(_GZIP_MARK):
            self.gzip_hash = hashlib.sha256()
            pieces = _gunzip(self._hashed(chain([first], raw), self.gzip_hash))
        elif not first and self._name.lower().endswith(".gz"):
            message = "an empty file is no gzip: write it again"
            raise UnusableError(message)
        elif self._size > max_bytes:
            raise UnusableError(too_large(max_bytes))
        else:
            pieces = chain([first], raw) if first else raw
        total = 0
        for piece in _checked_start(pieces):
            total += len(piece)
            if total > max_bytes:
                raise UnusableError(too_large(max_bytes))
            yield piece

    def whole_digest(self) -> str:
        """Give the SHA-256 of the bytes on disk by reading them once more: for a file that gave no text."""
        digest = hashlib.sha256()
        for piece in self._raw():
            digest.update(piece)
        return digest.hexdigest()

    def newest_modification(self) -> datetime:
        """Give the time of modification as it is now, or as it was at the start if that is later."""
        return max(self.modified_at, modification_time(os.fstat(self._descriptor)))

    def _raw(self) -> Iterator[bytes]:
        os.lseek(self._descriptor, 0, os.SEEK_SET)
        self.bytes_read = 0
        while piece := self._read(min(CHUNK_BYTES, self._size - self.bytes_read)):
            self.bytes_read += len(piece)
            self._tell(len(piece))
            yield piece

    def _read(self, size: int) -> bytes:
        try:
            return os.read(self._descriptor, size)
        except OSError as error:
            raise UnreadableError(error) from error

    def close(self) -> None:
        """Close the file."""
        os.close(self._descriptor)

    @staticmethod
    def _hashed(pieces: Iterator[bytes], digest: hashlib._Hash) -> Iterator[bytes]:
        for piece in pieces:
            digest.update(piece)
            yield piece


def _gunzip(pieces: Iterator[bytes]) -> Iterator[bytes]:
    member = zlib.decompressobj(wbits=31)
    members = 1
    for piece in pieces:
        rest = piece
        while rest:
            if member.eof:
                rest = rest.lstrip(b"\0")
                if not rest:
                    break
                member = zlib.decompressobj(wbits=31)
                members += 1
            try:
                text = member.decompress(rest, CHUNK_BYTES)
            except zlib.error as error:
                message = f"corrupt gzip, in its part {members} ({error}): write the file again"
                raise UnusableError(message) from error
            rest = member.unused_data if member.eof else member.unconsumed_tail
            if text:
                yield text
    if not member.eof:
        message = "truncated gzip: its end is missing; finish writing it, or write it again"
        raise UnusableError(message)


def _checked_start(pieces: Iterator[bytes]) -> Iterator[bytes]:
    start = next(pieces, b"")
    while len(start) < 4 and (more := next(pieces, b"")):  # noqa: PLR2004 - the longest byte order mark
        start += more
    if start.startswith(_UTF_16_MARKS) or b"\0" in start[:4]:
        message = "UTF-16 or UTF-32 text, or binary data, by its first bytes: write it as UTF-8"
        raise UnusableError(message)
    if start:
        yield start
    yield from pieces
