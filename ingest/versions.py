"""What the lake knows of a raw file after a load."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from datetime import datetime


TOPICS = "kafka://"  # how the name of a partition begins


@dataclass(frozen=True)
class FileVersion:
    """What is known of one file after a load: a row of `bronze.source_files`, then what only the manifest has.

    `bytes` (uncompressed) to `records` count what the load read, from line `first_line` on; the next line is
    always `first_line + lines`, also where nothing was read. A `reason` of a version that was loaded,
    appended or replaced says that its last line is held back.

    Offsets count uncompressed text, its byte order mark included: reading ended at `read_to`, and a last line
    that was read without a line end begins at `open_line_at`. `layout` is None where nothing was decided.

    `records_id` is the SHA-256 of the records that were read, each as bronze keeps it and with a line feed after it.
    The rest of `bytes` are `cut_bytes`, of records that are too long, and `other_bytes` around the records: line
    ends, blank lines and a byte order mark, or a document's own punctuation; `cr_bytes` of them stood before a line
    feed.

    A partition of a topic, whose name begins with TOPICS, is a file too: a line is an offset, and one without a
    message is blank.
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
    records_id: str | None = None
    cut_bytes: int = 0
    other_bytes: int = 0
    cr_bytes: int = 0

    @property
    def is_read(self) -> bool:
        """Whether its records are in bronze."""
        return self.status in {"loaded", "appended", "replaced"}
