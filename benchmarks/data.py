"""Raw files to measure with: days of events with repeats, defects and latecomers, and companies that change."""

from __future__ import annotations

import json
import os
import random
import shutil
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FIRST_DAY = datetime(2024, 3, 4, tzinfo=UTC)
COMPANIES = 10_000
TYPES = ("start_driving", "stop_driving", "delivered")
REPEATED_BEFORE, REPEATED, MALFORMED, UNKNOWN, LATE = 0.05, 0.02, 0.001, 0.005, 0.001


@dataclass(frozen=True)
class Expected:
    """What gold should hold of the days written so far."""

    events: int
    matched: int


def add_day(raw: Path, store: Path, day: int, events: int) -> Expected:
    """Link the events of a day, from 0, into the raw files from where they are written once; give what gold gains."""
    told = store / f"{day}.json"
    if not told.exists():
        told.write_text(json.dumps(asdict(write_day(store, day, events))), encoding="utf-8")
    shutil.copytree(_folder(store, day), _folder(raw, day), copy_function=os.link)
    return Expected(**json.loads(told.read_text(encoding="utf-8")))


def write_day(raw: Path, day: int, events: int, *, files: int = 20) -> Expected:
    """Write the events of a day, from 0, after those of the day before; give what the day adds to gold."""
    choose = random.Random(day)
    added = matched = 0
    lines: list[str] = []
    before = _first_file(raw, day - 1) if day else []
    for number in range(events):
        share = choose.random()
        if before and share < REPEATED_BEFORE:
            lines.append(choose.choice(before))
        elif lines and share < REPEATED_BEFORE + REPEATED:
            lines.append(choose.choice(lines[-1000:]))
        elif share > 1 - MALFORMED:
            lines.append('{"event_id":"broken","driver_id":')
        else:
            line, is_matched = _event(day, number, events)
            lines.append(line)
            added, matched = added + 1, matched + is_matched
    folder = _folder(raw, day)
    folder.mkdir(parents=True, exist_ok=True)
    size = -(-events // files)
    for number in range(files):
        part = lines[number * size : (number + 1) * size]
        (folder / f"{number:03}.jsonl").write_text("".join(f"{line}\n" for line in part), encoding="utf-8")
    return Expected(added, matched)


def _folder(raw: Path, day: int) -> Path:
    return raw / "events" / f"{FIRST_DAY + timedelta(days=day):%Y%m%d}"


def _first_file(raw: Path, day: int) -> list[str]:
    lines = (_folder(raw, day) / "000.jsonl").read_text(encoding="utf-8").splitlines()
    return [line for line in lines if line.endswith("}")]


def write_companies(raw: Path, day: int) -> None:
    """Write all companies; each day changes one in a hundred of them and adds fifty."""
    (raw / "companies.jsonl").write_text("".join(f"{line}\n" for line in _companies(day)), encoding="utf-8")


def _companies(day: int) -> Iterator[str]:
    for number in range(COMPANIES + 50 * day):
        version = max((changed for changed in range(1, day + 1) if number % 100 == changed % 100), default=0)
        company = {
            "company_id": f"c{number:06}",
            "name": f"Company {number} v{version}",
            "sector": "freight",
            "size_indicator": "small",
            "geography": "FR",
            "active": True,
            "created_at": "2012-02-12T09:30:00Z",
        }
        yield json.dumps(company, separators=(",", ":"))


def _event(day: int, number: int, events: int) -> tuple[str, bool]:
    """Give the event of this number and whether its company is known; the same line whenever it is asked for."""
    choose = random.Random(f"{day} {number}")
    is_known = choose.random() >= UNKNOWN
    at = FIRST_DAY + timedelta(days=day, microseconds=number * (86_400_000_000 // events))
    if choose.random() < LATE:
        at -= timedelta(days=31 + 40 * day)
    company = f"c{choose.randrange(COMPANIES):06}" if is_known else f"x{choose.randrange(100)}"
    line = (
        f'{{"event_id":"{choose.getrandbits(128):032x}","driver_id":"d{number % 5_000:05}",'
        f'"event_timestamp":"{at:%Y-%m-%dT%H:%M:%S.%f}Z","event_type":"{TYPES[number % 3]}","company_id":"{company}",'
        f'"truck_id":"t{number % 3_000:05}","payload":{{"odometer":{100_000 + number},"fuel":0.5}}}}'
    )
    return line, is_known
