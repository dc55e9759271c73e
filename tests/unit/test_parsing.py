"""Bronze's verdict on each record, held to that of a strict parser written independently."""

from __future__ import annotations

import os
import random
import tracemalloc
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from ingest.parsing import EXACT_BATCHES, RecordParser, judge
from ingest.sample import write_sample
from tests.reference import EVENT_KEYS, Record, bronze

if TYPE_CHECKING:
    from pathlib import Path

TORTURE = os.environ.get("TORTURE") == "1"
MUTANTS = 200_000 if TORTURE else 20_000
EVENT = (
    b'{"event_id":"e-1","driver_id":"DRV-\xc3\xa9","company_id":7,"truck_id":null,"event_type":"start driving",'
    b'"timestamp":"2024-03-04T06:01:16.599561Z","payload":{"km":1.5,"tags":["a\\"b","\\u00e9"],"n":null}}'
)
RECORDS = [
    EVENT,
    b"{}",
    b" { } ",
    b'{"event_id":""}',
    b'\t{"event_id": "spaces around"} \t',
    b'{"event_id":"a","event_id":"b"}',
    b'{"event_id":"a","\\u0065vent_id":"b"}',
    b'{"x":1,"x":1}',
    b'{"":1,"":2}',
    b'{"x":{"a":1,"a":2}}',
    b'{"Event_Id":"other case","EVENT_ID":"x"}',
    b'{"_raw":"a","_load_id":7,"_corrupt_record":"x","":"empty","a.b":1,"`q`":2,"it\'s":3}',
    b'{"event_id":"a"}{"event_id":"b"}',
    b'{"event_id":"a"} {"event_id":"b"}',
    b'{"event_id":"a"} x',
    b'{"event_id":"a"},',
    b'{"event_id":"a"}}',
    b'{"x": true,',
    b'{"x": 1,}',
    b'{"x":1,,"y":2}',
    b'{,"x":1}',
    b"{'x':1}",
    b'{"x":NaN}',
    b'{"x":-Infinity}',
    b'{"x":+1}',
    b'{"x":01}',
    b'{"x":1.}',
    b'{"x":.5}',
    b'{"x":1e}',
    b'{"x":/*c*/1}',
    b"{x:1}",
    b'{"x":"a\tb"}',
    b'{"x":"\\x41"}',
    b'{"x":"\\u00g0"}',
    b'{"x":"\x00"}',
    b'{"event_id":"\\u0000"}',
    b'{"event_id":"\\ud83d\\ude00 \xf0\x9f\x98\x80 \xe2\x80\xa8"}',
    b'{"event_id":"\\ud83d"}',
    b'{"event_id":"\\ude00\\ud83d x"}',
    b'{"event_id":"\\\\ud83d"}',
    b'{"event_id":"\\\\\\ud83d\\"}',
    b'{"\\ud800":1,"\\udc00":2}',
    b'{"\\ud800":1,"x":2}',
    b'{"event_id":12345678901234567890123}',
    b'{"event_id":-0}',
    b'{"event_id":true,"driver_id":false}',
    b'{"event_id":1.5,"driver_id":1e3,"company_id":9007199254740993.5}',
    b'{"event_id":1e400,"driver_id":-1e999,"payload":[1e400,"Infinity",1E-400]}',
    b'{"event_id":1.10,"driver_id":0.00001,"company_id":1E5,"truck_id":123456789012345678.5,"payload":{"a":-0,"b":-0.0}}',
    b'{"payload":[0.1,1.0,10.0000,100000000.5,1234567890.5,0.1234567,0.12345678901234567890,5e-324]}',
    b'{"payload":{"a":{"a":1,"a":2},"\\u0061":"\\/","b":"\\u00e9\\n\\ud800"}}',
    b'{"payload":{"say \\"hi\\"":"1.50 e5"},"event_id":"\\"quoted\\""}',
    b'{"payload" : { "a" : [ ] , "b" : { } } }',
    b'{"event_id":[1, "two" ,null],"driver_id":{"a" : 1}}',
    b'{"event_id":"null","driver_id":"[1]"}',
    b"[]",
    b"[ ]",
    b'[{"event_id":"a"}]',
    b"[1,]",
    b"[1",
    b'["a"],["b"]',
    b"1",
    b"-1.5e3",
    b'"x"',
    b"null",
    b"true",
    b'1,"v":2',
    b"nul",
    b"hello",
    b'"open',
    b'{"event_id":"caf\xe9"}',
    b'{"event_id":"\xc0\xaf"}',
    b'{"event_id":"\xed\xa0\x80"}',
    b"\xff",
    b'\xef\xbb\xbf{"event_id":"mark in the middle"}',
    b'\xc2\xa0{"x":1}',
    b'{"x":1}\xc2\x85',
    b'{"x":' + b"[" * 999 + b"]" * 999 + b"}",
    b'{"x":' + b"[" * 1000 + b"]" * 1000 + b"}",
    b"[" * 1000 + b"]" * 1000,
    b"[" * 1001 + b"]" * 1001,
    b'{"x":' + b"1" * 1000 + b"}",
    b'{"x":' + b"1" * 1001 + b"}",
    b'{"x":-0.' + b"1" * 999 + b"}",
    b'{"x":-0.' + b"1" * 1000 + b"}",
    b'{"x":"' + b"1" * 2000 + b'"}',
    b'{"x":"\\"' + b"1" * 2000 + b'"}',
    b'{"x":"' + b"\\\\" * 20000 + b"\\ud800" + b'"}',
]
SPLICES = [b"{", b"}", b"[", b"]", b'"', b",", b":", b"\\", b"\\u", b"\\ud800", b"0", b"e", b".", b"-", b" ", b"\t",
           b"null", b"\xff", b"\xc3", b"\xe2\x80\xa8", b"'", b"NaN", b"/*", b"\x00", b'"event_id":1,',
           b"\r"]  # fmt: skip


def mutants(count: int, seed: int) -> list[bytes]:
    """Event lines with one to three small changes each."""
    random_ = random.Random(seed)
    made: list[bytes] = []
    while len(made) < count:
        line = bytearray(EVENT)
        for _ in range(random_.randint(1, 3)):
            at = random_.randrange(len(line) or 1)
            change = random_.randrange(4)
            if change == 0:
                del line[at : at + random_.randint(1, 4)]
            elif change == 1:
                line[at:at] = random_.choice(SPLICES)
            elif change == 2:
                line[at : at + 1] = bytes([random_.randrange(256)])
            else:
                line = line[:at] if random_.random() < 0.3 else line[:at] + line[at - 5 : at] + line[at:]
        made.append(bytes(line).replace(b"\n", b" ").removesuffix(b"\r"))
    return [line for line in made if line.strip(b" \t\r")]


def differing(records: list[bytes], *, batch: int) -> list[tuple[bytes, str]]:
    """Give the records that batches of this size read otherwise than the reference, with the columns that differ."""
    parser = RecordParser(EVENT_KEYS)
    names = (*EVENT_KEYS, "_raw", "_raw_bytes", "_defect", "_unknown_keys")
    wrong = []
    for at in range(0, len(records), batch):
        found = parser.columns(records[at : at + batch])
        declared, *own = found
        rows = zip(*(column.to_pylist() for column in (*declared, *own)), strict=True)
        for record, row in zip(records[at : at + batch], rows, strict=True):
            wanted = bronze(Record(1, datetime.now(UTC), "a", 1, "id", record), EVENT_KEYS)
            columns = [name for name, value in zip(names, row, strict=True) if value != wanted[name]]
            if columns:
                wrong.append((record, ", ".join(columns)))
    return wrong


@pytest.mark.parametrize("batch", [1, 7, 10_000])
def test_hand_made_records_are_read_as_a_strict_parser_reads_them(batch: int) -> None:
    assert differing(RECORDS, batch=batch) == []


@pytest.mark.parametrize("batch", [1, 7, 10_000])
def test_mutants_are_read_as_a_strict_parser_reads_them(batch: int) -> None:
    made = mutants(MUTANTS, seed=batch)
    assert differing(made if batch > 1 or TORTURE else made[::10], batch=batch) == []


@pytest.mark.parametrize("batch", [7, 10_000])
def test_records_of_each_shape_of_the_sample_are_read_as_a_strict_parser_reads_them(tmp_path: Path, batch: int) -> None:
    write_sample(tmp_path / "raw", batches=4, events_per_batch=500, companies=200, seed=3, grow=False)
    lines = [line.rstrip(b"\r\n") for path in (tmp_path / "raw").rglob("*.jsonl") for line in path.open("rb")]
    assert differing([line for line in lines if line.strip(b" \t")], batch=batch) == []


def test_after_a_batch_of_odd_records_the_fast_way_is_tried_again(monkeypatch: pytest.MonkeyPatch) -> None:
    judged: list[bytes] = []

    def judge_and_note(record: bytes) -> tuple[str | None, dict[str, str | None]]:
        judged.append(record)
        return judge(record)

    monkeypatch.setattr("ingest.parsing.judge", judge_and_note)
    parser = RecordParser(EVENT_KEYS)
    for batch in ([b"nope"], *([[EVENT]] * EXACT_BATCHES), [EVENT]):
        judged.clear()
        assert parser.columns(batch).defect.to_pylist() == [None if batch == [EVENT] else "not_json"]
    assert judged == []


def test_a_text_of_points_takes_no_more_memory_than_other_texts() -> None:
    record = b'{"payload":{"t":"%b"}}' % (b"." * (4 << 20))
    RecordParser(EVENT_KEYS).columns([record])
    tracemalloc.start()
    RecordParser(EVENT_KEYS).columns([record])
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 40 * len(record)


def test_a_feed_may_declare_any_keys() -> None:
    keys = ("a.b", 'with "quotes"', "\u00e9", "from", "struct")
    record = b'{"a.b":1,"with \\"quotes\\"":"2","\xc3\xa9":[3],"from":null,"\\u0073truct":"4","x":5}'
    found = RecordParser(keys).columns([record])
    assert [column[0].as_py() for column in found.declared] == ["1", "2", "[3]", None, "4"]
    assert found.unknown_keys.to_pylist() == [["x"]]
