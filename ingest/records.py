"""What is read of one file as records in a bundle: numbered lines, the elements of a document, or messages."""

from __future__ import annotations

import hashlib
from base64 import b64encode
from itertools import chain
from typing import TYPE_CHECKING, Literal

from ingest.documents import NotJsonError, Text, document_spans, is_json_value
from ingest.reading import BYTE_ORDER_MARK

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ingest.bundles import Bundle
    from ingest.versions import FileVersion

LONG_RECORD_BYTES = 64 << 10
_BLOCK_BYTES = 1 << 20
_BLANK = b" \t\r"


class LineReader:
    """Counts and stages lines piece by piece; what comes after the last line end waits for `take_tail`.

    Offsets count bytes of the uncompressed text, its byte order mark included: reading began at `start`,
    ended at `read_to`, and `length` is all that was seen. If an unterminated last line was read, it begins at
    `open_line_at`. No more than the longest record allowed is held in memory.
    """

    layout: Literal["lines"] = "lines"

    def __init__(self, bundle: Bundle, *, file_number: int, max_record_bytes: int) -> None:
        """Begin at the start of the text."""
        self.goes_on = False
        self.has_bom = False
        self.start = self.read_to = self.length = 0
        self.first_line = self._number = 1
        self.blank_lines = 0
        self.open_line_at: int | None = None
        self.cut_bytes = self.other_bytes = self.cr_bytes = 0
        self._bundle = bundle
        self._prefix = b"%d\t" % file_number
        self._max_record_bytes = max_record_bytes
        self._records_hash = hashlib.sha256()
        self._hash = hashlib.sha256()
        self._read_hash = self._hash.copy()
        self._line = bytearray()
        self._dropped_bytes = 0
        self._dropped_ink = self._ends_in_cr = False

    @property
    def lines(self) -> int:
        """The lines read, blank ones among them."""
        return self._number - self.first_line

    @property
    def records(self) -> int:
        """The lines read that are not blank."""
        return self.lines - self.blank_lines

    @property
    def content_id(self) -> str:
        """SHA-256 of the text up to `read_to`."""
        return self._read_hash.hexdigest()

    @property
    def text_id(self) -> str:
        """SHA-256 of all text seen."""
        return self._hash.hexdigest()

    @property
    def records_id(self) -> str:
        """SHA-256 of the records staged, each with a line feed after it."""
        return self._records_hash.hexdigest()

    def pass_over(self, pieces: Iterator[bytes], old: FileVersion) -> Iterator[bytes] | None:
        """Pass over the text that an earlier load has read, and give the pieces after it; None if it differs.

        A last line that was read then without its line end is read again, under its old number, if more than
        that has come.
        """
        self.goes_on = True
        if not old.read_to:
            return pieces
        self.first_line = self._number = old.first_line + old.lines
        rest = next(pieces, b"")
        if rest.startswith(BYTE_ORDER_MARK) != old.has_bom:
            return None
        line_at = old.read_to if old.open_line_at is None else old.open_line_at
        rest = self._hash_up_to(line_at, rest, pieces, keep=False)
        rest = self._hash_up_to(old.read_to, rest, pieces, keep=True)
        if self.length != old.read_to or self.text_id != old.content_id:
            return None
        self.has_bom = old.has_bom
        self.start = self.length
        self._mark_read()
        if old.open_line_at is not None:
            self.open_line_at = old.open_line_at
            rest = self._pass_over_line_end(rest, pieces)
        return chain([rest], pieces)

    def feed(self, piece: bytes) -> None:
        """Read on."""
        if not self.length and piece.startswith(BYTE_ORDER_MARK):
            self.has_bom = True
            piece = self._hash_up_to(len(BYTE_ORDER_MARK), piece, iter(()), keep=False)
            self.other_bytes += len(BYTE_ORDER_MARK)
            self._mark_read()
        end = piece.rfind(b"\n") + 1
        if end:
            self._stage(piece[:end])
            piece = self._hash_up_to(self.length + end, piece, iter(()), keep=False)
            self._mark_read()
        self._hash_up_to(self.length + len(piece), piece, iter(()), keep=True)

    def has_complete_tail(self) -> bool:
        """Tell whether what comes after the last line end is a whole JSON value."""
        return not self._dropped_bytes and not self._line.endswith(b"\r") and is_json_value(bytes(self._line))

    def take_tail(self) -> None:
        """Read what comes after the last line end as the last line."""
        if not self._line:
            return
        self._reopen_line()
        open_line_at = self.read_to
        self._stage_lines([bytes(self._line)])
        self._mark_read()
        self.open_line_at = open_line_at

    def _mark_read(self) -> None:
        self.read_to = self.length
        self._read_hash = self._hash.copy()
        self.open_line_at = None

    def _pass_over_line_end(self, rest: bytes, pieces: Iterator[bytes]) -> bytes:
        """End the open line if its line end has come, and forget it if nothing else has; give what comes then."""
        while len(rest) < len(b"\r\n") and (more := next(pieces, b"")):
            rest += more
        line_end = 2 if rest.startswith(b"\r\n") else 1 if rest.startswith(b"\n") else 0
        if line_end or not rest:
            self._forget_line()
        if line_end:
            rest = self._hash_up_to(self.length + line_end, rest, pieces, keep=False)
            self.other_bytes += line_end
            self.cr_bytes += line_end - 1
            self._mark_read()
        return rest

    def _reopen_line(self) -> None:
        """Go back to the start of a line that was read without its end, if there is one."""
        if self.open_line_at is not None:
            self._number -= 1
            self.first_line = self._number
            self.start = self.read_to = self.open_line_at
            self.open_line_at = None

    def _hash_up_to(self, offset: int, rest: bytes, pieces: Iterator[bytes], *, keep: bool) -> bytes:
        """Hash the text up to the offset, or to its end if it is shorter; give the rest of the piece."""
        while self.length < offset:
            rest = rest or next(pieces, b"")
            if not rest:
                break
            part, rest = rest[: offset - self.length], rest[offset - self.length :]
            self._hash.update(part)
            self.length += len(part)
            if keep:
                self._hold(part)
        return rest

    def _hold(self, part: bytes) -> None:
        """Keep a part of the line that has no end yet, or count it if the line is too long already."""
        self._line += part
        self._ends_in_cr = part.endswith(b"\r") if part else self._ends_in_cr
        if self._dropped_bytes or len(self._line) > max(self._max_record_bytes, LONG_RECORD_BYTES) + 1:
            dropped = self._line[LONG_RECORD_BYTES:]
            self._dropped_bytes += len(dropped)
            self._dropped_ink = self._dropped_ink or bool(dropped.strip(_BLANK))
            del self._line[LONG_RECORD_BYTES:]

    def _stage(self, block: bytes) -> None:
        """Stage whole lines, the first of which may have begun before."""
        self._reopen_line()
        if self._dropped_bytes:
            end = block.index(b"\n")
            self._hold(block[:end])
            self._dropped_bytes -= self._ends_in_cr
            self.other_bytes += 1 + self._ends_in_cr
            self.cr_bytes += self._ends_in_cr
            self._stage_lines([bytes(self._line)])
            block = block[end + 1 :]
            if not block:
                return
        elif self._line:
            block = bytes(self._line) + block
            self._line.clear()
        with_cr = len(block)
        if b"\r" in block:
            block = block.replace(b"\r\n", b"\n")
        lines = block[:-1].split(b"\n")
        self.cr_bytes += with_cr - len(block)
        self.other_bytes += with_cr - len(block) + len(lines)
        self._stage_lines(lines)

    def _stage_lines(self, lines: list[bytes]) -> None:
        """Write those that are not blank; a line with dropped bytes comes alone."""
        numbered = [pair for pair in enumerate(lines, self._number) if pair[1].strip(_BLANK) or self._dropped_ink]
        records = [line for _, line in numbered]
        text_bytes = sum(map(len, records))
        self.other_bytes += sum(map(len, lines)) - text_bytes
        if self._dropped_bytes or text_bytes > self._max_record_bytes:
            staged, records = self._cut_long_ones(numbered)
        else:
            staged = [b"%d\t\t%b" % pair for pair in numbered]
        if staged:
            self._bundle.write(self._prefix + (b"\n" + self._prefix).join(staged) + b"\n")
            self._records_hash.update(b"\n".join(records) + b"\n")
        else:
            self.other_bytes += self._dropped_bytes
        self._number += len(lines)
        self.blank_lines += len(lines) - len(staged)
        self._forget_line()

    def _cut_long_ones(self, numbered: list[tuple[int, bytes]]) -> tuple[list[bytes], list[bytes]]:
        """Give the staged lines, and the records as they are kept."""
        longest = self._max_record_bytes
        lengths = [len(line) + self._dropped_bytes for _, line in numbered]
        kept = [
            line if length <= longest else line[:LONG_RECORD_BYTES]
            for (_, line), length in zip(numbered, lengths, strict=True)
        ]
        self.cut_bytes += sum(lengths) - sum(map(len, kept))
        staged = [
            _staged(number, line, length, longest)
            for (number, _), line, length in zip(numbered, kept, lengths, strict=True)
        ]
        return staged, kept

    def _forget_line(self) -> None:
        self._line.clear()
        self._dropped_bytes, self._dropped_ink, self._ends_in_cr = 0, False, False


class DocumentReader:
    """Stages the records of a `.json` text that is not JSON Lines; has the attributes of LineReader.

    A text that is no document is one record. Without a line end at its end it may be unfinished, so it waits
    as a whole for `take_tail`.
    """

    goes_on = False
    first_line = 1
    start = 0
    blank_lines = 0
    cr_bytes = 0
    open_line_at: int | None = None

    def __init__(self, text: Text, bundle: Bundle, *, file_number: int, max_record_bytes: int) -> None:
        """Read the whole text."""
        self.layout: Literal["document"] | None = "document"
        self.has_bom = text.startswith(BYTE_ORDER_MARK)
        self.length = self.read_to = len(text)
        self.lines = self.cut_bytes = self._record_bytes = 0
        self._records_hash = hashlib.sha256()
        self.text_id = self.content_id = hashlib.sha256(text).hexdigest()
        self._bundle = bundle
        self._prefix = b"%d\t" % file_number
        self._max_record_bytes = max_record_bytes
        self._tail = (b"", 0)
        self._read(text)

    @property
    def records(self) -> int:
        """The records read."""
        return self.lines

    @property
    def records_id(self) -> str:
        """SHA-256 of the records staged, each with a line feed after it."""
        return self._records_hash.hexdigest()

    @property
    def other_bytes(self) -> int:
        """What the document has around its records."""
        return self.read_to - self._record_bytes

    def has_complete_tail(self) -> bool:
        """Tell whether what waits may be read: never, as it is no document."""
        return False

    def take_tail(self) -> None:
        """Read the text that waits as one record."""
        if self.layout is None:
            self.layout = "document"
            self.read_to = self.length
            self.content_id = self.text_id
            self._stage(iter([self._tail]))

    def _read(self, text: Text) -> None:
        begin = len(BYTE_ORDER_MARK) if self.has_bom else 0
        mark = self._bundle.mark()
        try:
            self._stage(self._cut(text, *span) for span in document_spans(text, begin))
        except NotJsonError:
            self._bundle.cut_back(mark)
            self.layout = None
            self.lines = self.read_to = self.cut_bytes = self._record_bytes = 0
            self._records_hash = hashlib.sha256()
            self.content_id = hashlib.sha256().hexdigest()
            line_end = 2 if text.endswith(b"\r\n") else 1 if text.endswith(b"\n") else 0
            self._tail = self._cut(text, begin, len(text) - line_end)
            if line_end:
                self.take_tail()

    def _cut(self, text: Text, begin: int, end: int) -> tuple[bytes, int]:
        """Give a record, or what is kept of one that is too long, and its length."""
        length = end - begin
        kept = length if length <= self._max_record_bytes else LONG_RECORD_BYTES
        return bytes(memoryview(text)[begin : begin + min(kept, length)]), length

    def _stage(self, records: Iterator[tuple[bytes, int]]) -> None:
        block = bytearray()
        for record, length in records:
            self.lines += 1
            self._record_bytes += length
            self.cut_bytes += length - len(record)
            self._records_hash.update(record)
            self._records_hash.update(b"\n")
            block += b"%b%b\n" % (self._prefix, _staged(self.lines, record, length, self._max_record_bytes))
            if len(block) >= _BLOCK_BYTES:
                self._bundle.write(block)
                block.clear()
        if block:
            self._bundle.write(block)


class MessageReader:
    """Counts and stages the messages of one partition as they come; has the counts of LineReader.

    A message is a record, and its offset the number of its line; one without text is a blank line.
    """

    def __init__(self, bundle: Bundle, *, file_number: int, max_record_bytes: int) -> None:
        self.bytes = self.records = self.cut_bytes = self.other_bytes = 0
        self._records_hash = hashlib.sha256()
        self._block = bytearray()
        self._bundle = bundle
        self._prefix = b"%d\t" % file_number
        self._max_record_bytes = max_record_bytes

    @property
    def records_id(self) -> str:
        """SHA-256 of the records staged, each with a line feed after it."""
        return self._records_hash.hexdigest()

    def read(self, offset: int, message: bytes) -> None:
        length = len(message)
        self.bytes += length
        if not message.strip(_BLANK + b"\n"):
            self.other_bytes += length
            return
        record = message if length <= self._max_record_bytes else message[:LONG_RECORD_BYTES]
        self.records += 1
        self.cut_bytes += length - len(record)
        self._records_hash.update(record)
        self._records_hash.update(b"\n")
        self._block += b"%b%b\n" % (self._prefix, _staged(offset, record, length, self._max_record_bytes))
        if len(self._block) >= _BLOCK_BYTES:
            self.finish()

    def finish(self) -> None:
        """Write what is still in memory."""
        if self._block:
            self._bundle.write(self._block)
            self._block.clear()


def _staged(number: int, record: bytes, length: int, max_record_bytes: int) -> bytes:
    """Give the staged line of a record of `length` bytes, cut already if that is too long."""
    if length > max_record_bytes:
        return b"%d\tL\t%b" % (number, b64encode(record))
    if b"\n" in record:
        return b"%d\tB\t%b" % (number, b64encode(record))
    return b"%d\t\t%b" % (number, record)
