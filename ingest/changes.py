"""Which files a run must open: all but those that are just as they were when their bytes were last read."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from ingest.reading import too_large
from ingest.scanning import too_large_document

if TYPE_CHECKING:
    from collections.abc import Mapping
    from datetime import datetime

    from ingest.discovery import Listing, RawFile
    from ingest.scanning import Limits
    from ingest.versions import FileVersion

# The load that has a file's newest version, and the stamp that the file had when its bytes were those.
Seen = dict[str, tuple[int, str]]


def changed_files(
    listing: Listing, known: Mapping[str, FileVersion], seen: Seen, *, now: datetime, limits: Limits
) -> tuple[RawFile, ...]:
    """Give the files that must be opened, as listed; `known` is the latest version of each by its name."""
    at_rest_since = now - timedelta(seconds=limits.settle_seconds)

    def is_changed(file: RawFile) -> bool:
        version = known.get(file.name)
        if version is None or version.feed != file.feed.name or seen.get(file.name) != (version.load_id, file.stamp):
            return True
        if version.status == "failed":
            return _failed_by_other_limits(version, limits)
        return is_held_back(version) and file.modified_at <= at_rest_since

    return tuple(file for file in listing.files if is_changed(file))


def is_held_back(version: FileVersion) -> bool:
    """Tell whether an unfinished last line of the file still waits."""
    return version.is_read and version.reason is not None


def _failed_by_other_limits(version: FileVersion, limits: Limits) -> bool:
    now = (too_large(limits.max_file_bytes), too_large_document(limits.max_document_bytes))
    return (version.reason or "").startswith("over the size limit") and version.reason not in now
