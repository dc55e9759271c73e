"""What the lake knows of a raw file after a load."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from datetime import datetime

    from ingest.changes import Seen
    from ingest.lake import Lake
    from ingest.scanning import Limits


TOPICS = "kafka://"  # how the name of a partition begins


@dataclass(frozen=True)
class FileVersion:
    """What is known of one file after a load: a row of `bronze.source_files`, then what only the manifest has.

    `bytes` (uncompressed) to `records` count what the load read, from line `first_line` on; the next line is
    always `first_line + lines`, also where nothing was read. A `reason` of a version that was loaded,
    appended or replaced says that its last line is held back.

    Offsets count uncompressed text, its byte order mark included: reading ended at `read_to`, and a last line
    that was read without a line end begins at `open_line_at`. `layout` is None where nothing was decided.

    `record_hashes` are SHA-256 of the records that were read, each as bronze keeps it and with a line feed after it:
    one from each of these lines up to the next. The rest of `bytes` are `cut_bytes`, of records that are too long, and
    `other_bytes` around the records: line ends, blank lines and a byte order mark, or a document's own punctuation.

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
    defective_records: int
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
    record_hashes: tuple[tuple[int, str], ...] = ()
    cut_bytes: int = 0
    other_bytes: int = 0

    @property
    def is_read(self) -> bool:
        """Whether its records are in bronze."""
        return self.status in {"loaded", "appended", "replaced"}


@dataclass(frozen=True)
class Part:
    """A file of a table, as a commit names it: bytes, milliseconds since 1970, and Delta's statistics as JSON."""

    path: str
    size: int
    modified_at: int
    statistics: str


@dataclass(frozen=True)
class Load:
    """What all files of one load have in common."""

    load_id: int
    loaded_at: datetime
    lake: Lake
    limits: Limits


@dataclass(frozen=True)
class StagedLoad:
    """What was staged: a version for each file that has one, and the parts of each feed that has records.

    `unreadable` are (name, sentence); `seen` has what the files read were found to be, if that can be told by a stamp;
    `has_more` says that the load was full before all files were read.
    """

    versions: tuple[FileVersion, ...] = ()
    parts: dict[str, tuple[Part, ...]] = field(default_factory=dict)
    unreadable: tuple[tuple[str, str], ...] = ()
    seen: Seen = field(default_factory=dict)
    has_more: bool = False
