"""Write a tree of raw files as a real producer would, and beside it the truth about every line.

The tree: `<out>/companies.jsonl`, and for every 15 minutes a folder `<out>/events/<YYYYMMDDTHHMMSSZ>/` with
`events.jsonl` and `batch_meta.json`. Of a run's batches, the 2nd is a JSON array (`events.json`); the 4th,
9th, 14th and so on are gzipped (`events.jsonl.gz`); the last one's folder also has a copy of the tree's first
event file (`events_retry.jsonl`; not in a tree of one batch). The same arguments give the same bytes; of
gzipped files, where zlib is another, the same text.

The truth: `<out>.truth.jsonl`, outside the tree. One JSON object a file, in the order of `source_file`:

- `source_file`: path below `<out>`; `feed`: `driver_events` or `companies`;
- `status`: `loaded`, or `duplicate_content` for the copy;
- `lines`: physical lines, or elements of the array; `blank_lines`: how many of them are blank;
- `records`: the rows that belong in bronze: `lines - blank_lines`, or 0 for the copy;
- `rejected`: line (from 1, as text) to reason: a `_defect` of bronze or a `reject_reason` of silver, such as
  `duplicate` and `unchanged`. Every other record is accepted;
- `duplicate_of`: line of a duplicate to the record that it repeats: [source_file, line, is_conflicting];
- `unmatched`: lines of accepted events whose company is in no accepted record of the tree as it stands;
- `same_as`: for the copy, the file that it repeats, else null.

All this holds however the days of the tree are loaded, one by one or together.
"""

from __future__ import annotations

import gzip
import io
import json
import random
from bisect import bisect_left
from collections import Counter
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, NamedTuple

from ingest.errors import IngestError
from ingest.sample_records import (
    GEOGRAPHIES,
    TRIP_EVENTS,
    TRIPS,
    Record,
    conflict_event,
    encode,
    make_company,
    make_id,
    make_odd,
    make_tails,
    make_trip,
    pick,
    repeat_event,
    spoil_company,
)

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


COMPANIES = "companies.jsonl"
FOLDER = "%Y%m%dT%H%M%SZ"
FIRST_BATCH = datetime(2024, 3, 4, 6, tzinfo=UTC)
BATCH = timedelta(minutes=15)
END = datetime(2025, 1, 1, tzinfo=UTC)  # events of the future would be implausible

# How many in 10,000 events are of each kind; the others are plain.
# fmt: off
REJECTED = {
    "not_json": 60, "not_object": 20, "duplicate_key": 20, "invalid_utf8": 20,
    "missing_driver_id": 40, "missing_event_timestamp": 40, "missing_event_type": 40,
    "missing_company_id": 40, "invalid_event_timestamp": 60,
    "implausible_event_timestamp": 20, "unknown_event_type": 40,
}
REPEATED = {
    "repeat_in_file": 60, "conflict_in_file": 40, "repeat_across_files": 60, "conflict_across_files": 40,
}
ACCEPTED = {
    "unknown_company": 200, "time_spelling": 300, "unknown_key": 100, "late": 100, "blank_line_after": 10,
}
SHARES = REJECTED | REPEATED | ACCEPTED

# fmt: on


@dataclass(frozen=True)
class SampleSummary:
    """What one run wrote: files, event and company records (not those of the copy), bytes of the files."""

    files: int
    events: int
    companies: int
    bytes: int
    truth: Path


@dataclass(frozen=True)
class FileTruth:
    """One line of the truth, which the docstring of this module explains."""

    source_file: str
    feed: str
    status: str
    lines: int
    blank_lines: int
    records: int
    rejected: dict[str, str]
    duplicate_of: dict[str, tuple[str, int, bool]]
    unmatched: list[int]
    same_as: str | None = None


class _Origin(NamedTuple):
    source_file: str
    line: int
    text: str


@dataclass(frozen=True)
class _World:
    """What the batches of one run share; `earlier` and `placed` change with each."""

    rng: random.Random
    companies: list[str]
    strangers: list[str]
    tails: list[str]
    kinds: list[str]
    earlier: list[_Origin]
    placed: Counter[str]


def write_sample(
    out: Path, *, batches: int, events_per_batch: int, companies: int, seed: int, grow: bool = False
) -> SampleSummary:
    """Write a new tree to `out`, or with `grow` add the next day to the tree that is there."""
    out = out.resolve()
    truth_file = out.with_name(f"{out.name}.truth.jsonl")
    _check_tree(out, truth_file, grow=grow)
    known = read_truth(truth_file) if grow else []
    start = _next_start(known, batches)

    rng = random.Random(f"{seed}/{start:%Y%m%d}")  # noqa: S311
    versions = _read_companies(out, known)
    unmatched = {truth.source_file: _read_unmatched(out, truth) for truth in known}
    strangers = sorted({company for lines in unmatched.values() for company in lines.values()})
    records = _make_companies(rng, versions, returning=strangers[::2], size=companies)
    world = _World(
        rng=rng,
        companies=list(versions),
        strangers=strangers[1::2] + [make_id(rng) for _ in range(max(2, companies // 50))],
        tails=make_tails(rng),
        kinds=[kind for kind in SHARES if grow or kind != "late"],
        earlier=_read_origins(rng, out, known, size=events_per_batch),
        placed=Counter(),
    )
    truths = [_companies_truth(known, records)]
    for truth in known[1:]:
        left = [line for line, company in unmatched[truth.source_file].items() if company not in versions]
        truths.append(replace(truth, unmatched=left))

    out.mkdir(parents=True, exist_ok=True)
    with (out / COMPANIES).open("ab") as file:
        size = file.write("".join(f"{text}\n" for text, _ in records).encode())
    for number in range(batches):
        at = start + number * BATCH
        truth, data = _make_batch(world, at, number, size=events_per_batch)
        truths.append(truth)
        size += _write(out / truth.source_file, data)
        _write((out / truth.source_file).with_name("batch_meta.json"), _meta(at, events_per_batch, seed + number))
    if truths[-1] is not truths[1]:
        truths.append(_copy_truth(truths[1], next_to=truths[-1]))
        size += _write(out / truths[-1].source_file, (out / truths[1].source_file).read_bytes())
    _write(truth_file, "".join(f"{encode(vars(truth))}\n" for truth in truths).encode())
    added = len(truths) - len(known[1:])
    return SampleSummary(added, batches * events_per_batch, len(records), size, truth_file)


def read_truth(truth_file: Path) -> list[FileTruth]:
    """Read the truth about a sample, file by file."""
    return [FileTruth(**json.loads(line)) for line in truth_file.read_bytes().splitlines()]


def _check_tree(out: Path, truth_file: Path, *, grow: bool) -> None:
    if grow and not (truth_file.is_file() and (out / COMPANIES).is_file()):
        message = f"{out} (with {truth_file.name}) is no sample to grow: write one without --grow first."
        raise IngestError(message)
    if not grow and out.exists() and not (out.is_dir() and next(out.iterdir(), None) is None):
        message = f"{out} is there already: give a new or empty folder, or add a day to a sample with --grow."
        raise IngestError(message)


def _next_start(known: list[FileTruth], batches: int) -> datetime:
    start = FIRST_BATCH
    if known:
        last = datetime.strptime(known[-1].source_file.split("/")[1], FOLDER).replace(tzinfo=UTC)
        start = last.replace(hour=6, minute=0) + timedelta(days=1)
    room = max(0, (END - start) // BATCH)
    if batches > room:
        message = f"--batches is {batches}, but only {room} fit between {start:%Y-%m-%d} and the end of 2024."
        raise IngestError(message)
    return start


def _read_records(path: Path, lines: Iterable[int]) -> dict[int, str]:
    """Read the text of records that are objects; an array too has one a line."""
    data = path.read_bytes()
    if path.suffix == ".gz":
        data = gzip.decompress(data)
    texts = data.split(b"\n")
    return {line: texts[line - 1].strip(b"[],").decode() for line in lines}


def _read_companies(out: Path, known: list[FileTruth]) -> dict[str, list[Record]]:
    """Read the accepted versions of every company, in order of arrival."""
    versions: dict[str, list[Record]] = {}
    for truth in known[:1]:
        accepted = (line for line in range(1, truth.lines + 1) if str(line) not in truth.rejected)
        for text in _read_records(out / COMPANIES, accepted).values():
            company = json.loads(text)
            versions.setdefault(company["company_id"], []).append(company)
    return versions


def _read_unmatched(out: Path, truth: FileTruth) -> dict[int, str]:
    texts = _read_records(out / truth.source_file, truth.unmatched) if truth.unmatched else {}
    return {line: json.loads(text)["company_id"] for line, text in texts.items()}


def _read_origins(rng: random.Random, out: Path, known: list[FileTruth], *, size: int) -> list[_Origin]:
    """Read some accepted events of the days before, from a handful of files."""
    loaded = [truth for truth in known[1:] if truth.status == "loaded"]
    origins = []
    for truth in loaded[:: len(loaded) // 4 or 1]:
        lines = rng.sample(range(1, truth.lines + 1), min(truth.lines, size // 50 + 10))
        accepted = [line for line in lines if str(line) not in truth.rejected]
        texts = _read_records(out / truth.source_file, accepted)
        origins += [_Origin(truth.source_file, line, text) for line, text in texts.items() if text.strip()]
    return origins


def _meta(start: datetime, events: int, seed: int) -> bytes:
    first, end = (f"{time:%Y-%m-%dT%H:%M:%SZ}" for time in (start, start + BATCH))
    meta = {"batch_id": f"{start:{FOLDER}}", "interval_start": first, "interval_end": end}
    return json.dumps(meta | {"event_count": events, "seed": seed, "generation_time": end}, indent=2).encode()


def _make_companies(
    rng: random.Random, versions: dict[str, list[Record]], *, returning: list[str], size: int
) -> list[tuple[str, str | None]]:
    """Make the run's records, each with its reject reason, and add the accepted ones to `versions`."""
    few = max(1, size // 50)
    back = [history[-2] for history in versions.values() if len(history) > 1][:1]
    new = returning + [make_id(rng) for _ in range(max(1, size // 20) if versions else size)]
    accepted = [make_company(rng, company_id) for company_id in new] + back
    for company in accepted:
        versions.setdefault(company["company_id"], []).append(company)
    for company_id in rng.sample(list(versions), few):
        company = versions[company_id][-1]
        moved = company | {"geography": pick(GEOGRAPHIES, GEOGRAPHIES.index(company["geography"]) + 1)}
        versions[company_id].append(moved)
        accepted.append(moved)
    good = len(accepted) + few
    bad = max(min(4, good // 50), good // 100)
    records: list[tuple[str, str | None]] = [(encode(company), None) for company in accepted]
    records += [spoil_company(rng.choice(accepted), turn) for turn in range(bad)]
    for turn, company_id in enumerate(rng.sample(list(versions), few)):
        company = versions[company_id][-1]
        respelt = {"active": str(company["active"]).upper(), "created_at": company["created_at"][:-4]}
        records.append((encode(company | respelt if turn % 2 else company), "unchanged"))
    return records


def _companies_truth(known: list[FileTruth], records: list[tuple[str, str | None]]) -> FileTruth:
    before, rejected = (known[0].lines, known[0].rejected) if known else (0, {})
    new = {str(line): reason for line, (_, reason) in enumerate(records, before + 1) if reason}
    total = before + len(records)
    return FileTruth(COMPANIES, "companies", "loaded", total, 0, total, rejected | new, {}, [])


def _copy_truth(first: FileTruth, *, next_to: FileTruth) -> FileTruth:
    name = f"{next_to.source_file.rpartition('/')[0]}/events_retry.jsonl"
    copy = replace(first, source_file=name, status="duplicate_content", same_as=first.source_file)
    return replace(copy, records=0, rejected={}, duplicate_of={}, unmatched=[])


def _write(path: Path, data: bytes) -> int:
    path.parent.mkdir(parents=True, exist_ok=True)
    return path.write_bytes(data)


def _plain_lines(world: _World, start: datetime, number: int, size: int) -> list[str]:
    """Make a batch without oddities: one trip of each driver whose turn it is, for two batches in a row."""
    rng, count = world.rng, len(world.companies)
    drivers = -(-size // TRIP_EVENTS)
    fleet = max(drivers, 3 * count)
    trips = {
        kind: [make_trip(rng, start, rng.choice(forms)) for _ in range(min(drivers // 8 + 1, 30))]
        for kind, forms in TRIPS.items()
    }
    whole = rng.choices(trips["whole"], k=drivers)
    half = rng.choices(trips["ended" if number % 2 else "begun"], k=drivers)
    heads: list[str] = []
    middles: list[str] = []
    for nth, place in enumerate(range(number // 2 * drivers, (number // 2 + 1) * drivers)):
        driver, company = divmod(place % fleet, count)
        name, employer = f"{company:05}-{driver:03}", world.companies[company]
        head = f'"DRV-{name}","company_id":"{employer}","truck_id":"TRK-{name}","event_type":"'
        heads += (head,) * TRIP_EVENTS
        middles += (whole if place % 4 else half)[nth]
    ids, group = rng.randbytes(10 * size).hex(), make_id(rng)[8:24]
    parts = zip(range(0, 20 * size, 20), heads, middles, rng.choices(world.tails, k=size), strict=False)
    return [
        f'{{"event_id":"{ids[at : at + 8]}{group}{ids[at + 8 : at + 20]}","driver_id":{head}{middle}{tail}'
        for at, head, middle, tail in parts
    ]


def _make_batch(world: _World, start: datetime, number: int, *, size: int) -> tuple[FileTruth, bytes]:
    suffix = "json" if number == 1 else "jsonl" if (number + 2) % 5 else "jsonl.gz"
    source_file = f"events/{start:{FOLDER}}/events.{suffix}"
    lines = _plain_lines(world, start, number, size)
    oddities = _plan_oddities(world, number, size)
    blanks = [at for at, kind in oddities.items() if kind == "blank_line_after"]
    total = size + len(blanks)
    truth = FileTruth(source_file, "driver_events", "loaded", total, len(blanks), size, {}, {}, [])

    def origin(at: int) -> _Origin:
        return _Origin(source_file, at + 1 + bisect_left(blanks, at), lines[at])

    for at, kind in oddities.items():
        line, turn = origin(at).line, world.placed[kind]
        world.placed[kind] += 1
        if kind in REPEATED:
            before = (place for place in range(world.rng.randrange(at), -1, -1) if place not in oddities)
            first = origin(next(before)) if kind.endswith("in_file") else world.rng.choice(world.earlier)
            is_conflicting = kind.startswith("conflict")
            lines[at] = (conflict_event if is_conflicting else repeat_event)(first.text, turn)
            truth.duplicate_of[str(line)] = (first.source_file, first.line, is_conflicting)
            truth.rejected[str(line)] = "duplicate"
        elif kind == "unknown_company":
            lines[at] = encode(json.loads(lines[at]) | {"company_id": pick(world.strangers, turn)})
            truth.unmatched.append(line)
        else:
            lines[at] = make_odd(lines[at], kind, turn)
        if kind in REJECTED:
            truth.rejected[str(line)] = kind
    drawn = sorted(world.rng.sample(range(size), size // 50 + 1))
    world.earlier.extend(origin(at) for at in drawn if at not in oddities)
    del world.earlier[:-20_000]
    return truth, _pack(lines, suffix)


def _plan_oddities(world: _World, number: int, size: int) -> dict[int, str]:
    """Choose places for what is due by now and not yet placed, as not every batch can hold every kind."""
    unfit = {"not_json", "invalid_utf8", "blank_line_after"} if number == 1 else set()
    if not world.earlier:
        unfit |= {"repeat_across_files", "conflict_across_files"}
    plan: list[str] = []
    for kind in world.kinds:
        if kind not in unfit:
            plan += [kind] * (SHARES[kind] * (number + 1) * size // 10_000 - world.placed[kind])
    places = world.rng.sample(range(1, size), min(len(plan), size - 1))
    return dict(sorted(zip(places, plan, strict=False)))


def _pack(lines: list[str], suffix: str) -> bytes:
    if suffix == "json":
        return "".join(["[", ",\n".join(lines), "]\n"]).encode()
    data = "\n".join([*lines, ""]).encode("utf-8", "surrogateescape")
    if suffix == "jsonl":
        return data
    buffer = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=buffer, compresslevel=1, mtime=0) as file:
        file.write(data)
    return buffer.getvalue()
