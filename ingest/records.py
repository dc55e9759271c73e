"""Text to records: the lines that are not blank, or the elements of a document, each counted and cut if too long."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from ingest.documents import NotJsonError, document_records

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LONG_RECORD_BYTES = 64 << 10
BLANK = b" \t\r"
_BLOCK_BYTES = 1 << 20


@dataclass
class Counts:
    """What was read of one file, as FileVersion has it; the first line of each hash is that of its stretch."""

    records: int = 0
    defective_records: int = 0
    cut_bytes: int = 0
    other_bytes: int = 0
    record_hashes: list[tuple[int, str]] = field(default_factory=list)


class Records(NamedTuple):
    """Some records and their lines; the places `too_long` have only the first bytes of theirs."""

    lines: Sequence[int]
    records: list[bytes]
    too_long: set[int]


def records_of(
    lines: Sequence[int], texts: list[bytes], longest: int, counts: Counts, dropped_bytes: int = 0
) -> Records:
    """Count these records, and cut those that are too long; the only one of a block may have lost bytes already."""
    kept, too_long = texts, set()
    if dropped_bytes or max(map(len, texts), default=0) > longest:
        too_long = {i for i, text in enumerate(texts) if len(text) + dropped_bytes > longest}
        kept = [text[:LONG_RECORD_BYTES] if i in too_long else text for i, text in enumerate(texts)]
    kept_bytes = sum(map(len, kept))
    counts.records += len(kept)
    counts.cut_bytes += sum(map(len, texts)) + dropped_bytes - kept_bytes
    return Records(lines, kept, too_long)


def document_blocks(pieces: Iterator[bytes], counts: Counts) -> Iterator[tuple[Sequence[int], list[bytes], int]]:
    """Yield the records of a document, some at a time, with their numbers."""
    text = b"".join(pieces)
    try:
        found = document_records(text, 0)
    except NotJsonError:
        found = [text[:-1].removesuffix(b"\r") if text.endswith(b"\n") else text]
    counts.other_bytes += len(text)
    begin = size = 0
    for end, record in enumerate(found, 1):
        size += len(record)
        if size >= _BLOCK_BYTES or end == len(found):
            counts.other_bytes -= size
            yield range(begin + 1, end + 1), list(map(bytes, found[begin:end])), 0
            begin, size = end, 0


def line_blocks(
    pieces: Iterator[bytes], number: int, longest: int, counts: Counts
) -> Iterator[tuple[Sequence[int], list[bytes], int]]:
    """Yield the lines that are not blank, some at a time, with their numbers; one that has lost bytes comes alone."""
    splitter = _Splitter(longest)
    for lines, end_bytes, dropped_bytes in splitter.split(pieces):
        counts.other_bytes += end_bytes
        inked = [i for i, line in enumerate(lines) if line.strip(BLANK)]
        if len(inked) == len(lines) or (dropped_bytes and splitter.has_ink):
            yield range(number, number + len(lines)), lines, dropped_bytes
        else:
            records = [lines[i] for i in inked]
            counts.other_bytes += sum(map(len, lines)) + dropped_bytes - sum(map(len, records))
            yield [number + i for i in inked], records, 0
        number += len(lines)


class _Splitter:
    """Cuts text into lines, with no more in memory than one piece and the longest record allowed."""

    def __init__(self, longest: int) -> None:
        self.has_ink = False  # the bytes that the last line has lost are not all blank
        self._most = max(longest, LONG_RECORD_BYTES) + len(b"\r")
        self._line = bytearray()
        self._dropped = b""  # the last byte that was
        self._dropped_bytes = 0

    def split(self, pieces: Iterator[bytes]) -> Iterator[tuple[list[bytes], int, int]]:
        """Yield lines without their ends, the bytes of these, and those that the only line of a block has lost."""
        for piece in pieces:
            end = piece.rfind(b"\n") + 1
            block = piece[:end]
            if end and self._dropped_bytes:
                at = block.index(b"\n")
                self._hold(block[:at])
                has_cr = self._dropped == b"\r"
                yield [bytes(self._line)], 1 + has_cr, self._dropped_bytes - has_cr
                block = block[at + 1 :]
                self._forget()
            if block:
                block = bytes(self._line) + block
                with_cr = len(block)
                if b"\r" in block:
                    block = block.replace(b"\r\n", b"\n")
                lines = block[:-1].split(b"\n")
                yield lines, with_cr - len(block) + len(lines), 0
                self._forget()
            self._hold(piece[end:])
        if self._line:
            yield [bytes(self._line)], 0, self._dropped_bytes

    def _hold(self, part: bytes) -> None:
        """Keep a part of the line that has no end yet, or only its first bytes if the line is too long already."""
        self._line += part
        if self._dropped_bytes or len(self._line) > self._most:
            dropped = self._line[LONG_RECORD_BYTES:]
            self._dropped_bytes += len(dropped)
            self._dropped = bytes(dropped[-1:]) or self._dropped
            self.has_ink = self.has_ink or bool(dropped.strip(BLANK))
            del self._line[LONG_RECORD_BYTES:]

    def _forget(self) -> None:
        self._line.clear()
        self._dropped_bytes, self.has_ink = 0, False
