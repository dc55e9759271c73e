"""Places in an S3 store of this machine, beside folders of its disk."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from deploy.store import at, send_folder
from ingest.discovery import list_raw, raw_path
from ingest.errors import IngestError
from ingest.feeds import read_feeds
from ingest.lake import Lake, hold, is_lake, tables_of
from ingest.places import names_in, place, remove, send, sizes_in, write_whole
from ingest.raw_records import raw_records
from ingest.reading import RawInput, UnreadableError, open_raw
from tests.integration.worker import PROJECT
from tests.stores import running_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FEEDS = read_feeds(PROJECT / "models" / "bronze" / "_sources.yml")
ODD_NAMES = ("a::b.jsonl", "a b.jsonl", "a\\b.jsonl", "é.jsonl", "a%20b.jsonl", "a#b.jsonl")


@pytest.fixture(scope="module")
def one_store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with running_store(tmp_path_factory.mktemp("store")):
        yield


@pytest.fixture
def folder(one_store: None, request: pytest.FixtureRequest) -> Path:
    del one_store
    return at(request.node.name)


@pytest.mark.parametrize(
    "text", ["s3://fleet/lake", "gs://fleet/lake", "s3a://fleet", "s3a://fleet/", "s3a:///lake", "s3a://"]
)
def test_what_is_no_place_is_said(text: str) -> None:
    with pytest.raises(IngestError, match="wanted a folder, or a place in an S3 store as s3a://bucket/name"):
        place(text)


def test_files_of_a_store_are_as_those_of_a_disk(folder: Path, tmp_path: Path) -> None:
    assert names_in(folder) == []
    assert sizes_in(folder) == {}
    remove(folder)
    (tmp_path / "file").write_bytes(b"1234")
    send(tmp_path / "file", folder / "a" / "file")
    write_whole(folder / "b.json", b"12")
    write_whole(folder / "b.json", b"1")
    assert sorted(names_in(folder)) == ["a", "b.json"]
    assert sizes_in(folder) == {"a/file": 4, "b.json": 1}
    assert (folder / "b.json").read_bytes() == b"1"
    remove(folder)
    assert names_in(folder) == []


def test_raw_files_of_every_name_are_listed_and_read(folder: Path, tmp_path: Path) -> None:
    events = tmp_path / "raw" / "events"
    events.mkdir(parents=True)
    for name in ODD_NAMES:
        (events / name).write_bytes(name.encode() + b"\n")
    (tmp_path / "raw" / "notes.txt").touch()
    send_folder(tmp_path / "raw", folder)
    there, here = list_raw(folder, FEEDS), list_raw(tmp_path / "raw", FEEDS)
    assert [(file.name, file.size) for file in there.files] == [(file.name, file.size) for file in here.files]
    assert there.ignored == here.ignored
    for file in there.files:
        assert file.path == raw_path(folder, file.name)
        raw = RawInput(open_raw(file.path))
        content = b"".join(raw.text(is_named_gzip=False, max_bytes=100))
        assert content.decode().strip() in ODD_NAMES
        assert raw.modified_at == file.modified_at
        assert list(raw_records(file.path, is_document=False)) == [(1, content.strip())]


def test_an_object_that_is_replaced_while_it_is_read_is_never_read_for_the_other(folder: Path) -> None:
    write_whole(folder / "a.jsonl", b"1\n" * 40_000_000)
    raw = RawInput(open_raw(raw_path(folder, "a.jsonl")))
    pieces = raw.text(is_named_gzip=False, max_bytes=1 << 30)
    next(pieces)
    write_whole(folder / "a.jsonl", b"2\n" * 40_000_000)
    with pytest.raises(UnreadableError):
        list(pieces)


def test_no_raw_files_are_said(folder: Path) -> None:
    for root, why in [(folder, "nothing is there"), (place("s3a://nobody/raw"), "bucket does not exist")]:
        with pytest.raises(IngestError, match=f"{root}: the raw files were looked for in this folder: .*{why}"):
            list_raw(root, FEEDS)


def test_a_lake_in_a_store_is_marked_for_other_machines(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    lake = Lake(folder)
    assert not is_lake(lake)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "here"))
    hold(lake, "ingest.lock", "works").close()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "there"))
    assert is_lake(lake)
    write_whole(folder / "staging" / "driver_events" / "part-00000.txt", b"")
    hold(lake, "ingest.lock", "works").close()
    assert tables_of(lake) == []


def test_a_place_of_other_things_is_refused(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    write_whole(folder / "notes.json", json.dumps({}).encode())
    with pytest.raises(IngestError, match="holds other things than a lake"):
        hold(Lake(folder), "ingest.lock", "works")
