"""The contract's rules once more, in plain Python and without the pipeline's code, to judge it by."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import sys
from collections import Counter, defaultdict
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from fractions import Fraction
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from pathlib import Path

Row = dict[str, Any]

COMPANY_KEYS = ("company_id", "name", "sector", "size_indicator", "geography", "active", "created_at")
EVENT_IDS = ("event_id", "driver_id", "company_id", "truck_id")
EVENT_KEYS = (*EVENT_IDS, "event_timestamp", "timestamp", "event_type", "payload")
EVENT_TYPES = {
    "start_driving": ("start_driving", "start", "started", "started_driving", "driving_start"),
    "stop_driving": ("stop_driving", "stop", "stopped", "stopped_driving", "driving_stop"),
    "delivered": ("delivered", "deliver", "delivery"),
}
POSITION = ("_load_id", "_source_file", "_source_line")
PROVENANCE = (*POSITION, "_source_file_id")

MAX_LEVELS = MAX_DIGITS = 1_000
MAX_RECORD_BYTES, KEPT_BYTES = 16 * 1024**2, 64 * 1024
ASCII_SPACE, JSON_SPACE = " \t\n\r\v\f", " \t\n\r"
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
EARLIEST = datetime(2000, 1, 1, tzinfo=UTC)

sys.setrecursionlimit(10_000)  # a record may nest 1,000 levels, and rendering takes several calls a level


@dataclass(frozen=True)
class Record:
    """One record as it arrived."""

    load_id: int
    loaded_at: datetime
    source_file: str
    source_line: int
    source_file_id: str
    raw: bytes


def arrival(record: Record) -> tuple[int, bytes, int]:
    return record.load_id, record.source_file.encode(), record.source_line


# JSON (section 3)


class Members(list[tuple[str, Any]]):
    """A JSON object as its key-value pairs, so that repeated keys are seen."""


def refuse_constant(name: str) -> float:
    raise ValueError(name)


def strict_decoder(parse_int: Callable[[str], Any], parse_float: Callable[[str], Any]) -> json.JSONDecoder:
    return json.JSONDecoder(
        object_pairs_hook=Members,
        parse_int=parse_int,
        parse_float=parse_float,
        parse_constant=refuse_constant,
    )


class Numeral(str):
    """A JSON number as bronze writes it."""

    __slots__ = ()


def as_double(digits: str) -> Numeral:
    double = float(digits)
    return Numeral(digits if double in (float("inf"), float("-inf")) else repr(double))


EXACT = strict_decoder(Numeral, as_double)


def is_within_limits(text: str) -> bool:
    if len(text) <= min(MAX_LEVELS, MAX_DIGITS):
        return True
    bare = re.sub(r'"(?:[^"\\]++|\\.)*+"?', "", text, flags=re.DOTALL)  # strings may hold anything
    level = deepest = 0
    for bracket in re.findall(r"[\[\]{}]", bare):
        level += 1 if bracket in "[{" else -1
        deepest = max(deepest, level)
    numbers = re.findall(r"[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?", bare)
    return deepest <= MAX_LEVELS and all(len(re.findall("[0-9]", number)) <= MAX_DIGITS for number in numbers)


def parse_json(text: str) -> object:
    """Return the one JSON value that the text is, or raise ValueError."""
    if not is_within_limits(text):
        raise ValueError(text[:80])
    return EXACT.decode(text)


def without_surrogates(text: str) -> str:
    return re.sub(r"[\ud800-\udfff]", "?", text)


def json_text(value: object) -> str:
    """Render a parsed value in one way: no spaces, integers as written, other numbers as doubles if they can be."""
    if isinstance(value, Numeral):
        return value
    if isinstance(value, Members):
        return "{" + ",".join(f"{json_text(key)}:{json_text(member)}" for key, member in value) + "}"
    if isinstance(value, list):
        return "[" + ",".join(json_text(element) for element in value) + "]"
    return without_surrogates(json.dumps(value, ensure_ascii=False))


def column_text(value: object) -> str | None:
    if value is None:
        return None
    return without_surrogates(value) if isinstance(value, str) else json_text(value)


# Bronze (section 3)


def classify(raw: bytes) -> tuple[str | None, Row]:
    """Return the first defect that applies, or None and the record's fields."""
    if len(raw) > MAX_RECORD_BYTES:
        return "too_long", {}
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return "invalid_utf8", {}
    try:
        value = parse_json(text)
    except ValueError:
        return "not_json", {}
    if not isinstance(value, Members):
        return "not_object", {}
    fields = {without_surrogates(key): member for key, member in value}
    return ("duplicate_key", {}) if len(fields) < len(value) else (None, fields)


def bronze(record: Record, declared_keys: Sequence[str]) -> Row:
    """Return the record's bronze row."""
    defect, fields = classify(record.raw)
    kept = record.raw[:KEPT_BYTES] if defect == "too_long" else record.raw
    return {
        **{key: column_text(fields.get(key)) for key in declared_keys},
        "_raw": kept.decode("utf-8", "replace"),
        "_raw_bytes": record.raw if defect == "invalid_utf8" else None,
        "_defect": defect,
        "_unknown_keys": None if defect else [key for key in fields if key not in declared_keys],
        "_source_file": record.source_file,
        "_source_line": record.source_line,
        "_source_file_id": record.source_file_id,
        "_load_id": record.load_id,
        "_loaded_at": record.loaded_at,
    }


# Values (section 4)

ISO_TIME = re.compile(
    r"([0-9]{4})-([0-9]{2})-([0-9]{2})[T ]([0-9]{2}):([0-9]{2})(?::([0-9]{2})(?:\.([0-9]{1,9}))?)?"
    r"(?:Z|([+-])([0-9]{2})(?::?([0-9]{2}))?)?",
)
JSON_NUMBER = re.compile(r"-?(?:0|[1-9][0-9]*)(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?")


def trimmed(text: str | None) -> str | None:
    return (text or "").strip(ASCII_SPACE) or None


def unless_blank(text: str | None) -> str | None:
    return text if trimmed(text) else None


def parse_time(text: str | None) -> int | None:
    """Return the microseconds since 1970 that rule 3 reads in the text, or None."""
    text = trimmed(text) or ""
    if JSON_NUMBER.fullmatch(text):
        return parse_unix_time(text) if len(text) <= MAX_DIGITS else None
    iso = ISO_TIME.fullmatch(text)
    return parse_iso_time(*iso.groups()) if iso else None


def parse_unix_time(text: str) -> int | None:
    try:
        number = Decimal(text)
    except InvalidOperation:  # an exponent of twenty digits
        return None
    if 10**9 <= number < 10**10:
        return int(Fraction(number) * 10**6)
    if 10**12 <= number < 10**13:
        return int(Fraction(number) * 10**3)
    return None


def parse_iso_time(*parts: str | None) -> int | None:
    year, month, day, hour, minute, second = (int(part or 0) for part in parts[:6])
    fraction, sign, offset_hour, offset_minute = parts[6:]
    try:  # Python knows no year 0, ISO 8601 does: move to the years 2000 to 2399 and back by spans of 400
        days = (date(2000 + year % 400, month, day) - EPOCH.date()).days + (year // 400 - 5) * 146_097
        clock, offset = time(hour, minute, second), time(int(offset_hour or 0), int(offset_minute or 0))
    except ValueError:
        return None
    if offset > time(18):
        return None
    since_midnight = (clock.hour * 60 + clock.minute) * 60 + clock.second
    ahead_of_utc = (offset.hour * 60 + offset.minute) * 60 * (-1 if sign == "-" else 1)
    return (days * 86_400 + since_midnight - ahead_of_utc) * 10**6 + int((fraction or "").ljust(6, "0")[:6])


def as_datetime(microseconds: int) -> datetime | int:
    """Return the instant in UTC; outside the years 1 to 9999, where Python has none, the number."""
    try:
        return EPOCH + timedelta(microseconds=microseconds)
    except OverflowError:
        return microseconds


def canonical_event_type(text: str | None) -> str | None:
    spelling = re.sub(r"[^a-z0-9]+", "_", (text or "").lower()).strip("_")
    return next((event_type for event_type, aliases in EVENT_TYPES.items() if spelling in aliases), None)


# Silver (section 4)


def read_event(row: Row) -> Row | str:
    """Return the typed event of a bronze row, or the reason why it does not count."""
    if row["_defect"]:
        return str(row["_defect"])
    ids = {key: trimmed(row[key]) for key in EVENT_IDS}
    required = {
        "driver_id": ids["driver_id"],
        "event_timestamp": trimmed(row["event_timestamp"]) or trimmed(row["timestamp"]),
        "event_type": trimmed(row["event_type"]),
        "company_id": ids["company_id"],
    }
    for column, text in required.items():
        if text is None:
            return f"missing_{column}"
    microseconds = parse_time(required["event_timestamp"])
    if microseconds is None:
        return "invalid_event_timestamp"
    happened_at = as_datetime(microseconds)
    if isinstance(happened_at, int) or not EARLIEST <= happened_at <= row["_loaded_at"] + timedelta(days=1):
        return "implausible_event_timestamp"
    event_type = canonical_event_type(required["event_type"])
    if event_type is None:
        return "unknown_event_type"
    return {
        **ids,
        "event_timestamp": happened_at,
        "event_date": happened_at.date(),
        "event_type": event_type,
        "payload": row["payload"],
        **{key: row[key] for key in PROVENANCE},
    }


def rejected(row: Row, reason: str) -> Row:
    return {"reject_reason": reason, **{key: row[key] for key in PROVENANCE}, "_raw": row["_raw"]}


def duplicate_of(winner: Row | None, event: Row) -> Row:
    """Name the accepted event, if there is one, and say whether the later one contradicts it."""
    compared = ("event_type", "company_id", "truck_id", "payload")
    return {
        **{f"duplicate_of{key}": winner and winner[key] for key in POSITION},
        "is_conflicting": winner and any(event[key] != winner[key] for key in compared),
    }


def silver_driver_events(records: Iterable[Record]) -> tuple[list[Row], list[Row]]:
    """Return the accepted and the rejected events."""
    accepted: dict[tuple[str, datetime], Row] = {}
    refused: list[Row] = []
    for record in sorted(records, key=arrival):
        row = bronze(record, EVENT_KEYS)
        event = read_event(row)
        if isinstance(event, str):
            refused.append(rejected(row, event) | duplicate_of(None, row))
            continue
        winner = accepted.setdefault((event["driver_id"], event["event_timestamp"]), event)
        if winner is not event:
            refused.append(rejected(row, "duplicate") | duplicate_of(winner, event))
    return list(accepted.values()), refused


def read_company(row: Row) -> Row | str:
    """Return the attributes in a bronze row, or the reason why it does not count."""
    if row["_defect"]:
        return str(row["_defect"])
    company_id = trimmed(row["company_id"])
    active, created_at = unless_blank(row["active"]), unless_blank(row["created_at"])
    microseconds = parse_time(created_at)
    if company_id is None:
        return "missing_company_id"
    if active is not None and active.lower() not in ("true", "false"):
        return "invalid_active"
    if created_at is not None and microseconds is None:
        return "invalid_created_at"
    return {
        "company_id": company_id,
        **{column: unless_blank(row[column]) for column in ("name", "sector", "size_indicator", "geography")},
        "is_active": None if active is None else active.lower() == "true",
        "created_at": None if microseconds is None else as_datetime(microseconds),
    }


def silver_companies(records: Iterable[Record]) -> tuple[list[Row], list[Row], list[Row]]:
    """Return every version, the current ones, and the rejected records."""
    history: list[Row] = []
    refused: list[Row] = []
    newest: dict[str, Row] = {}
    for record in sorted(records, key=arrival):
        row = bronze(record, COMPANY_KEYS)
        company = read_company(row)
        if isinstance(company, str):
            refused.append(rejected(row, company))
            continue
        before = newest.get(company["company_id"])
        if before and all(before[column] == value for column, value in company.items()):
            refused.append(rejected(row, "unchanged"))
            continue
        if before:
            before.update(valid_to_load_id=record.load_id, is_current=False)
        validity = {"valid_from_load_id": record.load_id, "valid_to_load_id": None, "is_current": True}
        newest[company["company_id"]] = {**company, **validity, **{key: row[key] for key in PROVENANCE}}
        history.append(newest[company["company_id"]])
    return history, list(newest.values()), refused


# Gold (section 5)


def enrich(event: Row, company: Row | None) -> Row:
    attributes = ("name", "sector", "size_indicator", "geography", "is_active")
    described = {f"company_{attribute}": company and company[attribute] for attribute in attributes}
    return {**event, **described, "is_company_matched": company is not None}


def daily_activity(events: Iterable[Row], keys: Sequence[str], **distinct: str) -> list[Row]:
    """Count the events of each key, by type, and the different values of a column."""
    groups: dict[tuple[Any, ...], list[Row]] = defaultdict(list)
    for event in events:
        groups[tuple(event[key] for key in keys)].append(event)
    return [
        {
            **dict(zip(keys, group, strict=True)),
            "events": len(members),
            **{f"{kind}_events": sum(event["event_type"] == kind for event in members) for kind in EVENT_TYPES},
            **{name: len({event[column] for event in members}) for name, column in distinct.items()},
        }
        for group, members in groups.items()
    ]


def driving_sessions(events: Iterable[Row]) -> list[Row]:
    """Return a row per start, and per stop whose driver's start or stop before it is no start."""
    turns: dict[str, list[Row]] = defaultdict(list)
    for event in sorted(events, key=lambda event: event["event_timestamp"]):
        if event["event_type"] != "delivered":
            turns[event["driver_id"]].append(event)
    sessions = []
    for of_driver in turns.values():
        for before, event, after in zip([{}, *of_driver], of_driver, [*of_driver[1:], {}], strict=False):
            if event["event_type"] == "start_driving":
                sessions.append(session(event, after if after.get("event_type") == "stop_driving" else None))
            elif before.get("event_type") != "start_driving":
                sessions.append(session(None, event))
    return sessions


def session(start: Row | None, stop: Row | None) -> Row:
    """Return the session of a start, a stop, or both."""
    known: Row = start or stop or {}
    duration = (stop["event_timestamp"] - start["event_timestamp"]).total_seconds() if start and stop else None
    return {
        "driver_id": known["driver_id"],
        "started_at": start and start["event_timestamp"],
        "stopped_at": stop and stop["event_timestamp"],
        "duration_seconds": duration,
        "session_status": "orphaned" if start is None else "open" if stop is None else "closed",
        "company_id": known["company_id"],
        **{f"start{key}": start and start[key] for key in POSITION},
        **{f"stop{key}": stop and stop[key] for key in POSITION},
    }


def gold(accepted_events: Iterable[Row], current_companies: Iterable[Row]) -> dict[str, list[Row]]:
    """Return the four gold tables."""
    companies = {company["company_id"]: company for company in current_companies}
    events = [enrich(event, companies.get(event["company_id"])) for event in accepted_events]
    of_driver = ("event_date", "driver_id")
    of_company = ("event_date", "company_id", "company_name", "is_company_matched")
    return {
        "enriched_driver_events": events,
        "daily_driver_activity": daily_activity(events, of_driver, distinct_companies="company_id"),
        "daily_company_activity": daily_activity(events, of_company, distinct_drivers="driver_id"),
        "driving_sessions": driving_sessions(events),
    }


def run(loads: Iterable[Mapping[str, Sequence[Record]]]) -> dict[str, list[Row]]:
    """Return every silver and gold table after these loads."""
    records: dict[str, list[Record]] = defaultdict(list)
    for load in loads:
        for feed, arrived in load.items():
            records[feed] += arrived
    events, rejected_events = silver_driver_events(records["driver_events"])
    history, current, rejected_companies = silver_companies(records["companies"])
    return {
        "silver.driver_events": events,
        "silver.rejected_driver_events": rejected_events,
        "silver.company_history": history,
        "silver.companies": current,
        "silver.rejected_companies": rejected_companies,
        **{f"gold.{table}": rows for table, rows in gold(events, current).items()},
    }


# Audit (section 6)


def audits(loads: Iterable[Mapping[str, Sequence[Record]]]) -> dict[str, list[Row]]:
    """Return the audit tables that say what became of the records; of files, those that have any."""
    loads = list(loads)
    tables = run(loads)
    keys = {"driver_events": EVENT_KEYS, "companies": COMPANY_KEYS}
    accepted = {"driver_events": "silver.driver_events", "companies": "silver.company_history"}
    rows = [(feed, bronze(record, keys[feed])) for load in loads for feed in load for record in load[feed]]
    outcomes: dict[tuple[Any, ...], Row] = {
        position(row): row for feed in keys for row in tables[accepted[feed]] + tables[f"silver.rejected_{feed}"]
    }
    unmatched: dict[str, list[Row]] = defaultdict(list)
    for event in tables["gold.enriched_driver_events"]:
        if not event["is_company_matched"]:
            unmatched[event["company_id"]].append(event)
    unknown = Counter((feed, key, row["_load_id"]) for feed, row in rows for key in row["_unknown_keys"] or [])
    files: dict[tuple[str, str, int], list[Row]] = defaultdict(list)
    for feed, row in rows:
        files[feed, row["_source_file"], row["_load_id"]].append(outcomes[position(row)])
    return {
        "audit.source_file_audit": [audit_of_file(*key, members) for key, members in files.items()],
        "audit.unmatched_companies": [
            {"company_id": company, "events": len(events), "distinct_drivers": len({e["driver_id"] for e in events})}
            for company, events in unmatched.items()
        ],
        "audit.unknown_keys": [
            {"feed": feed, "unknown_key": key, "_load_id": load_id, "records": records}
            for (feed, key, load_id), records in unknown.items()
        ],
    }


def position(row: Row) -> tuple[Any, ...]:
    return tuple(row[key] for key in POSITION)


def audit_of_file(feed: str, source_file: str, load_id: int, outcomes: list[Row]) -> Row:
    reasons = Counter(row.get("reject_reason") for row in outcomes)
    duplicates = reasons.pop("duplicate", 0) + reasons.pop("unchanged", 0)
    accepted = reasons.pop(None, 0)
    return {
        "feed": feed,
        "_source_file": source_file,
        "_load_id": load_id,
        "records": len(outcomes),
        "accepted": accepted,
        "duplicates": duplicates,
        "rejected": sum(reasons.values()),
        "conflicting": sum(bool(row.get("is_conflicting")) for row in outcomes),
        "reject_reasons": [{"reason": str(reason), "records": reasons[reason]} for reason in sorted(map(str, reasons))],
        "is_reconciled": True,
    }


# Raw files (section 2), where they are readable and at rest

ENDING = r"[^/]*\.(?i:jsonl|ndjson|json)(?i:\.gz)?"
FEEDS = {
    "driver_events": re.compile(rf"(?s)events/(?:.*/)?(?!batch_meta\.json\Z){ENDING}"),
    "companies": re.compile(rf"companies{ENDING}"),
}


@dataclass(frozen=True)
class Version:
    """A file as it lay there at one load: hash, text, numbered records, and how they were read."""

    file_id: str
    text: bytes
    records: list[tuple[int, bytes]]
    is_document: bool


class RawTree:
    """A raw root that may grow; each load yields what came since the load before."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.versions: dict[str, Version] = {}
        self.events_read: set[tuple[str, bool]] = set()

    def load(self, *, load_id: int, loaded_at: datetime) -> dict[str, list[Record]]:
        """Return the new records of each feed."""
        loaded: dict[str, list[Record]] = {feed: [] for feed in FEEDS}
        paths = [path for path in self.root.rglob("*") if path.is_file() and not path.is_symlink()]
        files = {source_file(path.relative_to(self.root)): path for path in paths}
        for name in sorted(files, key=str.encode):
            for feed in (feed for feed, pattern in FEEDS.items() if pattern.fullmatch(name)):
                version = read_version(name, files[name].read_bytes())
                loaded[feed] += [
                    Record(load_id, loaded_at, name, number, version.file_id, raw)
                    for number, raw in self._news(feed, name, version)
                ]
        return loaded

    def _news(self, feed: str, name: str, version: Version) -> list[tuple[int, bytes]]:
        before = self.versions.get(name)
        self.versions[name] = version
        if before and before.file_id == version.file_id:
            return []
        if feed == "driver_events":
            if (version.file_id, version.is_document) in self.events_read:
                return []
            self.events_read.add((version.file_id, version.is_document))
        known = lines_known(before, version) if before else 0
        return [(number, raw) for number, raw in version.records if number > known]


def source_file(path: Path) -> str:
    return os.fsencode(path.as_posix()).replace(b"\\", b"\\\\").decode("utf-8", "backslashreplace")


def read_version(name: str, data: bytes) -> Version:
    """Read a file's bytes by its name's rules."""
    text = (gzip.decompress(data) if data.startswith(b"\x1f\x8b") else data).removeprefix(b"\xef\xbb\xbf")
    records = [(number, line) for number, line in enumerate(lines_of(text), 1) if line.strip(b" \t\r")]
    document = None
    if records and name.lower().removesuffix(".gz").endswith(".json"):
        document = document_records(text)
        if document is None and classify(records[0][1])[0] in ("invalid_utf8", "not_json"):
            document = [text.removesuffix(b"\n").removesuffix(b"\r")]
    if document is not None:
        records = list(enumerate(document, 1))
    return Version(hashlib.sha256(data).hexdigest(), text, records, document is not None)


def lines_of(text: bytes) -> list[bytes]:
    *ended, rest = text.split(b"\n")
    return [line.removesuffix(b"\r") for line in ended] + ([rest] if rest else [])


def document_records(data: bytes) -> list[bytes] | None:
    """Return the elements of an array, or a single document; None if the text is not one JSON document."""
    text = data.decode("utf-8", "surrogateescape")
    try:
        EXACT.decode(text)
    except ValueError:
        return None
    if not text.lstrip(JSON_SPACE).startswith("["):
        return [data.removesuffix(b"\n").removesuffix(b"\r")]
    elements: list[bytes] = []
    at = text.index("[") + 1
    while True:
        while text[at] in JSON_SPACE + ",":
            at += 1
        if text[at] == "]":
            return elements
        start, at = at, EXACT.raw_decode(text, at)[1]
        elements.append(text[start:at].encode("utf-8", "surrogateescape"))


def lines_known(before: Version, now: Version) -> int:
    """Count the lines that were wholly there before; none of a document or of a replaced file."""
    if before.is_document or now.is_document or not now.text.startswith(before.text):
        return 0
    pairs = zip(lines_of(before.text), lines_of(now.text), strict=False)
    return sum(old.rstrip(b"\r") == new.rstrip(b"\r") for old, new in pairs)
