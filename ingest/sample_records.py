"""What the records of a sample look like: companies, a driver's trips, and every way in which a record can be odd."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    import random
    from collections.abc import Callable, Sequence

T = TypeVar("T")
Record = dict[str, Any]

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
CENTRAL_EUROPE = timezone(timedelta(hours=2))

# fmt: off
ABSENT = object()
NO_VALUES = (ABSENT, None, "", " \t")
VALUES = {  # an event is of this kind if it has one of these values
    "missing_driver_id": ("driver_id", NO_VALUES),
    "missing_event_timestamp": ("timestamp", NO_VALUES),
    "missing_event_type": ("event_type", NO_VALUES),
    "missing_company_id": ("company_id", NO_VALUES),
    "invalid_event_timestamp": ("timestamp", (
        "not-a-timestamp", "2024/03/04 06:13:20", "2024-02-30T10:00:00Z", "2024-03-04T24:00:00Z",
        "2024-03-04T06:00:60Z", "2024-03-04", "2024-03-04t06:00:00z", "2024-03-04T06:00:00.1234567890Z",
        "2024-03-04T06:00:00+18:30", 20240304, True, {"at": "06:00"},
    )),
    "implausible_event_timestamp": ("timestamp", (
        "1999-12-31T23:59:59.999999Z", 9999999999, "2000-01-01T00:30+01:00", "9999-12-31T23:59:59Z",
    )),
    "unknown_event_type": ("event_type", (
        "invalid-type", 123, "refuelling", "start driving now", "-", "startdriving", {"type": "start"},
    )),
    "unknown_key": ("Event_Id", ("A-17", 17, None, {"tags": ["night", "früh"]})),
}
NOT_UTF8 = ("\udcff", "Z\udcfcrich-", "\udce2\udc82", "\udcc0\udcaf", "\udced\udca0\udc80")  # bytes
BROKEN: dict[str, Callable[[str], tuple[str, ...]]] = {
    "not_json": lambda line: (
        line[: len(line) // 2], f"{line} # sent", f'{line[:-1]},"eta":NaN}}',
        line.replace('"', "'"), line * 2,
    ),
    "not_object": lambda line: (f"[{line}]", '"heartbeat"', "42", "null"),
    "duplicate_key": lambda line: (f'{line[:-1]},"truck_id":"?"}}', f'{line[:-1]},"truck\\u005fid":"?"}}'),
    "invalid_utf8": lambda line: tuple(line.replace("DRV-", text, 1) for text in NOT_UTF8),
    "blank_line_after": lambda line: (f"{line}\n", f"{line}\n   ", f"{line}\n\t"),
}
TRIPS = {  # what a driver does in one batch; "begun" goes on as "ended" in the next one
    "whole": (
        ("start", "delivered", "stop", "start", "stop"),
        ("start", "stop", "start", "delivered", "stop"),
    ),
    "begun": (
        ("start", "delivered", "stop", "start", "delivered"),
        ("start", "stop", "start", "stop", "start"),
    ),
    "ended": (
        ("stop", "start", "stop", "start", "stop"),
        ("delivered", "stop", "start", "delivered", "stop"),
    ),
}
TRIP_EVENTS = 5
SPELLINGS = {
    "start": ("start driving",) * 20 + ("started", "START", "driving-start", "Start_Driving"),
    "stop": ("stopped driving",) * 20 + ("stop", "Stopped", "driving-stop", "STOP DRIVING"),
    "delivered": ("delivered",) * 20 + ("DELIVERED", "delivery", "Deliver", " delivered "),
}
NAMES = ("Adler", "Björk", "Canal", "Delta", "Łódź", "Müller", "Northern", "O'Neill", "Rhône", "Summit")
SECTORS = ("freight", "food", "parcel", "construction", "chemicals")
GEOGRAPHIES = ("US", "DE", "PL", "NL", "FR")
# fmt: on

encode = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False).encode


def pick(forms: Sequence[T], turn: int) -> T:
    return forms[turn % len(forms)]


def make_id(rng: random.Random) -> str:
    digits = rng.randbytes(16).hex()
    return f"{digits[:8]}-{digits[8:12]}-4{digits[13:16]}-a{digits[17:20]}-{digits[20:]}"


def make_company(rng: random.Random, company_id: str) -> Record:
    return {
        "company_id": company_id,
        "name": f"{rng.choice(NAMES)} {rng.choice(NAMES)} {rng.randrange(1000)}",
        "sector": rng.choice(SECTORS),
        "size_indicator": rng.choice(("small", "medium", "large")),
        "geography": rng.choice(GEOGRAPHIES),
        "active": rng.randrange(10) > 0,
        "created_at": f"20{rng.randrange(10, 24)}-0{rng.randrange(1, 10)}-{rng.randrange(10, 29)}T09:30:00Z",
    }


def spoil_company(company: Record, turn: int) -> tuple[str, str]:
    forms = (
        (encode(company | {"company_id": pick((None, " "), turn // 4)}), "missing_company_id"),
        (encode(company | {"active": pick(("yes", 1), turn // 4)}), "invalid_active"),
        (encode(company | {"created_at": "01/02/2023"}), "invalid_created_at"),
        (encode(company)[:-20], "not_json"),
    )
    return pick(forms, turn)


def make_tails(rng: random.Random) -> list[str]:
    """Make ends of event lines, from the microseconds on; one in twenty has a payload."""
    micros = [f"{micro:06}" for micro in rng.sample(range(1_000_000), 4000)]
    tails = [f'{micro}Z"}}' for micro in micros]
    tails[::20] = [f'{micro}Z","payload":{{"cargo":"Öl","kg":1{micro[:4]}}}}}' for micro in micros[::20]]
    return tails


def make_trip(rng: random.Random, start: datetime, types: tuple[str, ...]) -> list[str]:
    """Make the middles of a driver's event lines, from the type to the seconds.

    Each has its own even second, so driver and time are unique in any spelling; late events take odd ones.
    """
    key = pick(("event_timestamp", *["timestamp"] * 9), rng.randrange(10))
    hour, first = f"{start:%Y-%m-%dT%H}", start.minute * 60
    seconds = sorted(rng.sample(range(first, first + 900, 2), len(types)))
    return [
        f'{rng.choice(SPELLINGS[name])}","{key}":"{hour}:{second // 60:02}:{second % 60:02}.'
        for name, second in zip(types, seconds, strict=True)
    ]


def _time_key(event: Record) -> str:
    return "event_timestamp" if event.get("event_timestamp") else "timestamp"


def make_odd(line: str, kind: str, turn: int) -> str:
    """Make a plain line one of this kind, in each of its forms in turn."""
    if kind in BROKEN:
        return pick(BROKEN[kind](line), turn)
    event = json.loads(line)
    time_key = _time_key(event)
    if kind == "late":
        return encode(event | {time_key: _a_day_before(event[time_key])})
    if kind == "time_spelling":
        return encode(event | pick(_spellings(time_key, event[time_key]), turn))
    key, values = VALUES[kind]
    key = time_key if key == "timestamp" else key
    event[key] = pick(values, turn)
    if event[key] is ABSENT:
        del event[key]
    return encode(event)


def _a_day_before(text: str) -> str:
    time = datetime.fromisoformat(text) - timedelta(days=1) + timedelta(seconds=1)
    return f"{time.isoformat(timespec='microseconds')[:-6]}Z"


def _spellings(key: str, text: str) -> tuple[Record, ...]:
    time = datetime.fromisoformat(text)
    seconds = (time - EPOCH) // timedelta(seconds=1)
    return (
        {key: f"{text[:19]}Z"}, {key: f"{text[:-1]}789Z"}, {key: f" {text} "}, {key: text.replace("T", " ")},
        {key: text[:-1]}, {key: f"{text[:-1]}+0000"}, {key: time.astimezone(CENTRAL_EUROPE).isoformat()},
        {key: seconds}, {key: str(seconds)}, {key: seconds + 0.5},
        {key: seconds * 1000 + time.microsecond // 1000},
        {"event_timestamp": None, "timestamp": text}, {"event_timestamp": text, "timestamp": "n/a"},
    )  # fmt: skip


def repeat_event(line: str, turn: int) -> str:
    """Repeat an event to the letter, or in another spelling."""
    if turn % 2 == 0:
        return line
    event = json.loads(line)
    time = event[_time_key(event)]
    if str(time).endswith("Z"):
        event[_time_key(event)] = f"{time[:-1]}+00:00"
    return encode(event | {"event_type": event["event_type"].upper()})


def conflict_event(line: str, turn: int) -> str:
    """Repeat the driver and time of an event with something else about it."""
    event = json.loads(line)
    is_delivered = "deliver" in event["event_type"].lower()
    others: tuple[Record, ...] = (
        {"event_type": "start driving" if is_delivered else "delivered"},
        {"company_id": f"{event['company_id']}-B"},
        {"truck_id": f"{event['truck_id']}-B"},
        {"payload": {"corrected": True}},
    )
    return encode(event | pick(others, turn))
