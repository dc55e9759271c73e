"""Bundles: the staged text of one feed, which Spark reads in place of the raw files.

One line a record: `file number TAB line number TAB kind TAB record`. The kind is empty for the record as it is, `B`
for Base64, `L` for Base64 of the start of a record that is too long.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from pathlib import Path

    from ingest.documents import Text

_PART_BYTES = 64 << 20


class Bundle:
    """The staged lines of one feed, in parts of about 64 MiB so that Spark can share the work."""

    def __init__(self, folder: Path) -> None:
        """Start empty; the folder appears with the first record."""
        self._folder = folder
        self._parts: list[Path] = []
        self._file: BinaryIO | None = None
        self._offset = 0

    def write(self, lines: Text) -> None:
        """Add whole lines."""
        if self._file is None or self._offset >= _PART_BYTES:
            self._close()
            self._folder.mkdir(parents=True, exist_ok=True)
            self._parts.append(self._folder / f"part-{len(self._parts):05}.txt")
            self._file = self._parts[-1].open("wb", buffering=0)
            self._offset = 0
        view = memoryview(lines)
        while view:
            view = view[self._file.write(view) :]
        self._offset += len(lines)

    def mark(self) -> tuple[int, int]:
        """Give the place that cut_back returns to."""
        return len(self._parts), self._offset

    def cut_back(self, mark: tuple[int, int]) -> None:
        """Forget all that was written since the mark."""
        parts, offset = mark
        if mark == self.mark():
            return
        self._close()
        for path in self._parts[parts:]:
            path.unlink()
        del self._parts[parts:]
        self._offset = offset
        if self._parts:
            self._file = self._parts[-1].open("r+b", buffering=0)
            self._file.truncate(offset)
            self._file.seek(offset)

    def finish(self) -> tuple[Path, ...]:
        """Have all parts on disk, as the plan of the load will rely on them, and give their paths."""
        self._close()
        for path in self._parts:
            with path.open("rb") as part:
                os.fsync(part.fileno())
        return tuple(self._parts)

    def _close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
