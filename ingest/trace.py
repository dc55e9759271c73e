"""The life of a record, told without a JVM: from its raw line to what became of it, and back."""

from __future__ import annotations

import zlib
from dataclasses import dataclass
from os import fsencode
from typing import TYPE_CHECKING, Any

from ingest.discovery import encode_name, raw_path
from ingest.documents import NotJsonError
from ingest.errors import IngestError
from ingest.lake import literal, query_if_there
from ingest.manifest import complete_version
from ingest.raw_records import raw_records, record_bytes
from ingest.report import printable
from ingest.status import complete_up_to
from ingest.times import WHITE_SPACE, parse_time
from ingest.versions import TOPICS

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime
    from pathlib import Path

    from ingest.lake import Lake

MOST_RECORDS = 100
YEARS = range(1678, 2262)  # what the engine's nanoseconds can say; no accepted event is of another
_PLACE = ("_load_id", "_source_file", "_source_line")
_OUTCOMES = {
    "driver_events": ("silver.driver_events", "silver.rejected_driver_events"),
    "companies": ("silver.company_history", "silver.rejected_companies"),
}
Row = dict[str, Any]


@dataclass(frozen=True)
class Question:
    """What is asked for: the keywords of one way to name records; the others are None."""

    driver_id: str | None = None
    event_timestamp: str | None = None
    source_file: str | None = None
    line: int | None = None
    company_id: str | None = None
    event_id: str | None = None


def trace(lake: Lake, raw: Path, question: Question) -> list[Row]:
    """Give the life of each record that the question names, in order of arrival.

    A life is a mapping with `record` (place, load, text, and whether the raw file still has it), `bronze`, `silver`,
    `company`, `gold` and `duplicates`. Raises IngestError if the question cannot be meant that way.
    """
    built = complete_up_to(lake)
    if question.driver_id is not None and question.event_timestamp is not None:
        records = _events_at(lake, built, question.driver_id, question.event_timestamp)
    elif question.source_file is not None and question.line is not None:
        condition = f"_source_file = {literal(_source_file(question.source_file))} and _source_line = {question.line}"
        records = [*_records(lake, "driver_events", condition), *_records(lake, "companies", condition)]
    elif question.company_id is not None:
        records = _records(lake, "companies", _is_id("company_id", question.company_id))
    elif question.event_id is not None:
        records = _records(lake, "driver_events", _is_id("event_id", question.event_id))
    else:
        message = (
            "name a record: --driver-id and --event-timestamp, --source-file and --line, --company-id, or --event-id."
        )
        raise IngestError(message)
    records.sort(key=_place)
    return _lives(lake, raw, built, records[:MOST_RECORDS])


def _source_file(name: str) -> str:
    """Give a file's name as bronze has it, also if the shell gave it in bytes that are not UTF-8."""
    try:
        name.encode()
    except UnicodeEncodeError:
        return encode_name(fsencode(name))
    return name


def _events_at(lake: Lake, built: dict[str, int], driver_id: str, event_timestamp: str) -> list[Row]:
    at = parse_time(event_timestamp)
    if at is None:
        message = f"--event-timestamp {event_timestamp!r} is no time: wanted ISO 8601, or Unix seconds or milliseconds."
        raise IngestError(message)
    condition = _is_id("driver_id", driver_id)
    accepted = _rows(lake, "silver.driver_events", f"{condition} and {_is_at(at)}") if at.year in YEARS else []
    if accepted:
        read = min(built.get(model, 0) for model in ("driver_events", "rejected_driver_events"))
        known = [*accepted, *sorted(_duplicates_of(lake, accepted), key=_place)[:MOST_RECORDS]]
        condition = f"{_at_places(known)} or ({condition} and _load_id > {read})"
    return [row for row in _records(lake, "driver_events", condition) if parse_time(_time_text(row)) == at]


def _time_text(row: Row) -> str:
    text = (row["event_timestamp"] or "").strip(WHITE_SPACE)
    return text or row["timestamp"] or ""


def _is_id(column: str, value: str) -> str:
    """Give the condition that a column, trimmed as silver does, is this id."""
    return f"btrim({column}, {literal(WHITE_SPACE)}) = {literal(value.strip(WHITE_SPACE))}"


def _is_at(at: datetime) -> str:
    return f"event_timestamp = timestamp '{at:%Y-%m-%dT%H:%M:%S.%f}Z'"


def _records(lake: Lake, feed: str, condition: str) -> list[Row]:
    return [row | {"feed": feed} for row in _rows(lake, f"bronze.{feed}", condition)]


def _rows(lake: Lake, table: str, condition: str) -> list[Row]:
    is_of_companies = table in ("silver.company_history", "silver.companies")
    columns = "* except (created_at)" if is_of_companies else "*"  # which may be in a year that Python has no time for
    return query_if_there(lake, table, f"select {columns} from t where {condition}")


def _place(row: Row) -> tuple[int, bytes, int]:
    return row["_load_id"], row["_source_file"].encode(), row["_source_line"]


def _at_places(rows: Iterable[Row], prefix: str = "_") -> str:
    """Give the condition that a row, or with a prefix what it refers to, is at one of these places."""
    names = [f"{prefix}{name[1:]}" for name in _PLACE]
    places = [
        f"({names[0]} = {row['_load_id']} and {names[1]} = {literal(row['_source_file'])}"
        f" and {names[2]} = {row['_source_line']})"
        for row in rows
    ]
    return " or ".join(places) or "false"


def _duplicates_of(lake: Lake, accepted: Sequence[Row]) -> list[Row]:
    return _rows(lake, "silver.rejected_driver_events", _at_places(accepted, "duplicate_of_"))


def _lives(lake: Lake, raw: Path, built: dict[str, int], records: Sequence[Row]) -> list[Row]:
    """Look everything up for all records at once: each table is read once."""
    found: dict[tuple[Any, ...], tuple[str, Row]] = {}
    for feed in sorted({row["feed"] for row in records}):
        condition = _at_places(row for row in records if row["feed"] == feed)
        for table in _OUTCOMES[feed]:
            found |= {(feed, *_place(row)): (table, row) for row in _rows(lake, table, condition)}
    accepted = [row for table, row in found.values() if table == "silver.driver_events"]
    repeats = _duplicates_of(lake, accepted)
    gold = _gold(lake, accepted)
    lives = []
    for record in records:
        table, row = found.get((record["feed"], *_place(record)), ("", {}))
        is_event = table == "silver.driver_events"
        lives.append(
            {
                "record": _record(lake, raw, record),
                "bronze": {"defect": record["_defect"], "unknown_keys": record["_unknown_keys"]},
                "silver": _outcome(table, row),
                "company": _company(gold, built, row) if is_event else None,
                "gold": _gold_rows(gold, built, row) if is_event else [],
                "duplicates": [_where(repeat) | {"is_conflicting": repeat["is_conflicting"]} for repeat in repeats
                               if is_event and _is_of(repeat, row, "duplicate_of_")],
            }
        )  # fmt: skip
    return lives


def _where(row: Row) -> Row:
    return {name.removeprefix("_"): row[name] for name in _PLACE}


def _is_of(row: Row, record: Row, prefix: str) -> bool:
    return all(row[f"{prefix}{name[1:]}"] == record[name] for name in _PLACE)


def _outcome(table: str, row: Row) -> Row:
    if not row:
        return {"outcome": "waiting", "table": None}
    if "reject_reason" not in row:
        names = ("event_type", "event_timestamp", "valid_from_load_id", "valid_to_load_id", "is_current")
        return {"outcome": "accepted", "table": table} | {name: row[name] for name in names if name in row}
    outcome = {"outcome": "rejected", "table": table, "reject_reason": row["reject_reason"]}
    if row["reject_reason"] == "duplicate":
        winner = {name[1:]: row[f"duplicate_of_{name[1:]}"] for name in _PLACE}
        outcome |= {"duplicate_of": winner, "is_conflicting": row["is_conflicting"]}
    return outcome


def _gold(lake: Lake, accepted: Sequence[Row]) -> dict[str, list[Row]]:
    keys = [f"(driver_id = {literal(row['driver_id'])} and {_is_at(row['event_timestamp'])})" for row in accepted]
    sides = [f"({_at_places(accepted, side)})" for side in ("start_", "stop_")]
    drivers = ", ".join(sorted({literal(row["driver_id"]) for row in accepted}))
    companies = ", ".join(sorted({literal(row["company_id"]) for row in accepted}))
    return {
        "silver.companies": _rows(lake, "silver.companies", f"company_id in ({companies})" if keys else "false"),
        "gold.enriched_driver_events": _rows(lake, "gold.enriched_driver_events", " or ".join(keys) or "false"),
        "gold.driving_sessions": _rows(
            lake, "gold.driving_sessions", f"driver_id in ({drivers}) and ({' or '.join(sides)})" if keys else "false"
        ),
    }


def _gold_rows(gold: dict[str, list[Row]], built: dict[str, int], event: Row) -> list[Row]:
    """Give the table and key of each row of gold that the event is in or counted in."""
    of_event = {
        "enriched_driver_events": ("driver_id", "event_timestamp"),
        "daily_driver_activity": ("event_date", "driver_id"),
        "daily_company_activity": ("event_date", "company_id"),
    }
    rows: list[Row] = [
        {"table": f"gold.{model}"} | _key(event, *names)
        for model, names in of_event.items()
        if built.get(model, 0) >= event["_load_id"]
    ]
    names = ("driver_id", "started_at", "stopped_at", "session_status")
    return rows + [
        {"table": "gold.driving_sessions"} | _key(row, *names)
        for row in gold["gold.driving_sessions"]
        if _is_of(row, event, "start_") or _is_of(row, event, "stop_")
    ]


def _key(row: Row, *names: str) -> Row:
    return {name: row[name] for name in names}


def _company(gold: dict[str, list[Row]], built: dict[str, int], event: Row) -> Row:
    enriched = next((row for row in gold["gold.enriched_driver_events"] if _place(row) == _place(event)), None)
    if enriched is None:
        return {"company_id": event["company_id"], "is_matched": None}
    company = {"company_id": event["company_id"], "is_matched": enriched["is_company_matched"]}
    versions = [
        row
        for row in gold["silver.companies"]
        if row["company_id"] == event["company_id"] and row["_load_id"] <= built.get("enriched_driver_events", 0)
    ]
    return company | {"name": enriched["company_name"], "version": _where(versions[0])} if versions else company


def _record(lake: Lake, raw: Path, record: Row) -> Row:
    return {
        "feed": record["feed"],
        **_where(record),
        "loaded_at": record["_loaded_at"],
        "source_file_id": record["_source_file_id"],
        "raw": record["_raw"],
        "raw_file": _raw_file(lake, raw, record),
    }


def _raw_file(lake: Lake, raw: Path, record: Row) -> str:
    """Tell whether the raw file still has the record on its line: `same`, `changed`, `gone`; of none, `message`."""
    if record["_source_file"].startswith(TOPICS):
        return "message"
    version = complete_version(lake, record["_source_file"], record["_loaded_at"])
    is_document = version is not None and version.layout == "document"
    try:
        for line, text in raw_records(raw_path(raw, record["_source_file"]), is_document=is_document):
            if line == record["_source_line"]:
                kept = record_bytes(record)
                is_same = text.startswith(kept) if record["_defect"] == "too_long" else text == kept
                return "same" if is_same else "changed"
    except FileNotFoundError:
        return "gone"
    except (OSError, EOFError, zlib.error, NotJsonError):
        return "changed"
    return "changed"


def told(life: Row) -> Iterable[str]:
    """Yield the lines that tell a life to people."""
    record, silver = life["record"], life["silver"]
    still = {
        "same": "the file still has it",
        "changed": "the file has changed since",
        "gone": "the file is gone",
        "message": "a message",
    }
    yield f"{_told_place(record)}, loaded {record['loaded_at']:%Y-%m-%d %H:%M:%S} UTC; {still[record['raw_file']]}"
    yield f"  raw       {record['raw']}"
    unknown = life["bronze"]["unknown_keys"]
    yield f"  bronze    {life['bronze']['defect'] or 'sound'}" + (
        f"; keys not declared: {', '.join(unknown)}" if unknown else ""
    )
    if silver["outcome"] == "waiting":
        yield "  silver    waiting: no build has read its load yet"
    elif silver["outcome"] == "rejected":
        yield f"  silver    rejected: {silver['reject_reason']}" + (
            f" of {_told_place(silver['duplicate_of'])}{', and contradicts it' if silver['is_conflicting'] else ''}"
            if "duplicate_of" in silver
            else ""
        )
    else:
        yield f"  silver    accepted, in {silver['table']}"
    for repeat in life["duplicates"]:
        yield f"  repeated  by {_told_place(repeat)}{', which contradicts it' if repeat['is_conflicting'] else ''}"
    if company := life["company"]:
        known = {True: f"{company.get('name')}, as in ", False: "not known", None: "no build has joined it yet"}
        version = _told_place(company["version"]) if company["is_matched"] and "version" in company else ""
        yield f"  company   {company['company_id']}: {known[company['is_matched']]}{version}"
    for row in life["gold"]:
        yield f"  gold      {row['table']}: " + ", ".join(f"{k} {v}" for k, v in row.items() if k != "table")


def _told_place(place: Row) -> str:
    return f"{place['source_file']}, line {place['source_line']}, load {place['load_id']}"


def print_lives(lives: Sequence[Row]) -> None:
    for life in lives:
        for line in told(life):
            print(printable(line))  # noqa: T201
