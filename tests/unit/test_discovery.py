"""What is found under a raw root, and what is said of the rest."""

from __future__ import annotations

import os
import socket
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ingest.discovery import encode_name, list_raw
from ingest.errors import IngestError
from ingest.feeds import Feed

if TYPE_CHECKING:
    from pathlib import Path

EVENTS = Feed("driver_events", ("events/**",), ("batch_meta.json",), "skip", ("event_id",))
COMPANIES = Feed("companies", ("companies*",), (), "load", ("company_id",))
FEEDS = (EVENTS, COMPANIES)


def put(root: Path, name: str) -> Path:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"1\n")
    return path


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (b"events/a.jsonl", "events/a.jsonl"),
        ("\u00e9/\u4e2d".encode(), "\u00e9/\u4e2d"),
        (b"caf\xe9", "caf\\xe9"),
        (b"caf\\xe9", "caf\\\\xe9"),
        (b"\\\xff\\", "\\\\\\xff\\\\"),
        (b"\xed\xa0\x80", "\\xed\\xa0\\x80"),
        (b"a\nb\tc", "a\nb\tc"),
    ],
)
def test_a_name_says_its_bytes(path: bytes, name: str) -> None:
    assert encode_name(path) == name


@given(st.binary(), st.binary())
def test_names_never_collide(one: bytes, other: bytes) -> None:
    assert (encode_name(one) == encode_name(other)) == (one == other)


def test_files_of_feeds_are_listed_by_name_with_size_and_time(tmp_path: Path) -> None:
    for name in ("events/b.jsonl", "events/B.json", "events/b/.x/_a.ndjson.gz", "companies.json"):
        put(tmp_path, name)
    os.utime(tmp_path / "companies.json", ns=(0, 1_700_000_000_123_456_789))
    listing = list_raw(tmp_path, FEEDS)
    names = ["companies.json", "events/B.json", "events/b.jsonl", "events/b/.x/_a.ndjson.gz"]
    assert [file.name for file in listing.files] == names
    companies = listing.files[0]
    assert companies.feed is COMPANIES
    assert companies.path == os.fsencode(tmp_path / "companies.json")
    assert companies.size == 2
    assert companies.modified_at == datetime(2023, 11, 14, 22, 13, 20, 123456, tzinfo=UTC)
    assert (listing.ignored, listing.unreadable) == ((), ())


def test_everything_else_is_listed_with_its_reason(tmp_path: Path) -> None:
    root = tmp_path / "raw"
    for name in ("events/a.jsonl", "events/a.csv", "events/x/batch_meta.json", "readme.json", "companies/a.json"):
        put(root, name)
    put(tmp_path, "outside.jsonl")
    events = root / "events"
    (events / "inside.jsonl").symlink_to("a.jsonl")
    (events / "folder").symlink_to("x")
    (events / "loop").symlink_to("loop")
    (events / "dangling.jsonl").symlink_to("gone.jsonl")
    (events / "out.jsonl").symlink_to(tmp_path / "outside.jsonl")
    (events / "up").symlink_to("../..")
    os.mkfifo(events / "pipe.jsonl")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(os.path.relpath(events / "socket.jsonl"))
        listing = list_raw(root, FEEDS)
    assert [file.name for file in listing.files] == ["events/a.jsonl"]
    inside = "a link; its target is read under its own path"
    assert dict(listing.ignored) == {
        "companies/a.json": "no feed has files here",
        "events/a.csv": "its name does not end in .jsonl, .ndjson or .json, nor in one of these and .gz",
        "events/dangling.jsonl": "a link whose target does not exist",
        "events/folder": inside,
        "events/inside.jsonl": inside,
        "events/loop": "a link whose target does not exist",
        "events/out.jsonl": "a link that leaves the raw root",
        "events/pipe.jsonl": "not a regular file (a pipe, socket or device)",
        "events/socket.jsonl": "not a regular file (a pipe, socket or device)",
        "events/up": "a link that leaves the raw root",
        "events/x/batch_meta.json": "excluded by the feed driver_events",
        "readme.json": "no feed has files here",
    }
    assert listing.ignored == tuple(sorted(listing.ignored))


def test_the_raw_root_may_be_a_link(tmp_path: Path) -> None:
    put(tmp_path, "real/events/a.jsonl")
    (tmp_path / "real/events/b.jsonl").symlink_to(tmp_path / "real/events/a.jsonl")
    (tmp_path / "raw").symlink_to("real")
    listing = list_raw(tmp_path / "raw", FEEDS)
    assert [file.name for file in listing.files] == ["events/a.jsonl"]
    assert dict(listing.ignored) == {"events/b.jsonl": "a link; its target is read under its own path"}


def test_a_name_beside_the_raw_root_that_begins_like_it_is_outside(tmp_path: Path) -> None:
    put(tmp_path, "raw2/a.jsonl")
    (tmp_path / "raw").mkdir()
    (tmp_path / "raw/a.jsonl").symlink_to(tmp_path / "raw2/a.jsonl")
    assert list_raw(tmp_path / "raw", FEEDS).ignored == (("a.jsonl", "a link that leaves the raw root"),)


def test_times_that_no_table_can_hold_are_cut(tmp_path: Path) -> None:
    path = put(tmp_path, "events/a.jsonl")
    for seconds, year in ((-(10**10), 1900), (10**10, 2286), (-1, 1969)):
        try:
            os.utime(path, (seconds, seconds))
        except OSError:
            continue
        if os.stat(path).st_mtime == seconds:  # noqa: PTH116 - not every file system keeps such times
            assert list_raw(tmp_path, FEEDS).files[0].modified_at.year == year


def test_a_raw_root_that_is_missing_or_no_folder_is_said_with_the_cure(tmp_path: Path) -> None:
    put(tmp_path, "file")
    for root, found in ((tmp_path / "gone", "No such file"), (tmp_path / "file", "Not a directory")):
        with pytest.raises(IngestError, match=found) as error:
            list_raw(root, FEEDS)
        assert str(error.value).startswith(f"{root}: ")
        assert "--raw" in str(error.value)
        assert "python -m ingest sample" in str(error.value)


def forbid(folder: Path) -> None:
    """Make a folder that cannot be listed: root may open all, so a path that is too long stands in for that."""
    folder.mkdir(exist_ok=True)
    if os.geteuid() != 0:
        (folder / "forbidden").mkdir(mode=0)
        return
    opened = os.open(folder, os.O_RDONLY)
    for _ in range(25):
        os.mkdir("x" * 200, dir_fd=opened)
        deeper = os.open("x" * 200, os.O_RDONLY, dir_fd=opened)
        os.close(opened)
        opened = deeper
    os.close(opened)


def test_a_folder_that_cannot_be_listed_matters_only_where_a_feed_has_files(tmp_path: Path) -> None:
    forbid(tmp_path / "lost+found")
    listing = list_raw(tmp_path, FEEDS)
    assert listing.unreadable == ()
    ((name, sentence),) = listing.ignored
    assert name.startswith("lost+found/")
    assert sentence.startswith("this folder cannot be listed: ")


def test_a_folder_that_cannot_be_listed_is_unreadable_and_stops_no_other(tmp_path: Path) -> None:
    put(tmp_path, "events/a.jsonl")
    forbid(tmp_path / "events")
    listing = list_raw(tmp_path, FEEDS)
    assert [file.name for file in listing.files] == ["events/a.jsonl"]
    ((name, sentence),) = listing.unreadable
    assert name.startswith("events/")
    assert sentence.startswith("this folder cannot be listed: ")
