"""The records of a raw file, read in another way than staging does for lines, to hold bronze to them."""

from __future__ import annotations

import gzip
from typing import TYPE_CHECKING, Any

from ingest.documents import NotJsonError, document_spans
from ingest.places import open_file
from ingest.reading import BYTE_ORDER_MARK

if TYPE_CHECKING:
    from collections.abc import Iterator


def record_bytes(row: dict[str, Any]) -> bytes:
    """Give the bytes of a bronze row's record; a row without a text, which is damaged, has none."""
    raw_bytes: bytes | None = row["_raw_bytes"]
    return (row["_raw"] or "").encode() if raw_bytes is None else raw_bytes


def raw_records(path: bytes, *, is_document: bool) -> Iterator[tuple[int, bytes]]:
    """Yield the records of a file with their lines, or in a document with their numbers."""
    with open_file(path) as file:
        is_gzip = file.read(2) == b"\x1f\x8b"
        file.seek(0)
        text: Any = gzip.GzipFile(fileobj=file) if is_gzip else file
        if is_document:
            content = text.read().removeprefix(BYTE_ORDER_MARK)
            try:
                yield from [
                    (number, content[slice(*span)]) for number, span in enumerate(document_spans(content, 0), 1)
                ]
            except NotJsonError:
                yield 1, content.removesuffix(b"\n").removesuffix(b"\r") if content.endswith(b"\n") else content
            return
        for number, line in enumerate(text, 1):
            record = line.removesuffix(b"\n").removesuffix(b"\r") if line.endswith(b"\n") else line
            record = record.removeprefix(BYTE_ORDER_MARK) if number == 1 else record
            if record.strip(b" \t\r"):
                yield number, record
