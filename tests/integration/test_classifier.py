"""Bronze's verdict on each record, held to that of a strict parser written independently."""

from __future__ import annotations

import gzip
import random
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.lakes import read_table
from tests.integration.test_faults import TORTURE
from tests.reference import EVENT_KEYS, Record, bronze, same_json

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

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


@pytest.mark.parametrize("records", [RECORDS, mutants(MUTANTS, seed=1)], ids=["hand-made", "mutants"])
def test_every_verdict_equals_that_of_a_strict_parser(
    records: list[bytes], raw: Path, lake: Path, load: Callable[..., Any]
) -> None:
    (raw / "events" / "a.jsonl").write_bytes(b"\n".join(records) + b"\n")
    load()
    rows = {row["_source_line"]: row for row in read_table(lake, "bronze.driver_events")}
    assert len(rows) == len(records)
    wrong = [
        (number, record, rows[number]) for number, record in enumerate(records, 1) if differs(rows[number], record)
    ]
    assert not wrong, f"{len(wrong)} of {len(records)}, the first: {wrong[0]}"


def differs(row: dict[str, Any], record: bytes) -> bool:
    wanted = bronze(Record(1, row["_loaded_at"], "events/a.jsonl", row["_source_line"], "", record), EVENT_KEYS)
    if row["_defect"] != wanted["_defect"]:
        return True
    if wanted["_unknown_keys"] is not None and sorted(row["_unknown_keys"]) != sorted(wanted["_unknown_keys"]):
        return True
    if (row["_raw_bytes"] if row["_raw_bytes"] is not None else row["_raw"].encode()) != record:
        return True
    return any(
        row[key] != wanted[key] and (None in {row[key], wanted[key]} or not same_json(row[key], wanted[key]))
        for key in EVENT_KEYS
    )


def test_too_long_records_keep_their_start(raw: Path, lake: Path, load: Callable[..., Any]) -> None:
    long = b'{"event_id":"' + b"x" * 100_000 + b'"}'
    (raw / "events" / "a.jsonl").write_bytes(EVENT + b"\n" + long + b"\n" + EVENT + b"\n")
    load(max_record_bytes=99_999)
    rows = sorted(read_table(lake, "bronze.driver_events"), key=lambda row: row["_source_line"])
    assert [row["_defect"] for row in rows] == [None, "too_long", None]
    assert rows[1]["_raw"].encode() == long[: 64 * 1024]
    assert rows[1]["_unknown_keys"] is None


def test_elements_of_an_array_keep_their_text_and_stand_alone(raw: Path, lake: Path, load: Callable[..., Any]) -> None:
    elements = [b'{"event_id":"a"}', b'{ "event_id":\n  "b" }', b"7", b'{"event_id":"\xff"}', b'{"x":1,"x":2}']
    (raw / "events" / "a.json").write_bytes(b"[\n " + b" ,\n".join(elements) + b"\n]\n")
    (raw / "events" / "b.json.gz").write_bytes(gzip.compress(b'\n{"event_id":\r\n"c"}\n'))
    load()
    rows = {(row["_source_file"], row["_source_line"]): row for row in read_table(lake, "bronze.driver_events")}
    found = [rows["events/a.json", number] for number in range(1, 6)]
    assert [row["_raw_bytes"] or row["_raw"].encode() for row in found] == elements
    assert [row["_defect"] for row in found] == [None, None, "not_object", "invalid_utf8", "duplicate_key"]
    assert rows["events/b.json.gz", 1]["_raw"] == '{"event_id":\r\n"c"}'
    assert rows["events/b.json.gz", 1]["event_id"] == "c"
