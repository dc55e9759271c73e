"""What lies under the raw root: the files of the feeds, and the rest with the reason why it is not read."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from ingest.errors import IngestError
from ingest.feeds import has_record_ending
from ingest.places import is_on_disk, store_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from ingest.feeds import Feed

_ESCAPED = re.compile(rb"\\\\|\\x[0-9a-f]{2}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
# Parquet takes no timestamp before 1900 without a setting, and Python none after 9999.
_FIRST_DAY = datetime(1900, 1, 2, tzinfo=UTC)
_LAST_DAY = datetime(9999, 12, 30, tzinfo=UTC)


@dataclass(frozen=True)
class RawFile:
    """One file of a feed, as it was when it was listed.

    `name` is its `_source_file`, `path` the absolute path as the system knows it, or the address in an object store,
    `size` in bytes as it is kept, `modified_at` in UTC, cut to microseconds. The `stamp` changes with the content.
    """

    feed: Feed
    name: str
    path: bytes
    size: int
    modified_at: datetime
    stamp: str


@dataclass(frozen=True)
class Listing:
    """All that is under the raw root, each part sorted by name; the pairs are (name, sentence)."""

    files: tuple[RawFile, ...]
    ignored: tuple[tuple[str, str], ...]
    unreadable: tuple[tuple[str, str], ...]


def encode_name(path: bytes) -> str:
    r"""Turn a path into text, no two into one: a byte that is not UTF-8 becomes `\xNN`, a backslash two."""
    return path.replace(b"\\", b"\\\\").decode("utf-8", errors="backslashreplace")


def decode_name(name: str) -> bytes:
    """Give the path that encode_name has turned into this text."""
    return _ESCAPED.sub(
        lambda found: b"\\" if found[0] == b"\\\\" else bytes.fromhex(found[0][2:].decode()), name.encode()
    )


def modification_time(status: os.stat_result) -> datetime:
    """Give the time of the last modification in UTC, cut to microseconds."""
    try:
        modified_at = _EPOCH + timedelta(microseconds=status.st_mtime_ns // 1000)
    except OverflowError:
        modified_at = _LAST_DAY if status.st_mtime_ns > 0 else _FIRST_DAY
    return min(max(modified_at, _FIRST_DAY), _LAST_DAY)


def stamp(status: os.stat_result) -> str:
    """Give what every change of a file's content changes: nobody but the system sets its last number."""
    return f"{status.st_size} {status.st_mtime_ns} {status.st_ctime_ns}"


def list_raw(raw_root: Path, feeds: Sequence[Feed]) -> Listing:
    """List everything below the raw root without following links.

    Raises IngestError where the raw root itself cannot be listed.
    """
    return list_folder(raw_root, feeds) if is_on_disk(raw_root) else list_store(raw_root, feeds)


def list_store(raw_root: Path, feeds: Sequence[Feed]) -> Listing:
    files: list[RawFile] = []
    ignored: list[tuple[str, str]] = []
    store, root = store_of(raw_root)
    try:
        objects = store.find(root, detail=True)
    except OSError as error:
        raise _no_raw_files(raw_root, str(error)) from error
    objects.pop(root, None)  # not a folder, or an object that stands for one
    if not objects:
        raise _no_raw_files(raw_root, "nothing is there")
    for key, status in objects.items():
        name = encode_name(key.removeprefix(f"{root}/").encode())
        feed = _feed_by_name(name, feeds)
        if isinstance(feed, str):
            ignored.append((name, feed))
        else:
            modified_at = status["LastModified"].replace(microsecond=0)  # as the object itself says it
            files.append(RawFile(feed, name, f"s3a://{key}".encode(), status["size"], modified_at, status["ETag"]))
    files.sort(key=lambda file: file.name)
    return Listing(tuple(files), tuple(sorted(ignored)), ())


def list_folder(raw_root: Path, feeds: Sequence[Feed]) -> Listing:
    root = os.path.abspath(os.fsencode(raw_root))  # noqa: PTH100 - pathlib has no paths of bytes
    _check_root(root, raw_root)
    files: list[RawFile] = []
    ignored: list[tuple[str, str]] = []
    unreadable: list[tuple[str, str]] = []
    folders = [root]
    while folders:
        folder = folders.pop()
        try:
            with os.scandir(folder) as scan:
                entries = list(scan)
        except OSError as error:
            name = _name(folder, root)
            # A disk's own lost+found, say, must not make every run fail.
            matters = any(feed.may_reach(name) for feed in feeds)
            (unreadable if matters else ignored).append((name, f"this folder cannot be listed: {error.strerror}"))
            continue
        for entry in entries:
            name = _name(entry.path, root)
            try:
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
                    continue
                feed = _feed_or_reason(entry, name, root, feeds)
                if isinstance(feed, str):
                    ignored.append((name, feed))
                    continue
                status = entry.stat(follow_symlinks=False)
            except OSError as error:
                unreadable.append((name, f"this file cannot be looked at: {error.strerror}"))
                continue
            files.append(RawFile(feed, name, entry.path, status.st_size, modification_time(status), stamp(status)))
    files.sort(key=lambda file: file.name)
    return Listing(tuple(files), tuple(sorted(ignored)), tuple(sorted(unreadable)))


def _check_root(root: bytes, raw_root: Path) -> None:
    try:
        os.scandir(root).close()
    except OSError as error:
        raise _no_raw_files(raw_root, error.strerror) from error


def _no_raw_files(raw_root: Path, found: str | None) -> IngestError:
    return IngestError(
        f"{raw_root}: the raw files were looked for in this folder: {found}. Name another one"
        " with --raw or RAW_ROOT, or make one with `python -m ingest sample`."
    )


def raw_path(raw_root: Path, name: str) -> bytes:
    """Give the path, or the address, of the raw file of this name."""
    return (os.fsencode(raw_root) if is_on_disk(raw_root) else str(raw_root).encode()) + b"/" + decode_name(name)


def _name(path: bytes, root: bytes) -> str:
    return encode_name(path[len(root) :].lstrip(b"/")) or "."


def _feed_or_reason(entry: os.DirEntry[bytes], name: str, root: bytes, feeds: Sequence[Feed]) -> Feed | str:
    """Find the feed that reads the entry, or say why none does."""
    if entry.is_symlink():
        return _why_not_followed(entry.path, root)
    if not entry.is_file(follow_symlinks=False):
        return "not a regular file (a pipe, socket or device)"
    return _feed_by_name(name, feeds)


def _feed_by_name(name: str, feeds: Sequence[Feed]) -> Feed | str:
    claiming = [feed for feed in feeds if feed.claims(name)]
    if not claiming:
        return "no feed has files here"
    if not has_record_ending(name):
        return "its name does not end in .jsonl, .ndjson or .json, nor in one of these and .gz"
    for feed in claiming:
        if not feed.excludes(name):
            return feed
    return f"excluded by the feed {claiming[0].name}"


def _why_not_followed(path: bytes, root: bytes) -> str:
    if not os.path.exists(path):  # noqa: PTH110
        return "a link whose target does not exist"
    target, real_root = os.path.realpath(path), os.path.realpath(root)
    if target == real_root or target.startswith(real_root.rstrip(b"/") + b"/"):
        return "a link; its target is read under its own path"
    return "a link that leaves the raw root"
