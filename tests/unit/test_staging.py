"""What one load reads of each file, told with real files."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import tracemalloc
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import count, pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ingest import reading
from ingest.changes import changed_files
from ingest.discovery import Listing, RawFile, list_raw
from ingest.feeds import Feed
from ingest.lake import Lake
from ingest.scanning import Limits
from ingest.staging import stage
from ingest.versions import FileVersion, Load, StagedLoad

if TYPE_CHECKING:
    from collections.abc import Callable

EVENTS = Feed("driver_events", ("events/**",), ("batch_meta.json",), "skip", ("event_id",))
COMPANIES = Feed("companies", ("companies*",), (), "load", ("company_id",))
NEVER = 10.0**9
NOT_IN_THE_LAKE = {"layout": None, "has_bom": False, "held_back_bytes": 0, "read_to": 0, "open_line_at": None}


@dataclass
class Pipeline:
    """A raw root, and what a lake would know of it after each run; a run takes place ten minutes after the last."""

    folder: Path
    clock: datetime = field(default_factory=lambda: datetime.now(UTC).replace(microsecond=0) + timedelta(minutes=10))
    load_id: int = 0
    manifests: dict[tuple[int, str], FileVersion] = field(default_factory=dict)
    known: dict[str, FileVersion] = field(default_factory=dict)
    contents: dict[str, list[FileVersion]] = field(default_factory=dict)
    opened: tuple[RawFile, ...] = ()
    seen: dict[str, tuple[int, str]] = field(default_factory=dict)
    rows: list[tuple[str, int, bytes]] = field(default_factory=list)
    too_long: list[bool] = field(default_factory=list)
    progress: list[tuple[str, str, int, int]] = field(default_factory=list)

    def put(self, name: str | bytes, data: bytes, *, age: float = 300) -> None:
        """Write a file that, at the next run, was modified `age` seconds ago."""
        path = os.path.join(os.fsencode(self.folder), b"raw", os.fsencode(name))  # noqa: PTH118
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120
        with open(path, "wb") as file:  # noqa: PTH123
            file.write(data)
        modified = self.clock.timestamp() - age
        os.utime(path, (modified, modified))

    def run(self, limits: Limits = Limits(), *, raw: Listing | None = None) -> StagedLoad:  # noqa: B008
        """Stage one load and remember it."""
        self.load_id += 1
        listing = raw or list_raw(self.folder / "raw", (EVENTS, COMPANIES))
        self.opened = changed_files(listing, self.known, self.seen, now=self.clock, limits=limits)
        lake = Lake(self.folder / "lake")
        load = stage(
            self.opened,
            self.known,
            self.contents,
            load=Load(self.load_id, self.clock, lake, limits),
            resume=lambda version: self.manifests.get((version.load_id, version.source_file)),
            now=lambda: self.clock,
            run=lambda function, tasks, _size: map(function, tasks),
            on_progress=lambda *told: self.progress.append(told),
        )
        self._remember(load, lake)
        self.clock += timedelta(minutes=10)
        return load

    def _remember(self, load: StagedLoad, lake: Lake) -> None:
        self.rows, self.too_long = [], []
        self.seen |= load.seen
        for feed, parts in load.parts.items():
            for part in parts:
                table = pq.read_table(lake.table(f"bronze.{feed}") / part.path)
                for row in table.to_pylist():
                    record = row["_raw"].encode() if row["_raw_bytes"] is None else row["_raw_bytes"]
                    self.rows.append((row["_source_file"], row["_source_line"], record))
                    self.too_long.append(row["_defect"] == "too_long")
        there = {path.name for path in lake.root.glob(f"bronze/*/load-{self.load_id:010}-*")}
        assert there == {part.path for parts in load.parts.values() for part in parts}
        for version in load.versions:
            rows = [row for row in self.rows if row[0] == version.source_file]
            assert version.records == len(rows)
            assert version.lines == version.records + version.blank_lines
            assert all(0 <= row[1] - version.first_line < version.lines for row in rows)
            kept = [record for _, _, record in rows]
            assert version.bytes == sum(map(len, kept)) + version.cut_bytes + version.other_bytes
            assert [wanted for _, wanted in version.record_hashes] == [
                sha256(b"".join(record + b"\n" for _, line, record in rows if first <= line < last))
                for (first, _), (last, _) in pairwise([*version.record_hashes, (10**9, "")])
            ]
            self.manifests[version.load_id, version.source_file] = version
            row = replace(version, **NOT_IN_THE_LAKE)  # type: ignore[arg-type]
            self.known[version.source_file] = row
            if version.status in ("loaded", "appended", "replaced"):
                self.contents.setdefault(version.source_file_id, []).append(row)

    def records(self) -> list[bytes]:
        return [record for _, _, record in self.rows]


@pytest.fixture
def pipeline(tmp_path: Path) -> Pipeline:
    return Pipeline(tmp_path)


def statuses(load: StagedLoad) -> dict[str, str]:
    return {version.source_file: version.status for version in load.versions}


def only(load: StagedLoad) -> FileVersion:
    (version,) = load.versions
    return version


def sha256(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


# Lines


def test_a_new_file_of_lines_is_loaded_with_its_line_numbers(pipeline: Pipeline) -> None:
    data = b'{"a":1}\r\n\n \t\r\nbroken\tline\n{"a":2}'
    pipeline.put("events/a.jsonl", data)
    version = only(pipeline.run())
    assert pipeline.rows == [
        ("events/a.jsonl", 1, b'{"a":1}'),
        ("events/a.jsonl", 4, b"broken\tline"),
        ("events/a.jsonl", 5, b'{"a":2}'),
    ]
    assert version == FileVersion(
        feed="driver_events",
        source_file="events/a.jsonl",
        source_file_id=sha256(data),
        load_id=1,
        loaded_at=pipeline.clock - timedelta(minutes=10),
        status="loaded",
        reason=None,
        bytes=len(data),
        lines=5,
        blank_lines=2,
        records=3,
        defective_records=1,
        first_line=1,
        file_bytes=len(data),
        content_id=sha256(data),
        previous_file_id=None,
        modified_at=pipeline.clock - timedelta(minutes=15),
        layout="lines",
        has_bom=False,
        held_back_bytes=0,
        read_to=len(data),
        open_line_at=len(data) - 7,
        record_hashes=((1, sha256(b'{"a":1}\nbroken\tline\n')), (5, sha256(b'{"a":2}\n'))),
        cut_bytes=0,
        other_bytes=8,
    )


@pytest.mark.parametrize(
    ("data", "records"),
    [
        (b"", []),
        (b"\n", []),
        (b"1", [b"1"]),
        (b"a\rb\rc", [b"a\rb\rc"]),
        (b"a\r\r\nb\r\n", [b"a\r", b"b"]),
        (b"\x0b\n\xff\xfe\x00\n", [b"\x0b", b"\xff\xfe\x00"]),
        (b"\xef\xbb\xbf1\n\xef\xbb\xbf2\n", [b"1", b"\xef\xbb\xbf2"]),
        (b"\xef\xbb\xbf", []),
    ],
)
def test_line_ends_and_a_mark_are_taken_off_and_nothing_else(
    pipeline: Pipeline, data: bytes, records: list[bytes]
) -> None:
    pipeline.put("events/a.jsonl", data)
    version = only(pipeline.run())
    assert pipeline.records() == records
    assert (version.bytes, version.read_to, version.content_id) == (len(data), len(data), sha256(data))
    assert version.has_bom == data.startswith(b"\xef\xbb\xbf")


@settings(max_examples=60, deadline=None)
@given(data=st.lists(st.sampled_from([b"\n", b"\r\n", b"\r", b" ", b"\t", b"ab", b"{}"])).map(b"".join))
def test_a_file_can_be_rebuilt_from_its_records(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    pipeline = Pipeline(tmp_path_factory.mktemp("pipeline"))
    pipeline.put("events/a.ndjson", data)
    pipeline.run()
    lines = data.split(b"\n")
    expected = [line.removesuffix(b"\r") for line in lines[:-1]] + [lines[-1]]
    assert pipeline.rows == [
        ("events/a.ndjson", number, line) for number, line in enumerate(expected, 1) if line.strip(b" \t\r")
    ]


@pytest.mark.parametrize(
    "name",
    [
        b"events/_x/_a.jsonl",
        b"events/.x/.a.jsonl",
        b"events/a:b.jsonl",
        b"events/[x]*?.jsonl",
        b"events/%20 .jsonl",
        "events/\u00e9\u4e2d.JSONL".encode(),
        b"events/caf\xe9.ndjson",
        b"events/back\\slash.json",
        b"events/new\nline\t.jsonl",
        b"events/" + b"deep/" * 50 + b"a.jsonl",
    ],
)
def test_a_file_of_any_name_is_read(pipeline: Pipeline, name: bytes) -> None:
    pipeline.put(name, b"{}\n")
    assert only(pipeline.run()).status == "loaded"
    assert pipeline.records() == [b"{}"]
    assert pipeline.run().versions == ()


def test_files_get_their_numbers_and_rows_in_the_order_of_their_names(pipeline: Pipeline) -> None:
    for name in ("events/b.jsonl", "companies.jsonl", "events/a.jsonl", "events/a/z.jsonl"):
        pipeline.put(name, name.encode())
    load = pipeline.run()
    names = ["companies.jsonl", "events/a.jsonl", "events/a/z.jsonl", "events/b.jsonl"]
    assert [version.source_file for version in load.versions] == names
    assert [name for name, _, _ in pipeline.rows] == names
    assert set(load.parts) == {"companies", "driver_events"}


def test_a_record_that_is_too_long_is_cut_and_costs_no_other(pipeline: Pipeline) -> None:
    long = b'"' + b"x" * 200_000 + b'"'
    pipeline.put("events/a.jsonl", b"1\n" + long + b"\r\n2\n" + b" " * 900_000 + b"\n3\n" + long)
    version = only(pipeline.run(Limits(max_record_bytes=100_000)))
    assert pipeline.rows == [
        ("events/a.jsonl", 1, b"1"),
        ("events/a.jsonl", 2, long[:65_536]),
        ("events/a.jsonl", 3, b"2"),
        ("events/a.jsonl", 5, b"3"),
        ("events/a.jsonl", 6, long[:65_536]),
    ]
    assert pipeline.too_long == [False, True, False, False, True]
    assert version.blank_lines == 1


@pytest.mark.parametrize("length", [9, 10, 11])
def test_the_longest_record_allowed_is_kept_whole(pipeline: Pipeline, length: int) -> None:
    pipeline.put("events/a.jsonl", b"x" * length + b"\r\n1\n")
    pipeline.run(Limits(max_record_bytes=10))
    assert pipeline.records() == [b"x" * length, b"1"]
    assert pipeline.too_long == [length > 10, False]


@pytest.mark.parametrize("extra", [0, 1])
def test_the_longest_record_allowed_may_come_in_pieces(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, extra: int
) -> None:
    monkeypatch.setattr("ingest.reading._PIECE_BYTES", 100_001 + extra)  # the last one begins with the LF
    pipeline.put("events/a.jsonl", b"x" * (100_000 + extra) + b"\r\n1\n")
    pipeline.run(Limits(max_record_bytes=100_000))
    assert pipeline.too_long == [bool(extra), False]


def test_a_long_line_and_a_gzip_bomb_take_little_memory(pipeline: Pipeline) -> None:
    bomb = gzip.compress(b"x" * 50_000_000 + b"\n{}\n")
    pipeline.put("events/bomb.jsonl", bomb)
    tracemalloc.start()
    pipeline.run(Limits(max_record_bytes=1 << 20))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert pipeline.too_long == [True, False]
    assert peak < 12_000_000


def test_a_file_that_fails_late_leaves_nothing_in_the_part_that_others_are_in(pipeline: Pipeline) -> None:
    pipeline.put("events/a.jsonl", b"1\n2\n3\n")
    pipeline.put("events/b.jsonl", gzip.compress(os.urandom(1 << 20).hex().encode() + b"\n" + b"x\n" * (1 << 20))[:-1])
    pipeline.put("events/c.json", b"[1,2,[" + b"3," * (1 << 20))
    pipeline.put("events/d.jsonl", b"4\n")
    load = pipeline.run()
    assert [version.status for version in load.versions] == ["loaded", "failed", "loaded", "loaded"]
    assert [(name, line) for name, line, _ in pipeline.rows] == [
        ("events/a.jsonl", 1),
        ("events/a.jsonl", 2),
        ("events/a.jsonl", 3),
        ("events/c.json", 1),
        ("events/d.jsonl", 1),
    ]


@pytest.mark.parametrize("pack", [bytes, gzip.compress])
def test_a_large_file_is_cut_at_line_ends_and_shared_by_several_parts(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, pack: Callable[[bytes], bytes]
) -> None:
    monkeypatch.setattr("ingest.scanning.STRETCH_BYTES", 10)
    monkeypatch.setattr("ingest.reading._PIECE_BYTES", 4)
    monkeypatch.setattr("ingest.staging.WORTH_A_PROCESS_BYTES", 1)
    monkeypatch.setattr("ingest.staging.CORES", 3)
    lines = [b"%d" % number * (number % 4) for number in range(40)]
    pipeline.put("events/a.jsonl", pack(b"\xef\xbb\xbf" + b"\r\n".join(lines)))
    load = pipeline.run()
    assert pipeline.rows == [("events/a.jsonl", n, line) for n, line in enumerate(lines, 1) if line]
    assert len(load.parts["driver_events"]) == (3 if pack is bytes else 1)
    (version,) = load.versions
    assert (version.lines, version.bytes) == (40, 3 + sum(map(len, lines)) + 2 * 39)


def test_a_name_too_long_for_parquets_statistics_has_none_in_deltas(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ingest.parts._BATCH_BYTES", 1)
    monkeypatch.setattr("ingest.parts._ROW_GROUP_BYTES", 1)
    pipeline.put("events/a.jsonl", b"1\n")
    pipeline.put(b"events/" + b"/".join([b"\xff" * 200] * 6) + b"/z.jsonl", b"2\n")
    ((part,),) = pipeline.run().parts.values()
    statistics = json.loads(part.statistics)
    assert "_source_file" not in statistics["minValues"].keys() | statistics["maxValues"].keys()
    assert statistics["maxValues"]["_source_line"] == 1


# Growth


def test_a_grown_file_is_appended_and_its_line_numbers_go_on(pipeline: Pipeline) -> None:
    pipeline.put("events/a.jsonl", b"1\n\n")
    first = only(pipeline.run())
    pipeline.put("events/a.jsonl", b"1\n\n2\n")
    version = only(pipeline.run())
    assert (version.status, version.first_line, version.lines, version.bytes) == ("appended", 3, 1, 2)
    assert version.previous_file_id == first.source_file_id
    assert pipeline.rows == [("events/a.jsonl", 3, b"2")]


def test_a_grown_gzip_is_measured_by_its_text(pipeline: Pipeline) -> None:
    pipeline.put("events/a.jsonl.gz", gzip.compress(b"1\n"))
    pipeline.run()
    pipeline.put("events/a.jsonl.gz", gzip.compress(b"1\n2\n", compresslevel=1))
    assert only(pipeline.run()).status == "appended"
    assert pipeline.rows == [("events/a.jsonl.gz", 2, b"2")]
    pipeline.put("events/a.jsonl.gz", gzip.compress(b"1\n2\n") + gzip.compress(b"3\n"))
    only(pipeline.run())
    assert pipeline.rows == [("events/a.jsonl.gz", 3, b"3")]


def test_the_same_text_compressed_anew_is_appended_with_nothing(pipeline: Pipeline) -> None:
    pipeline.put("events/a.jsonl.gz", gzip.compress(b"1\n2"))
    pipeline.run()
    pipeline.put("events/a.jsonl.gz", gzip.compress(b"1\n") + gzip.compress(b"2"))
    version = only(pipeline.run())
    assert (version.status, version.lines, version.bytes, version.open_line_at) == ("appended", 0, 0, 2)
    pipeline.put("events/a.jsonl.gz", gzip.compress(b"1\n2\n3\n"))
    pipeline.run()
    assert pipeline.rows == [("events/a.jsonl.gz", 3, b"3")]


@pytest.mark.parametrize("data", [b"2\n1\n", b"1", b"", b"12\n3\n", b"\xef\xbb\xbf1\n2\n"])
def test_a_file_that_does_not_begin_with_its_old_text_is_replaced(pipeline: Pipeline, data: bytes) -> None:
    pipeline.put("companies.jsonl", b"1\n2\n")
    first = only(pipeline.run())
    pipeline.put("companies.jsonl", data)
    version = only(pipeline.run())
    assert (version.status, version.first_line, version.bytes) == ("replaced", 1, len(data))
    assert version.previous_file_id == first.source_file_id


def test_an_unterminated_line_whose_line_end_came_is_not_read_again(pipeline: Pipeline) -> None:
    for end in (b"\n", b"\r\n"):
        name = f"events/{len(end)}.jsonl"
        pipeline.put(name, b"0\n{}")
        pipeline.run()
        pipeline.put(name, b"0\n{}" + end)
        version = only(pipeline.run())
        assert (version.status, version.bytes, version.lines, version.first_line) == (
            "appended",
            len(end),
            0,
            3,
        )
        pipeline.put(name, b"0\n{}" + end + b"[]\n")
        pipeline.run()
        assert pipeline.rows == [(name, 3, b"[]")]


def test_a_line_end_that_came_in_two_pieces_is_one(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ingest.reading._PIECE_BYTES", 4)
    pipeline.put("events/a.jsonl", b"[1]")
    pipeline.run()
    pipeline.put("events/a.jsonl", b"[1]\r\n[2]\n")
    assert only(pipeline.run()).first_line == 2
    assert pipeline.rows == [("events/a.jsonl", 2, b"[2]")]


def test_a_broken_last_line_that_was_read_is_read_again_when_it_is_whole(pipeline: Pipeline) -> None:
    pipeline.put("events/a.jsonl", b'1\n{"a":')
    assert only(pipeline.run()).records == 2
    pipeline.put("events/a.jsonl", b'1\n{"a":1}\n2\n')
    version = only(pipeline.run())
    assert pipeline.rows == [("events/a.jsonl", 2, b'{"a":1}'), ("events/a.jsonl", 3, b"2")]
    assert (version.first_line, version.lines, version.bytes) == (2, 2, 10)


def test_a_long_unterminated_line_is_continued_too(pipeline: Pipeline) -> None:
    limits = Limits(max_record_bytes=100_000)
    pipeline.put("events/a.jsonl", b"1\n" + b"x" * 200_000)
    pipeline.run(limits)
    pipeline.put("events/a.jsonl", b"1\n" + b"x" * 200_001 + b"\n2\n")
    version = only(pipeline.run(limits))
    assert pipeline.rows == [("events/a.jsonl", 2, b"x" * 65_536), ("events/a.jsonl", 3, b"2")]
    assert version.bytes == 200_004


def test_a_lone_cr_after_a_line_that_was_read_waits_for_its_lf(pipeline: Pipeline) -> None:
    pipeline.put("events/a.jsonl", b"{}", age=1)
    pipeline.run()
    pipeline.put("events/a.jsonl", b"{}\r", age=1)
    version = only(pipeline.run())
    assert (version.status, version.lines, version.held_back_bytes) == ("appended", 0, 1)
    pipeline.put("events/a.jsonl", b"{}\r\n[]\n", age=1)
    assert only(pipeline.run()).bytes == 5
    assert pipeline.rows == [("events/a.jsonl", 2, b"[]")]


def test_a_lone_cr_that_came_to_rest_is_part_of_its_line(pipeline: Pipeline) -> None:
    pipeline.put("events/a.jsonl", b"{}", age=1)
    pipeline.run()
    pipeline.put("events/a.jsonl", b"{}\r", age=1)
    pipeline.run()
    version = only(pipeline.run())
    assert (version.status, version.bytes, version.first_line, version.reason) == ("appended", 3, 1, None)
    assert pipeline.rows == [("events/a.jsonl", 1, b"{}\r")]


def test_a_broken_line_that_grows_but_waits_still_counts_as_read(pipeline: Pipeline) -> None:
    pipeline.put("companies.jsonl", b'1\n{"a":')
    first = only(pipeline.run())
    pipeline.put("companies.jsonl", b'1\n{"a":1', age=1)
    version = only(pipeline.run())
    assert (version.status, version.first_line, version.lines, version.bytes) == ("appended", 3, 0, 0)
    assert (version.held_back_bytes, version.read_to, version.open_line_at) == (1, 7, 2)
    assert version.content_id == first.content_id
    pipeline.put("companies.jsonl", b"1\n[\n")
    assert only(pipeline.run()).status == "replaced"
    assert pipeline.records() == [b"1", b"["]


def test_a_broken_line_that_grew_and_waited_is_read_when_the_file_rests(pipeline: Pipeline) -> None:
    pipeline.put("events/a.jsonl", b'1\n{"a":')
    pipeline.run()
    pipeline.put("events/a.jsonl", b'1\n{"a":1', age=1)
    pipeline.run()
    version = only(pipeline.run())
    assert (version.status, version.first_line, version.lines, version.bytes) == ("appended", 2, 1, 6)
    assert pipeline.rows == [("events/a.jsonl", 2, b'{"a":1')]


def test_a_grown_file_whose_manifest_is_lost_is_replaced(pipeline: Pipeline) -> None:
    pipeline.put("events/a.jsonl", b"1\n")
    pipeline.run()
    pipeline.manifests.clear()
    pipeline.put("events/a.jsonl", b"1\n2\n")
    assert only(pipeline.run()).status == "replaced"
    assert pipeline.records() == [b"1", b"2"]


@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_however_a_growing_file_is_met_every_line_is_read_once_and_whole(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    line = st.sampled_from([b'{"a":1}', b"[2, 3]", b'"\xc3\xa9"', b"", b" \t", b'{"b":{"c":"\\n"}}'])
    end = st.sampled_from([b"\n", b"\r\n"])
    lines = data.draw(st.lists(st.tuples(line, end), max_size=8))
    text = data.draw(st.sampled_from([b"", b"\xef\xbb\xbf"])) + b"".join(a + b for a, b in lines)
    cuts = data.draw(st.sets(st.integers(0, len(text)))) | {len(text)}
    is_gzip = data.draw(st.booleans())
    pipeline = Pipeline(tmp_path_factory.mktemp("pipeline"))
    rows = []
    read = blank = 0
    for cut in sorted(cuts):
        pipeline.put("events/a.jsonl", gzip.compress(text[:cut]) if is_gzip else text[:cut], age=1)
        load = pipeline.run(Limits(settle_seconds=NEVER))
        rows += pipeline.rows
        read += sum(version.bytes for version in load.versions)
        blank += sum(version.blank_lines for version in load.versions)
    expected = [(number, record) for number, (record, _) in enumerate(lines, 1) if record.strip()]
    assert [(number, record) for _, number, record in rows] == expected
    assert blank == len(lines) - len(expected)
    assert read == len(text)
    assert pipeline.run(Limits(settle_seconds=NEVER)).versions == ()


FRAGMENTS = [b"\n", b"\r\n", b"\r", b" ", b'{"a":1}', b'{"a":', b"1}", b"12", b'"\xff"', b"x" * 40, b"\xef\xbb\xbf"]


@settings(max_examples=150, deadline=None)
@given(
    growth=st.lists(
        st.tuples(st.lists(st.sampled_from(FRAGMENTS), max_size=4).map(b"".join), st.sampled_from([1, 300])), max_size=8
    ),
    pack=st.sampled_from([bytes, gzip.compress]),
    piece=st.integers(4, 12),
)
def test_only_a_line_that_has_grown_since_it_was_read_is_read_again(
    tmp_path_factory: pytest.TempPathFactory,
    growth: list[tuple[bytes, int]],
    pack: Callable[[bytes], bytes],
    piece: int,
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ingest.reading._PIECE_BYTES", piece)
        grow_and_read(Pipeline(tmp_path_factory.mktemp("pipeline")), growth, pack)


def grow_and_read(pipeline: Pipeline, growth: list[tuple[bytes, int]], pack: Callable[[bytes], bytes]) -> None:
    text = b""
    lines: list[bytes] = []
    read: dict[int, bytes] = {}
    for more, age in [*growth, (b"", 300)]:
        text += more
        pipeline.put("companies.jsonl", pack(text), age=age)
        load = pipeline.run(Limits(max_record_bytes=30))
        lines = [line.removesuffix(b"\r") for line in text.removeprefix(b"\xef\xbb\xbf").split(b"\n")]
        for version in load.versions:
            assert version.status in ("loaded", "appended")
            assert version.read_to + version.held_back_bytes == len(text)
            assert version.content_id == sha256(text[: version.read_to])
        for _, number, record in pipeline.rows:
            now = text.removeprefix(b"\xef\xbb\xbf").split(b"\n")[number - 1]
            assert now.startswith(record)
            assert now != read.get(number)
            read[number] = now
    assert {number: line.rstrip(b"\r") for number, line in read.items()} == {
        number: line.rstrip(b"\r") for number, line in enumerate(lines, 1) if line.strip(b" \t\r")
    }


def test_a_file_that_grows_byte_by_byte_is_read_once(pipeline: Pipeline) -> None:
    text = b'\xef\xbb\xbf{"a":1}\r\n\r\n{"b":"\xc3\xa9"}\n{"c":[{}]}\r\n'
    rows = []
    for length in range(len(text) + 1):
        pipeline.put("events/a.jsonl", text[:length], age=1)
        pipeline.run()
        rows += [(number, record) for _, number, record in pipeline.rows]
    assert rows == [(1, b'{"a":1}'), (3, b'{"b":"\xc3\xa9"}'), (4, b'{"c":[{}]}')]


# The last line of a file that may still be written


@pytest.mark.parametrize("tail", [b'{"a":', b"  ", b"tru", b'{"a":1}\r', b"NaN", b'"\xff"', b"[1,]", b"\xef\xbb"])
def test_an_unfinished_last_line_is_held_back_until_the_file_rests(pipeline: Pipeline, tail: bytes) -> None:
    pipeline.put("events/a.jsonl", b"1\n" + tail, age=1)
    version = only(pipeline.run())
    assert (version.lines, version.held_back_bytes, version.read_to) == (1, len(tail), 2)
    assert version.reason == f"{len(tail)} bytes of an unfinished last line wait until the file comes to rest"
    assert version.content_id == sha256(b"1\n")
    later = only(pipeline.run())
    assert (later.status, later.reason, later.lines, later.first_line) == ("appended", None, 1, 2)
    assert later.source_file_id == version.source_file_id
    assert pipeline.run().versions == ()


@pytest.mark.parametrize("tail", [b'{"a":1}', b" [1] ", b"null", b"-1.5e9", b'"\xc3\xa9"', b"[" * 1000 + b"]" * 1000])
def test_a_last_line_that_is_a_json_value_is_not_held_back(pipeline: Pipeline, tail: bytes) -> None:
    pipeline.put("events/a.jsonl", b"1\n" + tail, age=1)
    assert only(pipeline.run()).held_back_bytes == 0
    assert pipeline.records() == [b"1", tail]


def test_a_held_back_line_is_not_touched_while_the_file_is_young(pipeline: Pipeline) -> None:
    pipeline.put("events/a.jsonl", b'{"a":', age=1)
    limits = Limits(settle_seconds=NEVER)
    pipeline.run(limits)
    pipeline.clock += timedelta(hours=1)
    assert pipeline.run(limits).versions == ()


def test_a_file_that_is_modified_while_it_is_read_counts_as_young(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.put("events/a.jsonl", b'1\n{"a":')
    path = pipeline.folder / "raw/events/a.jsonl"

    def grow() -> None:
        path.write_bytes(b'1\n{"a":1}\n')
        os.utime(path, (pipeline.clock.timestamp(),) * 2)

    listing = list_raw(pipeline.folder / "raw", (EVENTS,))
    after_read(monkeypatch, 1, grow)
    version = only(pipeline.run())
    assert (version.file_bytes, version.held_back_bytes, version.records) == (7, 5, 1)
    assert version.source_file_id == sha256(b'1\n{"a":')
    assert version.modified_at == listing.files[0].modified_at


OLD, NEW = b"".join(b"old %d\n" % n for n in range(99)), b"".join(b"new %d\n" % n for n in range(77))


def swap(path: Path, make: Callable[[Path], object]) -> None:
    path.unlink()
    make(path)


CHANGES: dict[str, Callable[[Path], object]] = {
    "appended to": lambda path: path.write_bytes(OLD + NEW),
    "replaced": lambda path: path.write_bytes(NEW),
    "swapped": lambda path: swap(path, lambda new: new.write_bytes(NEW)),
    "truncated": lambda path: os.truncate(path, 300),
    "emptied": lambda path: os.truncate(path, 0),
    "deleted": lambda path: path.unlink(),
    "made a folder": lambda path: swap(path, Path.mkdir),
    "made a pipe": lambda path: swap(path, os.mkfifo),
    "made a link": lambda path: swap(path, lambda new: new.symlink_to("/etc/passwd")),
}


def after_read(monkeypatch: pytest.MonkeyPatch, number: int, change: Callable[[], object]) -> None:
    """Change something once, after this many reads of files."""
    read_at = reading.DiskFile.read_at
    reads = count(1)

    def read_and_change(file: reading.DiskFile, offset: int, size: int) -> bytes:
        found = read_at(file, offset, size)
        if next(reads) == number:
            change()
        return found

    monkeypatch.setattr(reading.DiskFile, "read_at", read_and_change)


READS_OF_A_PASS = 7


@pytest.mark.parametrize("reads", [0, 1, READS_OF_A_PASS, READS_OF_A_PASS + 1])
@pytest.mark.parametrize("change", CHANGES)
def test_a_file_that_changes_after_it_was_listed_is_read_whole_in_the_end(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch, change: str, reads: int
) -> None:
    monkeypatch.setattr(reading, "_PIECE_BYTES", 100)
    path = pipeline.folder / "raw/companies.jsonl"
    pipeline.put("companies.jsonl", OLD)
    listing = list_raw(pipeline.folder / "raw", (COMPANIES,))
    if reads:
        after_read(monkeypatch, reads, lambda: CHANGES[change](path))
    else:
        CHANGES[change](path)
    pipeline.run(raw=listing)
    rows = list(pipeline.rows)
    pipeline.run()
    rows += pipeline.rows
    is_file = path.is_file() and not path.is_symlink()
    if is_file:
        os.utime(path, (0, 0))
    pipeline.run()
    rows += pipeline.rows
    records = [record for _, _, record in rows]
    assert len(records) == len(set(records)) or change in {"truncated", "emptied", "replaced", "swapped"}
    lines = {*OLD.split(b"\n"), *NEW.split(b"\n")}
    torn = [record for record in records if record not in lines]
    assert len(torn) <= 1 or change == "truncated"
    if is_file:
        assert {line for line in path.read_bytes().split(b"\n") if line} <= set(records)


def test_a_file_that_shrinks_while_it_is_read_is_what_it_was_in_the_end(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    pipeline.put("companies.jsonl", b"1\n" * (1 << 20))
    path = pipeline.folder / "raw/companies.jsonl"
    after_read(monkeypatch, 1, lambda: os.truncate(path, 2))
    version = only(pipeline.run())
    assert (version.file_bytes, version.source_file_id, version.records) == (2, sha256(b"1\n"), 1)
    assert pipeline.rows == [("companies.jsonl", 1, b"1")]


def test_a_gzip_that_turns_into_text_while_it_is_read_is_known_by_its_text(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    packed = gzip.compress(b"2\n")
    text = b"3\n".rjust(len(packed))
    path = pipeline.folder / "raw/companies.jsonl"
    pipeline.put("companies.jsonl", b"1\n")
    pipeline.run()
    pipeline.put("companies.jsonl", packed)
    after_read(monkeypatch, 1, lambda: path.write_bytes(text))
    version = only(pipeline.run())
    assert (version.status, version.source_file_id) == ("replaced", sha256(text))


def test_a_file_that_changes_at_every_reading_is_left_to_the_next_run_and_keeps_no_other(
    pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("a", "b", "c"):
        pipeline.put(f"events/{name}.jsonl", b"0\n")
    paths = [pipeline.folder / f"raw/events/{name}.jsonl" for name in ("a", "c")]
    versions = count(1)
    read_at = reading.DiskFile.read_at

    def read_and_change(file: reading.DiskFile, offset: int, size: int) -> bytes:
        found = read_at(file, offset, size)
        for path in paths:
            path.write_bytes(b"%d\n" % next(versions))
        return found

    monkeypatch.setattr(reading.DiskFile, "read_at", read_and_change)
    load = pipeline.run()
    assert statuses(load) == {"events/b.jsonl": "loaded"}
    why = "this file cannot be read: it changes while it is read, so the next run tries again"
    assert load.unreadable == (("events/a.jsonl", why), ("events/c.jsonl", why))
    assert next(versions) <= 40, "all that change are found in one pass"


# Which files are opened


def test_unchanged_files_are_not_opened(pipeline: Pipeline) -> None:
    pipeline.put("events/a.jsonl", b"1\n")
    pipeline.put("events/b.jsonl.gz", b"")
    pipeline.put("events/c.jsonl", b"1\n")
    load = pipeline.run()
    assert statuses(load) == {
        "events/a.jsonl": "loaded",
        "events/b.jsonl.gz": "failed",
        "events/c.jsonl": "duplicate_content",
    }
    assert pipeline.run().versions == ()
    assert pipeline.opened == ()


def test_a_touched_file_is_hashed_and_adds_nothing(pipeline: Pipeline) -> None:
    for data in (b"1\n", b"1\n"):
        pipeline.put("events/a.jsonl", data, age=200)
        load = pipeline.run()
        assert len(pipeline.opened) == 1
    assert (load.versions, load.parts) == ((), {})
    pipeline.run()
    assert pipeline.opened == ()


def test_a_file_that_was_just_written_is_hashed_once_more_and_then_left(pipeline: Pipeline) -> None:
    pipeline.clock = datetime.now(UTC)
    pipeline.put("events/a.jsonl", b"1\n")
    opened = []
    for _ in range(3):
        pipeline.run()
        opened.append(len(pipeline.opened))
    assert opened == [1, 1, 0]


def test_a_change_that_keeps_size_and_time_is_seen(pipeline: Pipeline) -> None:
    pipeline.put("companies.jsonl", b"1\n")
    status = (pipeline.folder / "raw/companies.jsonl").stat()
    pipeline.run()
    pipeline.put("companies.jsonl", b"2\n")
    os.utime(pipeline.folder / "raw/companies.jsonl", ns=(status.st_atime_ns, status.st_mtime_ns))
    assert only(pipeline.run()).status == "replaced"


def test_a_path_that_moved_to_another_feed_is_new_there(pipeline: Pipeline) -> None:
    pipeline.put("events/a.jsonl", b"1\n")
    pipeline.run()
    renamed = replace(EVENTS, name="trips")
    version = only(pipeline.run(raw=list_raw(pipeline.folder / "raw", (renamed,))))
    assert (version.feed, version.status, version.previous_file_id) == ("trips", "loaded", None)


# Repeated content


def test_repeated_events_are_duplicates_of_the_first_path_by_name(pipeline: Pipeline) -> None:
    for name in ("c", "a", "b"):
        pipeline.put(f"events/{name}.jsonl", b"1\n2")
    load = pipeline.run()
    assert [version.status for version in load.versions] == ["loaded", "duplicate_content", "duplicate_content"]
    twin = load.versions[1]
    assert twin.reason == "the same bytes were loaded from events/a.jsonl in load 1"
    assert (twin.bytes, twin.lines, twin.records, twin.file_bytes) == (0, 0, 0, 3)
    assert pipeline.rows == [("events/a.jsonl", 1, b"1"), ("events/a.jsonl", 2, b"2")]


def test_repeated_companies_are_loaded(pipeline: Pipeline) -> None:
    pipeline.put("companies.jsonl", b"1\n")
    pipeline.put("companies_2.jsonl", b"1\n")
    assert set(statuses(pipeline.run()).values()) == {"loaded"}


def test_events_are_no_duplicates_of_companies(pipeline: Pipeline) -> None:
    pipeline.put("companies.jsonl", b"1\n")
    pipeline.put("events/a.jsonl", b"1\n")
    assert set(statuses(pipeline.run()).values()) == {"loaded"}


def test_empty_files_are_duplicates_too(pipeline: Pipeline) -> None:
    for name in ("a.jsonl", "b.jsonl", "c.json"):
        pipeline.put(f"events/{name}", b"")
    assert [version.status for version in pipeline.run().versions] == [
        "loaded",
        "duplicate_content",
        "duplicate_content",
    ]


def test_a_file_that_returns_to_its_earlier_content_is_a_duplicate(pipeline: Pipeline) -> None:
    for data, status in ((b"1\n", "loaded"), (b"2\n", "replaced"), (b"1\n", "duplicate_content")):
        pipeline.put("events/a.jsonl", data)
        version = only(pipeline.run())
        assert version.status == status
    assert version.reason == "the same bytes were loaded from events/a.jsonl in load 1"


def test_a_duplicate_that_grows_is_appended(pipeline: Pipeline) -> None:
    pipeline.put("events/a.jsonl", b"1\n2")
    pipeline.put("events/b.jsonl", b"1\n2")
    pipeline.run()
    pipeline.put("events/b.jsonl", b"1\n2\n3\n")
    version = only(pipeline.run())
    assert (version.status, version.first_line) == ("appended", 3)
    assert pipeline.rows == [("events/b.jsonl", 3, b"3")]


def test_a_file_that_grows_into_known_content_is_a_duplicate(pipeline: Pipeline) -> None:
    pipeline.put("events/a.jsonl", b"1\n2\n")
    pipeline.put("events/b.jsonl", b"1\n")
    pipeline.run()
    pipeline.put("events/b.jsonl", b"1\n2\n")
    assert only(pipeline.run()).status == "duplicate_content"
    assert pipeline.rows == []


def test_content_that_was_not_read_whole_makes_no_duplicate(pipeline: Pipeline) -> None:
    for name in "ab":
        pipeline.put(f"events/{name}.jsonl", b'1\n{"a":', age=1)
    assert set(statuses(pipeline.run()).values()) == {"loaded"}


def test_a_young_copy_of_what_was_read_whole_is_a_duplicate(pipeline: Pipeline) -> None:
    pipeline.put("events/a.jsonl", b'1\n{"a":')
    pipeline.run()
    pipeline.put("events/b.jsonl", b'1\n{"a":', age=1)
    version = only(pipeline.run())
    assert (version.status, version.held_back_bytes) == ("duplicate_content", 0)
    pipeline.put("events/b.jsonl", b'1\n{"a":1}\n')
    pipeline.run()
    assert pipeline.rows == [("events/b.jsonl", 2, b'{"a":1}')]


def test_a_held_back_file_whose_bytes_came_whole_elsewhere_is_a_duplicate(pipeline: Pipeline) -> None:
    pipeline.put("events/b.jsonl", b'1\n{"a":', age=1)
    pipeline.run()
    pipeline.put("events/a.jsonl", b'1\n{"a":')
    assert statuses(pipeline.run()) == {"events/a.jsonl": "loaded", "events/b.jsonl": "duplicate_content"}


@pytest.mark.parametrize("first", ["events/a.json", "events/a.jsonl"])
def test_the_same_bytes_read_another_way_are_no_duplicate(pipeline: Pipeline, first: str) -> None:
    pipeline.put(first, b"[1,2]\n")
    pipeline.run()
    second = "events/b.jsonl" if first.endswith("json") else "events/b.json"
    pipeline.put(second, b"[1,2]\n")
    assert only(pipeline.run()).status == "loaded"


def test_the_same_bytes_read_as_lines_under_both_endings_are_duplicates(pipeline: Pipeline) -> None:
    pipeline.put("events/a.json", b"1\n2\n")
    pipeline.run()
    pipeline.put("events/b.jsonl", b"1\n2\n")
    assert only(pipeline.run()).status == "duplicate_content"
    pipeline.manifests.clear()
    pipeline.contents = {key: value[:1] for key, value in pipeline.contents.items()}
    pipeline.put("events/c.jsonl", b"1\n2\n")
    assert only(pipeline.run()).status == "loaded"


# Files that fail as a whole


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (gzip.compress(b"1\n" * 1000)[:-9], "truncated gzip"),
        (gzip.compress(b"1\n")[:-8] + bytes(8), "corrupt gzip"),
        (gzip.compress(b"1\n") + b"tail", "corrupt gzip"),
        (gzip.compress(b"1\n") + bytes(100) + b"tail", "corrupt gzip"),
        (b"\x1f\x8b", "truncated gzip"),
        (b"", "empty"),
        ("1\n".encode("utf-16"), "UTF-16"),
        ("1\n".encode("utf-16-be"), "UTF-16"),
        ("1\n".encode("utf-32"), "UTF-16"),
        ("1\n".encode("utf-32-le"), "UTF-16"),
        ("1\n".encode("utf-32-be"), "UTF-16"),
        ("\ufeff1".encode("utf-32-be"), "UTF-16"),
        (gzip.compress("{}".encode("utf-16-le")), "UTF-16"),
    ],
)
@pytest.mark.parametrize("name", ["events/a.jsonl.gz", "events/a.JSON.GZ"])
def test_a_file_that_is_unusable_fails_and_stops_no_other(
    pipeline: Pipeline, name: str, data: bytes, found: str
) -> None:
    pipeline.put(name, data)
    pipeline.put("events/b.jsonl", b"1\n")
    load = pipeline.run()
    version = load.versions[0]
    assert version.status == "failed"
    assert found in (version.reason or "")
    assert (version.source_file_id, version.file_bytes) == (sha256(data), len(data))
    assert (version.bytes, version.records, version.content_id, version.layout) == (0, 0, None, None)
    assert pipeline.rows == [("events/b.jsonl", 1, b"1")]
    pipeline.put(name, data, age=200)
    assert pipeline.run().versions == ()


@pytest.mark.parametrize("start", [b"\0", b"{}\0", b"\0\0\0\0\0\0", b"1\0\0\n", b"\xff\0\xff\0", b"\0\xe9\0\xe9"])
def test_stray_zeros_spoil_the_lines_that_they_are_in(pipeline: Pipeline, start: bytes) -> None:
    pipeline.put("events/a.jsonl", start + b"\n{}\n")
    version = only(pipeline.run())
    assert (version.status, version.records - version.defective_records) == ("loaded", 1)


@pytest.mark.parametrize(
    "data",
    [
        gzip.compress(b"1\n") + gzip.compress(b"") + gzip.compress(b"2\n"),
        gzip.compress(b"1\n2\n") + bytes(3_000_000),
        gzip.compress(b"1\n") + bytes(512) + gzip.compress(b"2\n"),
        b"1\n2\n",
    ],
)
def test_gzip_is_known_by_its_bytes(pipeline: Pipeline, data: bytes) -> None:
    for name in ("events/a.jsonl", "events/a.jsonl.GZ"):
        pipeline.contents.clear()
        pipeline.put(name, data)
        pipeline.run()
        assert pipeline.records() == [b"1", b"2"]


def test_a_file_that_had_failed_is_loaded_when_it_is_whole(pipeline: Pipeline) -> None:
    whole = gzip.compress(b"1\n")
    for data, status in ((whole[:-1], "failed"), (whole, "loaded"), (whole[:-1], "failed"), (whole[:-2], "failed")):
        pipeline.put("companies.jsonl.gz", data)
        version = only(pipeline.run())
        assert (version.status, version.file_bytes) == (status, len(data))
    assert version.previous_file_id == sha256(whole[:-1])


@pytest.mark.parametrize("name", ["events/a.jsonl", "events/a.jsonl.gz", "events/a.json"])
def test_a_file_over_the_size_limit_fails_until_the_limit_changes(pipeline: Pipeline, name: str) -> None:
    data = b"[" + b"1," * 100_000 + b"1]"
    pipeline.put(name, gzip.compress(data) if name.endswith("gz") else data)
    small = Limits(max_file_bytes=100_000, max_document_bytes=100_000)
    version = only(pipeline.run(small))
    assert (version.reason or "").startswith("over the size limit of 100,000 bytes")
    assert pipeline.rows == []
    assert pipeline.run(small).versions == ()
    assert pipeline.opened == ()
    assert only(pipeline.run()).status == "loaded"


def test_a_file_that_another_limit_fails_too_is_told_once(pipeline: Pipeline) -> None:
    pipeline.put("events/a.jsonl", b"1\n" * 50)
    for limits in (Limits(max_file_bytes=90), Limits(max_file_bytes=80)):
        assert only(pipeline.run(limits)).reason == (
            f"over the size limit of {limits.max_file_bytes} bytes of uncompressed text: split it into several files"
        )
        assert pipeline.run(limits).versions == ()
        assert pipeline.opened == ()


def test_a_file_that_was_loaded_does_not_fail_by_a_lower_limit(pipeline: Pipeline) -> None:
    pipeline.put("events/a.jsonl", b"1\n" * 50)
    pipeline.run()
    pipeline.put("events/a.jsonl", b"1\n" * 50)
    assert pipeline.run(Limits(max_file_bytes=90)).versions == ()
    assert len(pipeline.opened) == 1


def test_a_path_that_had_failed_may_turn_out_to_be_a_duplicate(pipeline: Pipeline) -> None:
    pipeline.put("events/a.jsonl", b"1\n2")
    pipeline.put("events/b.jsonl", gzip.compress(b"1\n")[:-1])
    assert set(statuses(pipeline.run()).values()) == {"loaded", "failed"}
    pipeline.put("events/b.jsonl", b"1\n2")
    assert only(pipeline.run()).status == "duplicate_content"
    pipeline.put("events/b.jsonl", b"1\n2\n3")
    version = only(pipeline.run())
    assert (version.status, version.first_line) == ("appended", 3)


def test_a_file_that_cannot_be_opened_is_no_version(pipeline: Pipeline) -> None:
    for name in ("gone", "link", "fifo", "folder"):
        pipeline.put(f"events/{name}.jsonl", b"1\n")
    events = pipeline.folder / "raw/events"
    listing = list_raw(pipeline.folder / "raw", (EVENTS,))
    for name in ("gone", "link", "fifo", "folder"):
        (events / f"{name}.jsonl").unlink()
    (events / "link.jsonl").symlink_to("/dev/null")
    os.mkfifo(events / "fifo.jsonl")
    (events / "folder.jsonl").mkdir()
    load = pipeline.run(raw=listing)
    assert (load.versions, load.parts) == ((), {})
    assert [name for name, _ in load.unreadable] == [file.name for file in listing.files]
    assert ("events/gone.jsonl", "this file cannot be read: No such file or directory") in load.unreadable


# Documents


@pytest.mark.parametrize(
    ("data", "records", "layout"),
    [
        (b'[{"a":1},\n\t[2 , 3],"x\\"]",4.5]\n', [b'{"a":1}', b"[2 , 3]", b'"x\\"]"', b"4.5"], "document"),
        (b'\xef\xbb\xbf [\n {\n"a": 1}\n]', [b'{\n"a": 1}'], "document"),
        (b'[{"a":"\xff"},{}]', [b'{"a":"\xff"}', b"{}"], "document"),
        (b"[" + b"[" * 1500 + b"]" * 1500 + b",1]", [b"[" * 1500 + b"]" * 1500, b"1"], "document"),
        (b" []\n", [], "document"),
        (b'\n{"a":\n1}\n', [b'{"a":\n1}'], "document"),
        (b"{}\n\n", [b"{}"], "document"),
        (b'{"a":1}\n{"a":\n', [b'{"a":1}', b'{"a":'], "lines"),
        (b"\n1\n\n2", [b"1", b"2"], "lines"),
        (b"[1]\n[2]\n", [b"[1]", b"[2]"], "lines"),
        (b"[1,\n2,]\n", [b"[1,\n2,]"], "document"),
        (b"{}{}\r\n", [b"{}{}"], "document"),
        (b'{"a":\xff}\n{}\n', [b'{"a":\xff}\n{}'], "document"),
        (b'{"a":"\xff"}\n{}\n', [b'{"a":"\xff"}\n{}'], "document"),
        (b"", [], "lines"),
        (b" \n\t\r\n", [], "lines"),
    ],
)
@pytest.mark.parametrize("name", ["events/a.json", "events/a.json.gz"])
def test_a_json_file_is_one_document_or_json_lines(
    pipeline: Pipeline, name: str, data: bytes, records: list[bytes], layout: str
) -> None:
    pipeline.put(name, gzip.compress(data) if name.endswith("gz") else data)
    version = only(pipeline.run())
    assert pipeline.records() == records
    assert (version.layout, version.bytes, version.read_to) == (layout, len(data), len(data))
    if layout == "document":
        assert [number for _, number, _ in pipeline.rows] == list(range(1, len(records) + 1))
        assert (version.lines, version.blank_lines) == (len(records), 0)


def test_an_element_that_is_too_long_spoils_only_itself(pipeline: Pipeline) -> None:
    pipeline.put("events/a.json", b'["' + b"x" * 70_000 + b'",\n1, [\n]]')
    pipeline.run(Limits(max_record_bytes=10))
    assert pipeline.records() == [b'"' + b"x" * 65_535, b"1", b"[\n]"]
    assert pipeline.too_long == [True, False, False]


def test_a_document_that_changes_is_replaced(pipeline: Pipeline) -> None:
    for data, status in ((b"[1]", "loaded"), (b"[1] ", "replaced"), (b"[1]\n[2]\n", "replaced")):
        pipeline.put("companies.json", data)
        assert only(pipeline.run()).status == status
    pipeline.put("companies.json", b"[1]\n[2]\n[3]")
    assert only(pipeline.run()).status == "appended"
    assert pipeline.rows == [("companies.json", 3, b"[3]")]


def test_a_whole_document_is_never_held_back(pipeline: Pipeline) -> None:
    pipeline.put("events/a.json", b'[{"a":1}]', age=1)
    assert only(pipeline.run()).records == 1


def test_an_unfinished_document_is_held_back_as_a_whole(pipeline: Pipeline) -> None:
    pipeline.put("events/a.json", b"[1,\n2", age=1)
    version = only(pipeline.run())
    assert (version.records, version.held_back_bytes, version.layout, version.read_to) == (0, 5, None, 0)
    later = only(pipeline.run())
    assert (later.status, later.source_file_id) == ("appended", version.source_file_id)
    assert pipeline.rows == [("events/a.json", 1, b"[1,\n2")]
    pipeline.put("events/a.json", b"[1,\n2]", age=1)
    assert only(pipeline.run()).status == "replaced"
    assert pipeline.records() == [b"1", b"2"]


def test_an_unfinished_document_that_turns_out_to_be_lines_is_appended(pipeline: Pipeline) -> None:
    pipeline.put("events/a.json", b'{"a":', age=1)
    pipeline.run()
    pipeline.put("events/a.json", b'{"a":1}\n{"a":2}\n', age=1)
    version = only(pipeline.run())
    assert (version.status, version.first_line, version.records) == ("appended", 1, 2)


def test_json_lines_may_be_larger_than_a_document(pipeline: Pipeline) -> None:
    pipeline.put("events/a.json", b'{"a":1}\n' * 40_000)
    limits = Limits(max_document_bytes=1000)
    assert only(pipeline.run(limits)).records == 40_000


# Bounds of one load


@pytest.mark.parametrize("limits", [Limits(max_load_files=2), Limits(max_load_bytes=3)])
def test_a_big_arrival_becomes_several_loads(pipeline: Pipeline, limits: Limits) -> None:
    for name in "abcde":
        pipeline.put(f"events/{name}.jsonl", name.encode() + b"\n")
    loads = [pipeline.run(limits) for _ in range(3)]
    assert [len(load.versions) for load in loads] == [2, 2, 1]
    assert [load.has_more for load in loads] == [True, True, False]


def test_several_loads_give_what_one_gives(tmp_path: Path) -> None:
    found = []
    for limits in (Limits(), Limits(max_load_files=1), Limits(max_load_bytes=5)):
        pipeline = Pipeline(tmp_path / f"{limits.max_load_files}-{limits.max_load_bytes}")
        for name, data in {
            "companies.jsonl": b"1\n2",
            "companies_2.jsonl": b"1\n2",
            "events/a.jsonl": b"1\n2\n3\n",
            "events/b.json": b"[1,\n2]",
            "events/c.jsonl": b"1\n2\n3\n",
            "events/d.jsonl.gz": b"",
            "events/e.jsonl": b'1\n{"a":',
            "events/f.json": b"[1,\n2]",
        }.items():
            pipeline.put(name, data)
        versions, rows = [], []
        has_more = True
        while has_more:
            load = pipeline.run(replace(limits, settle_seconds=NEVER))
            has_more = load.has_more
            versions += [(version.source_file, version.status, version.held_back_bytes) for version in load.versions]
            rows += pipeline.rows
        found.append((versions, rows))
    assert found == [found[0]] * 3
    assert [(name[-7:], waits) for name, status, waits in found[0][0] if status == "loaded"] == [
        ("s.jsonl", 0),
        ("2.jsonl", 0),
        ("a.jsonl", 0),
        ("/b.json", 0),
        ("e.jsonl", 5),
    ]


def test_files_that_cannot_be_read_do_not_keep_the_next_load_waiting(pipeline: Pipeline) -> None:
    for name in "abc":
        pipeline.put(f"events/{name}.jsonl", name.encode())
    listing = list_raw(pipeline.folder / "raw", (EVENTS,))
    (pipeline.folder / "raw/events/a.jsonl").unlink()
    loads = [pipeline.run(Limits(max_load_files=1), raw=listing) for _ in range(2)]
    assert [(statuses(load), load.has_more) for load in loads] == [
        ({"events/b.jsonl": "loaded"}, True),
        ({"events/c.jsonl": "loaded"}, False),
    ]


def test_progress_tells_the_bytes_on_disk_and_then_those_of_the_text(pipeline: Pipeline) -> None:
    packed = gzip.compress(b"1\n2\n")
    pipeline.put("events/a.jsonl.gz", packed)
    pipeline.run()
    assert pipeline.progress == [
        ("scanning", "driver_events", len(packed), len(packed)),
        ("reading", "driver_events", 4, 4),
    ]


def test_a_file_that_waits_for_the_rest_of_a_line_needs_another_look_only_when_it_has_come_to_rest(
    pipeline: Pipeline,
) -> None:
    pipeline.put("events/a.jsonl", b'{"event_id":"1"}\n')
    pipeline.put("events/again.jsonl", b'{"event_id":"1"}\n')
    pipeline.put("events/broken.jsonl.gz", b"")
    pipeline.put("events/half.jsonl", b'{"event_id":"2"}\n{"event_id":', age=10)
    pipeline.run()
    pipeline.run()
    assert [file.name for file in pipeline.opened] == ["events/half.jsonl"]
    pipeline.run()
    assert pipeline.opened == ()
