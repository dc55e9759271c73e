"""The reference follows the contract's sentences, in both directions of each rule."""

from __future__ import annotations

import gzip
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from tests.reference import (
    COMPANY_KEYS,
    EVENT_KEYS,
    PROVENANCE,
    RawTree,
    Record,
    bronze,
    canonical_event_type,
    classify,
    driving_sessions,
    parse_time,
    run,
    silver_companies,
    silver_driver_events,
)

if TYPE_CHECKING:
    from pathlib import Path

LOADED_AT = datetime(2024, 3, 5, tzinfo=UTC)
EVENT = {
    "driver_id": "d",
    "event_timestamp": "2024-03-04T06:00:00Z",
    "event_type": "start",
    "company_id": "c",
}


def record(raw: bytes | str | dict[str, Any], *, load: int = 1, file: str = "f", line: int = 1) -> Record:
    text = json.dumps(raw) if isinstance(raw, dict) else raw
    return Record(load, LOADED_AT, file, line, "id", text.encode() if isinstance(text, str) else text)


def lines(*rows: dict[str, Any], load: int = 1) -> list[Record]:
    return [record(row, load=load, line=number) for number, row in enumerate(rows, 1)]


def utc(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


# Bronze


@pytest.mark.parametrize(
    ("raw", "defect"),
    [
        (b"{}", None),
        (b' \t{"a": 1}\r ', None),
        (b'{"a":"' + b"x" * (16 * 1024**2 - 8) + b'"}', None),
        (b'{"a":"' + b"x" * (16 * 1024**2 - 7) + b'"}', "too_long"),
        (b"\xff" * (16 * 1024**2 + 1), "too_long"),
        (b'{"a":"caf\xe9"}', "invalid_utf8"),
        (b'{"a":"\xed\xa0\x80"}', "invalid_utf8"),
        (b'{"a":"\xc0\xaf"}', "invalid_utf8"),
        (b'{"a":1}{"b":2}', "not_json"),
        (b'{"a":1} garbage', "not_json"),
        (b"{'a':1}", "not_json"),
        (b'{"a":1,}', "not_json"),
        (b'{"a":1 /* no */}', "not_json"),
        (b'{"a":NaN}', "not_json"),
        (b'{"a":-Infinity}', "not_json"),
        (b'{"a":01}', "not_json"),
        (b'{"a":.5}', "not_json"),
        (b'{"a":"\t"}', "not_json"),
        (b'{"a":"\\x"}', "not_json"),
        (b'{"a":"', "not_json"),
        (b"\xef\xbb\xbf{}", "not_json"),
        (b"\x0c{}", "not_json"),
        (b'{"a":' + b"[" * 999 + b"]" * 999 + b"}", None),
        (b'{"a":' + b"[" * 1000 + b"]" * 1000 + b"}", "not_json"),
        (b"[" * 100_000 + b"]" * 100_000, "not_json"),
        (b'{"a":"' + b"[" * 1001 + b'\\""}', None),
        (b'{"a":-' + b"1" * 1000 + b"}", None),
        (b'{"a":' + b"1" * 1001 + b"}", "not_json"),
        (b'{"a":-1.' + b"1" * 997 + b"e+10}", None),
        (b'{"a":-1.' + b"1" * 998 + b"e+10}", "not_json"),
        (b'{"a":"' + b"1" * 1001 + b'"}', None),
        (b"[{}]", "not_object"),
        (b"null", "not_object"),
        (b'"x"', "not_object"),
        (b'{"a":1,"a":1}', "duplicate_key"),
        (b'{"a":1,"\\u0061":null}', "duplicate_key"),
        (b'{"a?":1,"a\\ud800":1}', "duplicate_key"),
        (b'{"a":1,"A":1}', None),
        (b'{"a":{"b":1,"b":1}}', None),
    ],
)
def test_a_record_has_the_first_defect_that_applies(raw: bytes, defect: str | None) -> None:
    assert classify(raw)[0] == defect


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("null", None),
        ('""', ""),
        ('" a "', " a "),
        ("7", "7"),
        ("-0", "-0"),
        ("-0.0", "-0.0"),
        ("9007199254740993", "9007199254740993"),
        ("1.50", "1.5"),
        ("1e3", "1000.0"),
        ("1e400", "1e400"),
        ('"1e400"', "1e400"),
        ("[-0, 1e400, 1E2]", "[-0,1e400,100.0]"),
        ("9007199254740993.5", "9007199254740994.0"),
        ("true", "true"),
        ('[1, {"a": "\\u00e9"}]', '[1,{"a":"é"}]'),
        ('{"b": 1, "b": 2}', '{"b":1,"b":2}'),
        ('"\\ud83d\\ude00"', "😀"),
        ('"\\ude00\\ud83d\\ud83d\\ude00"', "??😀"),
    ],
)
def test_a_declared_key_becomes_text(value: str, text: str | None) -> None:
    assert bronze(record(f'{{"payload":{value}}}'), EVENT_KEYS)["payload"] == text


def test_keys_that_the_feed_does_not_declare_are_named() -> None:
    row = bronze(record('{"Event_Id":1,"":2,"event_id":3,"x\\ud800":4,"_raw":5}'), EVENT_KEYS)
    assert row["_unknown_keys"] == ["Event_Id", "", "x?", "_raw"]
    assert row["event_id"] == "3"


def test_a_defective_record_keeps_its_text_but_no_values() -> None:
    row = bronze(record(b'{"event_id":1,"x":"\xff"}'), EVENT_KEYS)
    assert (row["event_id"], row["_unknown_keys"], row["_raw_bytes"]) == (
        None,
        None,
        b'{"event_id":1,"x":"\xff"}',
    )
    assert row["_raw"] == '{"event_id":1,"x":"\ufffd"}'
    assert len(bronze(record(b"x" * (16 * 1024**2 + 1)), EVENT_KEYS)["_raw"]) == 64 * 1024


# Driver events


@pytest.mark.parametrize(
    ("text", "instant"),
    [
        ("2024-03-04T06:07:08Z", "2024-03-04 06:07:08"),
        ("2024-03-04 06:07:08", "2024-03-04 06:07:08"),
        ("2024-03-04T06:07", "2024-03-04 06:07:00"),
        ("2024-03-04T06:07Z", "2024-03-04 06:07:00"),
        (" \t2024-03-04T06:07:08Z\n", "2024-03-04 06:07:08"),
        ("2024-03-04T06:07:08.1Z", "2024-03-04 06:07:08.100000"),
        ("2024-03-04T06:07:08.123456789Z", "2024-03-04 06:07:08.123456"),
        ("2024-03-04T06:07:59.999999999", "2024-03-04 06:07:59.999999"),
        ("2024-03-04T06:00:00+02:00", "2024-03-04 04:00:00"),
        ("2024-03-04T06:00:00-0530", "2024-03-04 11:30:00"),
        ("2024-03-04T06:00+02", "2024-03-04 04:00:00"),
        ("2024-03-04T06:00:00+18:00", "2024-03-03 12:00:00"),
        ("2024-03-04T06:00:00-18:00", "2024-03-05 00:00:00"),
        ("2024-03-04T06:00:00+17:59", "2024-03-03 12:01:00"),
        ("2024-02-29T00:00:00Z", "2024-02-29 00:00:00"),
        ("2000-02-29T00:00:00Z", "2000-02-29 00:00:00"),
        ("1900-03-01T00:00:00Z", "1900-03-01 00:00:00"),
        ("1000000000", "2001-09-09 01:46:40"),
        ("9999999999", "2286-11-20 17:46:39"),
        ("9999999999.9999999", "2286-11-20 17:46:39.999999"),
        ("9999999999." + "9" * 30, "2286-11-20 17:46:39.999999"),
        ("1000000000000", "2001-09-09 01:46:40"),
        ("9999999999999", "2286-11-20 17:46:39.999000"),
        ("1e12", "2001-09-09 01:46:40"),
        ("1E+9", "2001-09-09 01:46:40"),
        (" 1709532428.5 ", "2024-03-04 06:07:08.500000"),
        ("1709532428500.9999", "2024-03-04 06:07:08.500999"),
        ("17095324285e-1", "2024-03-04 06:07:08.500000"),
    ],
)
def test_a_time_is_read(text: str, instant: str) -> None:
    microseconds = parse_time(text)
    assert microseconds is not None
    assert datetime(1970, 1, 1, tzinfo=UTC) + timedelta(microseconds=microseconds) == utc(instant)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "now",
        "2024-03-04",
        "2024-03-04T06Z",
        "2024-03-04T24:00:00Z",
        "2024-03-04T23:60:00Z",
        "2024-03-04T23:59:60Z",
        "2024-03-04t06:00:00Z",
        "2024-03-04T06:00:00z",
        "2024-03-04  06:00:00Z",
        "2024-03-04T06:00:00 Z",
        "2024-03-04T06:00:00.Z",
        "2024-03-04T06:00:00,5Z",
        "2024-03-04T06:00:00.1234567890Z",
        "2024-03-04T06:00.5Z",
        "2024-03-04T06:00:00+18:01",
        "2024-03-04T06:00:00-18:01",
        "2024-03-04T06:00:00+19",
        "2024-03-04T06:00:00+24:00",
        "2024-03-04T06:00:00+01:60",
        "2024-03-04T06:00:00+1:00",
        "2024-03-04T06:00:00+01:0",
        "2024-03-04T06:00:00Z+01",
        "2023-02-29T00:00:00Z",
        "1900-02-29T00:00:00Z",
        "2024-00-01T00:00:00Z",
        "2024-13-01T00:00:00Z",
        "2024-04-31T00:00:00Z",
        "24-03-04T06:00:00Z",
        "+2024-03-04T06:00:00Z",
        "2024-3-4T06:00:00Z",
        "20240304T060000Z",
        "202\u0664-03-04T06:00:00Z",
        "\u00a02024-03-04T06:00:00Z",
        "2024-03-04T06:00:00Z\u00a0",
        "999999999",
        "999999999.9999999",
        "10000000000",
        "999999999999",
        "999999999999.9",
        "10000000000000",
        "-1709532428",
        "+1709532428",
        "01709532428",
        "1709532428.",
        "1_709_532_428",
        "0x65E5664C",
        "1e99999999999999999999",
        '"1709532428"',
        "true",
    ],
)
def test_anything_else_is_no_time(text: str) -> None:
    assert parse_time(text) is None


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({}, None),
        ({"driver_id": None}, "missing_driver_id"),
        ({"driver_id": ""}, "missing_driver_id"),
        ({"driver_id": " \t\n\r\v\f"}, "missing_driver_id"),
        ({"driver_id": "\u00a0"}, None),
        ({"driver_id": 7}, None),
        ({"event_timestamp": " "}, "missing_event_timestamp"),
        ({"event_timestamp": None, "timestamp": "2024-03-04T06:00:00Z"}, None),
        ({"event_timestamp": " ", "timestamp": 1709532428}, None),
        ({"event_timestamp": "x", "timestamp": "2024-03-04T06:00:00Z"}, "invalid_event_timestamp"),
        ({"timestamp": "x"}, None),
        ({"event_type": "\t"}, "missing_event_type"),
        ({"company_id": None}, "missing_company_id"),
        ({"company_id": None, "event_type": None}, "missing_event_type"),
        ({"event_type": None, "event_timestamp": None}, "missing_event_timestamp"),
        ({"event_timestamp": None, "driver_id": None}, "missing_driver_id"),
        ({"event_timestamp": "x", "company_id": " "}, "missing_company_id"),
        ({"event_timestamp": "x", "event_type": "x"}, "invalid_event_timestamp"),
        ({"event_timestamp": 1709532428.5}, None),
        ({"event_timestamp": 1e9}, None),
        ({"event_timestamp": "1e12"}, None),
        ({"event_timestamp": True}, "invalid_event_timestamp"),
        ({"event_timestamp": ["2024-03-04T06:00:00Z"]}, "invalid_event_timestamp"),
        ({"event_timestamp": "1999-12-31T23:59:59.999999Z"}, "implausible_event_timestamp"),
        ({"event_timestamp": "2000-01-01T00:00:00Z"}, None),
        ({"event_timestamp": "2000-01-01T00:00:00+00:01"}, "implausible_event_timestamp"),
        ({"event_timestamp": "2024-03-06T00:00:00Z"}, None),
        ({"event_timestamp": "2024-03-06T00:00:00.000001Z"}, "implausible_event_timestamp"),
        ({"event_timestamp": "2024-03-06T00:00:00.000000999Z"}, None),
        ({"event_timestamp": "9999-12-31T23:59:59-18:00"}, "implausible_event_timestamp"),
        ({"event_timestamp": "0000-02-29T00:00:00Z"}, "implausible_event_timestamp"),
        ({"event_timestamp": "0000-02-30T00:00:00Z"}, "invalid_event_timestamp"),
        ({"event_timestamp": "1999-01-01T00:00:00Z", "event_type": "x"}, "implausible_event_timestamp"),
        ({"event_type": "paused"}, "unknown_event_type"),
        ({"event_type": "--"}, "unknown_event_type"),
    ],
)
def test_an_event_is_rejected_for_the_first_rule_it_breaks(change: dict[str, Any], reason: str | None) -> None:
    accepted, rejected = silver_driver_events([record(EVENT | change)])
    assert [row["reject_reason"] for row in rejected] == ([] if reason is None else [reason])
    assert len(accepted) + len(rejected) == 1


@pytest.mark.parametrize(
    ("text", "event_type"),
    [
        ("--Start  Driving--", "start_driving"),
        ("START", "start_driving"),
        ("started", "start_driving"),
        ("Started.Driving", "start_driving"),
        ("driving-start", "start_driving"),
        ("stop driving", "stop_driving"),
        ("stop", "stop_driving"),
        ("stopped", "stop_driving"),
        ("stopped driving", "stop_driving"),
        ("driving_stop", "stop_driving"),
        ("delivered", "delivered"),
        ("deliver", "delivered"),
        ("Delivery!", "delivered"),
        ("startdriving", None),
        ("start_driving_2", None),
        ("deliveréd", None),
        ("", None),
    ],
)
def test_an_event_type_is_found_among_its_aliases(text: str, event_type: str | None) -> None:
    assert canonical_event_type(text) == event_type


def test_an_accepted_event_has_typed_values() -> None:
    more = {
        "event_id": " E ",
        "truck_id": " ",
        "payload": {"a": 1},
        "event_timestamp": "2024-03-04T01:00:00+02:00",
    }
    accepted, rejected = silver_driver_events([record(EVENT | more | {"driver_id": " D ", "company_id": 7})])
    assert rejected == []
    assert accepted == [
        {
            "driver_id": "D",
            "event_timestamp": utc("2024-03-03 23:00:00"),
            "event_date": utc("2024-03-03").date(),
            "event_type": "start_driving",
            "company_id": "7",
            "event_id": "E",
            "truck_id": None,
            "payload": '{"a":1}',
            **dict(zip(PROVENANCE, (1, "f", 1, "id"), strict=True)),
        },
    ]


def test_a_defective_record_is_rejected_with_its_text() -> None:
    (rejected,) = silver_driver_events([record("{", line=3)])[1]
    assert rejected == {
        "reject_reason": "not_json",
        "_load_id": 1,
        "_source_file": "f",
        "_source_line": 3,
        "_source_file_id": "id",
        "_raw": "{",
        "duplicate_of_load_id": None,
        "duplicate_of_source_file": None,
        "duplicate_of_source_line": None,
        "is_conflicting": None,
    }


@pytest.mark.parametrize(
    ("change", "is_conflicting"),
    [
        ({}, False),
        ({"event_id": "other"}, False),
        ({"event_type": "Started", "company_id": " c "}, False),
        ({"event_timestamp": "2024-03-04 08:00:00+02"}, False),
        ({"event_timestamp": 1709532000}, False),
        ({"truck_id": " "}, False),
        ({"unknown": 1}, False),
        ({"event_type": "stop"}, True),
        ({"company_id": "C"}, True),
        ({"truck_id": "t"}, True),
        ({"payload": {}}, True),
    ],
)
def test_a_duplicate_names_the_accepted_event_and_says_whether_it_conflicts(
    change: dict[str, Any],
    is_conflicting: bool,  # noqa: FBT001
) -> None:
    later = record(EVENT | change, load=2, file="a")
    accepted, (duplicate,) = silver_driver_events([later, record(EVENT, line=4)])
    assert [row["_load_id"] for row in accepted] == [1]
    assert duplicate["reject_reason"] == "duplicate"
    assert [value for key, value in duplicate.items() if key.startswith("duplicate_of")] == [1, "f", 4]
    assert duplicate["is_conflicting"] is is_conflicting


def test_the_earlier_record_stays_by_load_then_file_in_byte_order_then_line() -> None:
    positions = [
        (1, "f", 10),
        (1, "f", 9),
        (1, "é", 1),
        (1, "\U0001f600", 1),
        (1, "\uffff", 1),
        (2, "a", 1),
        (1, "Z", 9),
    ]
    records = [record(EVENT, load=load, file=file, line=line) for load, file, line in positions]
    accepted, rejected = silver_driver_events(records)
    assert [(row["_load_id"], row["_source_file"], row["_source_line"]) for row in accepted + rejected] == [
        (1, "Z", 9),
        (1, "f", 9),
        (1, "f", 10),
        (1, "é", 1),
        (1, "\uffff", 1),
        (1, "\U0001f600", 1),
        (2, "a", 1),
    ]


def test_a_rejected_record_is_no_earlier_accepted_one() -> None:
    accepted, rejected = silver_driver_events(lines(EVENT | {"event_type": "x"}, EVENT))
    assert [row["_source_line"] for row in accepted] == [2]
    assert [row["reject_reason"] for row in rejected] == ["unknown_event_type"]


def test_driver_ids_that_differ_in_case_are_different() -> None:
    assert len(silver_driver_events(lines(EVENT, EVENT | {"driver_id": "D"}))[0]) == 2


# Companies


@pytest.mark.parametrize(
    ("company", "reason"),
    [
        ({"company_id": "c"}, None),
        ({"company_id": 7, "active": True, "created_at": 1709532428}, None),
        ({"company_id": "c", "active": "TRUE", "created_at": " "}, None),
        ({"company_id": "c", "active": " ", "created_at": None}, None),
        ({"company_id": "c", "created_at": "1850-01-01T00:00Z"}, None),
        ({"company_id": "c", "created_at": "0000-01-01T00:00Z"}, None),
        ({"company_id": " "}, "missing_company_id"),
        ({"active": "maybe"}, "missing_company_id"),
        ({"company_id": "c", "active": "yes", "created_at": "x"}, "invalid_active"),
        ({"company_id": "c", "active": 1}, "invalid_active"),
        ({"company_id": "c", "created_at": "2024-02-30T00:00Z"}, "invalid_created_at"),
    ],
)
def test_a_company_is_rejected_for_the_first_rule_it_breaks(company: dict[str, Any], reason: str | None) -> None:
    history, _, rejected = silver_companies([record(company)])
    assert [row["reject_reason"] for row in rejected] == ([] if reason is None else [reason])
    assert len(history) + len(rejected) == 1


def test_a_defective_company_is_rejected_for_its_defect() -> None:
    assert silver_companies([record("[]")])[2][0]["reject_reason"] == "not_object"


def test_a_company_has_typed_values() -> None:
    company = dict.fromkeys(COMPANY_KEYS, " ") | {"company_id": " c ", "name": " N ", "active": "False"}
    (version,) = silver_companies([record(company | {"created_at": 1709532428})])[0]
    assert version == {
        "company_id": "c",
        "name": " N ",
        "sector": None,
        "size_indicator": None,
        "geography": None,
        "is_active": False,
        "created_at": utc("2024-03-04 06:07:08"),
        "valid_from_load_id": 1,
        "valid_to_load_id": None,
        "is_current": True,
        **dict(zip(PROVENANCE, (1, "f", 1, "id"), strict=True)),
    }


def test_a_company_that_changes_and_changes_back_has_three_versions() -> None:
    rows = [record({"company_id": "c", "name": name}, load=load) for load, name in enumerate("aaba", 1)]
    history, current, rejected = silver_companies(rows)
    assert [(row["name"], row["valid_from_load_id"], row["valid_to_load_id"]) for row in history] == [
        ("a", 1, 3),
        ("b", 3, 4),
        ("a", 4, None),
    ]
    assert [row["is_current"] for row in history] == [False, False, True]
    assert current == history[-1:]
    assert [(row["reject_reason"], row["_load_id"]) for row in rejected] == [("unchanged", 2)]


def test_two_versions_in_one_load_begin_and_end_there() -> None:
    first, second = silver_companies(lines({"company_id": "c"}, {"company_id": "c", "active": True}))[0]
    assert (first["valid_from_load_id"], first["valid_to_load_id"], first["is_current"]) == (1, 1, False)
    assert (second["valid_from_load_id"], second["valid_to_load_id"], second["is_current"]) == (1, None, True)


@pytest.mark.parametrize(
    "again",
    [
        {"company_id": "7", "name": "n", "active": "true", "created_at": 1709532428},
        {
            "company_id": 7,
            "name": "n",
            "active": True,
            "created_at": "2024-03-04T07:07:08+01",
            "sector": "",
            "new": 1,
        },
    ],
)
def test_a_company_is_unchanged_by_its_parsed_values(again: dict[str, Any]) -> None:
    first = {"company_id": "7", "name": "n", "active": True, "created_at": "2024-03-04T06:07:08Z"}
    _, _, (rejected,) = silver_companies(lines(first, again))
    assert (rejected["reject_reason"], rejected["_source_line"]) == ("unchanged", 2)


def test_a_rejected_company_record_is_no_version() -> None:
    rows = lines({"company_id": "c"}, {"company_id": "c", "active": "x"}, {"company_id": "c"})
    assert [row["reject_reason"] for row in silver_companies(rows)[2]] == ["invalid_active", "unchanged"]


# Gold


def events(*kinds: tuple[str, str, int, str]) -> list[dict[str, Any]]:
    """Return bare events of (driver, type, hour, company)."""
    return [
        {
            "driver_id": driver,
            "event_timestamp": f"2024-03-0{4 + hour // 24}T{hour % 24:02}:00Z",
            "event_type": kind,
            "company_id": company,
        }
        for driver, kind, hour, company in kinds
    ]


@pytest.mark.parametrize(
    ("kinds", "sessions"),
    [
        ("start", [("open", 0, None)]),
        ("stop", [("orphaned", None, 0)]),
        ("start stop", [("closed", 0, 1)]),
        ("start delivered stop", [("closed", 0, 2)]),
        ("start start stop", [("open", 0, None), ("closed", 1, 2)]),
        ("start stop stop", [("closed", 0, 1), ("orphaned", None, 2)]),
        ("stop start", [("orphaned", None, 0), ("open", 1, None)]),
        ("delivered", []),
    ],
)
def test_sessions_pair_a_start_with_the_next_stop(kinds: str, sessions: list[tuple[str, Any, Any]]) -> None:
    rows = events(*(("d", kind, hour, "c") for hour, kind in enumerate(kinds.split())))
    found = driving_sessions(silver_driver_events(reversed(lines(*rows)))[0])
    assert [
        (
            row["session_status"],
            row["started_at"] and row["started_at"].hour,
            row["stopped_at"] and row["stopped_at"].hour,
        )
        for row in found
    ] == sessions


def test_a_session_carries_its_company_duration_and_both_places() -> None:
    rows = events(("d", "stop", 30, "c2"), ("e", "stop", 23, "c3"), ("d", "start", 22, "c1"))
    closed, orphaned = sorted(driving_sessions(silver_driver_events(lines(*rows))[0]), key=lambda row: row["driver_id"])
    assert closed == {
        "driver_id": "d",
        "started_at": utc("2024-03-04 22:00"),
        "stopped_at": utc("2024-03-05 06:00"),
        "duration_seconds": 8 * 3600.0,
        "session_status": "closed",
        "company_id": "c1",
        "start_source_file": "f",
        "start_source_line": 3,
        "start_load_id": 1,
        "stop_source_file": "f",
        "stop_source_line": 1,
        "stop_load_id": 1,
    }
    assert (orphaned["company_id"], orphaned["duration_seconds"], orphaned["start_load_id"]) == (
        "c3",
        None,
        None,
    )


def test_gold_joins_the_current_company_and_counts_days() -> None:
    day = events(("d", "start", 0, "c"), ("d", "stop", 1, "x"), ("e", "delivered", 2, "c"), ("d", "stop", 24, "c"))
    first, second = ({"company_id": "c", "name": name} for name in ("old", "new"))
    loads = [
        {"driver_events": lines(*day), "companies": lines(first)},
        {"driver_events": [], "companies": lines(second, load=2)},
    ]
    tables = run(loads)
    enriched = tables["gold.enriched_driver_events"]
    assert [row["company_name"] for row in enriched] == ["new", None, "new", "new"]
    assert [row["is_company_matched"] for row in enriched] == [True, False, True, True]
    date = utc("2024-03-04").date()
    assert tables["gold.daily_driver_activity"][0] == {
        "event_date": date,
        "driver_id": "d",
        "events": 2,
        "start_driving_events": 1,
        "stop_driving_events": 1,
        "delivered_events": 0,
        "distinct_companies": 2,
    }
    assert tables["gold.daily_company_activity"][0] == {
        "event_date": date,
        "company_id": "c",
        "company_name": "new",
        "is_company_matched": True,
        "events": 2,
        "start_driving_events": 1,
        "stop_driving_events": 0,
        "delivered_events": 1,
        "distinct_drivers": 2,
    }
    assert len(tables["gold.daily_driver_activity"]) == len(tables["gold.daily_company_activity"]) == 3
    assert [row["session_status"] for row in tables["gold.driving_sessions"]] == ["closed", "orphaned"]


# Raw files


class Raw:
    """A raw root that tests write to, and what each load finds new in it."""

    def __init__(self, root: Path) -> None:
        self.root, self.tree, self.load_id = root, RawTree(root), 0

    def write(self, name: str, content: bytes) -> None:
        (self.root / name).parent.mkdir(parents=True, exist_ok=True)
        (self.root / name).write_bytes(content)

    def news(self) -> list[tuple[str, int, bytes]]:
        self.load_id += 1
        loaded = self.tree.load(load_id=self.load_id, loaded_at=LOADED_AT)
        return [(one.source_file, one.source_line, one.raw) for records in loaded.values() for one in records]


@pytest.fixture
def raw(tmp_path: Path) -> Raw:
    return Raw(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "records"),
    [
        ("events/a.jsonl", b"1\n \t\r\n2\r\n3\r4", [(1, b"1"), (3, b"2"), (4, b"3\r4")]),
        ("events/a.jsonl", b"\xef\xbb\xbf1\n", [(1, b"1")]),
        ("events/a.jsonl", b"[1,\n2]\n", [(1, b"[1,"), (2, b"2]")]),
        ("events/a.jsonl", b"", []),
        ("events/a.json", b'\n[ {"a": [1]} ,\n"],["\r\n]\n', [(1, b'{"a": [1]}'), (2, b'"],["')]),
        ("events/a.json", b'["\xff", 1]', [(1, b'"\xff"'), (2, b"1")]),
        ("events/a.json", b"[]", []),
        ("events/a.json", b" \r\n", []),
        ("events/a.json", b'{\n"a":1}\n', [(1, b'{\n"a":1}')]),
        ("events/a.json", b"\n{}\n{}\nx", [(2, b"{}"), (3, b"{}"), (4, b"x")]),
        ("events/a.json", b"[1,\n2,]\n", [(1, b"[1,\n2,]")]),
        ("events/a.JSON.Gz", gzip.compress(b"[1]") + gzip.compress(b" ") + b"\0\0", [(1, b"1")]),
        ("events/_x/.y/a=b.ndjson", gzip.compress(b"1\n"), [(1, b"1")]),
        ("events/a.json", b'"\xff"\n1\n', [(1, b'"\xff"\n1')]),
        ("events/a\nb/c:d/[x] %20\n.jsonl", b"1", [(1, b"1")]),
        ("companies.jsonl", b"1\n", [(1, b"1")]),
        ("companies_2.json", b"[1]", [(1, b"1")]),
        ("events/batch_meta.json", b"{}", []),
        ("events/a.csv", b"{}", []),
        ("other/a.jsonl", b"{}", []),
        ("sub/companies.jsonl", b"{}", []),
    ],
)
def test_a_file_is_read_by_its_name(raw: Raw, name: str, content: bytes, records: list[tuple[int, bytes]]) -> None:
    raw.write(name, content)
    assert raw.news() == [(name, *one) for one in records]


@pytest.mark.parametrize(
    ("before", "after", "records"),
    [
        (b"1\n2\n", b"1\n2\n", []),
        (b"1\n2\n", b"1\n2\n\n3\n", [(4, b"3")]),
        (b"1\n2", b"1\n2\n3\n", [(3, b"3")]),
        (b'1\n{"a":', b'1\n{"a":2}\n3', [(2, b'{"a":2}'), (3, b"3")]),
        (b"1\n2\r", b"1\n2\r\n", []),
        (b"1\n2\n", b"1\n3\n", [(1, b"1"), (2, b"3")]),
        (b"1\n2\n", b"1\n", [(1, b"1")]),
    ],
)
def test_a_changed_file_goes_on_or_is_read_again(
    raw: Raw,
    before: bytes,
    after: bytes,
    records: list[tuple[int, bytes]],
) -> None:
    for name in ("companies.jsonl", "events/a.jsonl"):
        raw.write(name, before)
    raw.news()
    for name in ("companies.jsonl", "events/a.jsonl"):
        raw.write(name, after)
    assert raw.news() == [(name, *one) for name in ("events/a.jsonl", "companies.jsonl") for one in records]


@pytest.mark.parametrize(
    ("before", "after", "records"),
    [
        (b"[1]", b"[1]\n\n", [(1, b"1")]),
        (b"1", b"1\n2", [(1, b"1"), (2, b"2")]),
        (b"\n", b"\n[1]", [(1, b"1")]),
    ],
)
def test_a_document_that_changes_is_read_again(
    raw: Raw,
    before: bytes,
    after: bytes,
    records: list[tuple[int, bytes]],
) -> None:
    raw.write("events/a.json", before)
    raw.news()
    raw.write("events/a.json", after)
    assert raw.news() == [("events/a.json", *one) for one in records]


def test_links_are_not_followed(raw: Raw) -> None:
    raw.write("other/a.jsonl", b"1\n")
    (raw.root / "events").symlink_to(raw.root / "other")
    (raw.root / "companies.jsonl").symlink_to(raw.root / "other/a.jsonl")
    assert raw.news() == []


def test_repeated_content_adds_nothing_for_events_and_all_for_companies(raw: Raw) -> None:
    for name in (
        "companies_b.jsonl",
        "companies_a.jsonl",
        "events/b.jsonl",
        "events/a.jsonl",
        "events/a.json",
    ):
        raw.write(name, b"1\n")
    assert [name for name, _, _ in raw.news()] == [
        "events/a.json",
        "events/a.jsonl",
        "companies_a.jsonl",
        "companies_b.jsonl",
    ]
    raw.write("events/b.jsonl", b"2\n")
    raw.write("events/c.jsonl", b"1\n")
    assert raw.news() == [("events/b.jsonl", 1, b"2")]
    raw.write("events/b.jsonl", b"1\n")
    assert raw.news() == []


def test_odd_file_names_never_collide(raw: Raw) -> None:
    raw.write("events/a\\xff.jsonl", b"1\n")
    raw.write("events/a\udcff.jsonl", b"2\n")
    assert [name for name, _, _ in raw.news()] == ["events/a\\\\xff.jsonl", "events/a\\xff.jsonl"]
