"""The sample's truth, held against a small judge that reads the files by the contract and nothing else."""

from __future__ import annotations

import gzip
import json
import re
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from ingest.errors import IngestError
from ingest.sample import FileTruth, SampleSummary, read_truth, write_sample

if TYPE_CHECKING:
    from pathlib import Path

TIME = re.compile(r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(:\d\d)?(\.\d{1,9})?(?:Z|([+-])(\d\d)(?::?(\d\d))?)?", re.ASCII)
TYPES = {
    **dict.fromkeys(("start", "started", "start_driving", "started_driving", "driving_start"), "start_driving"),
    **dict.fromkeys(("stop", "stopped", "stop_driving", "stopped_driving", "driving_stop"), "stop_driving"),
    **dict.fromkeys(("delivered", "deliver", "delivery"), "delivered"),
}
EVENT_REASONS = {
    "not_json",
    "not_object",
    "duplicate_key",
    "invalid_utf8",
    "missing_driver_id",
    "missing_event_timestamp",
    "missing_event_type",
    "missing_company_id",
    "invalid_event_timestamp",
    "implausible_event_timestamp",
    "unknown_event_type",
    "duplicate",
}
COMPANY_REASONS = {"not_json", "missing_company_id", "invalid_active", "invalid_created_at", "unchanged"}
DAY: dict[str, Any] = {"batches": 6, "events_per_batch": 600, "companies": 250, "seed": 7}
Place = tuple[str, int]
Pairs = tuple[tuple[str, Any], ...]


class Event(NamedTuple):
    """What the judge remembers of an accepted event."""

    place: Place
    event_type: str
    company_id: str
    truck_id: str
    payload: str


@dataclass
class Verdicts:
    """What the judge finds in a tree: by file, by record, and by company its versions."""

    lines: Counter[str] = field(default_factory=Counter)
    blank_lines: Counter[str] = field(default_factory=Counter)
    rejected: dict[Place, str] = field(default_factory=dict)
    duplicate_of: dict[Place, tuple[str, int, bool]] = field(default_factory=dict)
    accepted: dict[tuple[str, datetime], Event] = field(default_factory=dict)
    companies: dict[str, list[object]] = field(default_factory=dict)


@pytest.fixture(scope="module")
def day_one(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out: Path = tmp_path_factory.mktemp("day_one") / "raw"
    write_sample(out, **DAY)
    return out


@pytest.fixture(scope="module")
def two_days(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out: Path = tmp_path_factory.mktemp("two_days") / "raw"
    write_sample(out, **DAY)
    write_sample(out, **DAY, grow=True)
    return out


def truth_of(out: Path) -> list[FileTruth]:
    return read_truth(out.with_name("raw.truth.jsonl"))


def content(path: Path) -> bytes:
    data = path.read_bytes()
    return gzip.decompress(data) if path.suffix == ".gz" else data


def refuse_constant(name: str) -> None:
    raise ValueError(name)


def parse(text: str) -> Any:
    return json.loads(text, object_pairs_hook=tuple, parse_constant=refuse_constant)


def is_object(value: Any) -> bool:
    return isinstance(value, tuple)


def records_of(path: Path) -> list[tuple[int, str | None, Pairs]]:
    """Give number, bronze defect and members of every record that is not blank."""
    if path.suffix == ".json":
        return [(number, *defect_of_value(value)) for number, value in enumerate(parse(path.read_text("utf-8")), 1)]
    lines = content(path).removesuffix(b"\n").split(b"\n")
    return [(number, *defect_of_line(line)) for number, line in enumerate(lines, 1) if line.strip(b" \t\r")]


def defect_of_line(line: bytes) -> tuple[str | None, Pairs]:
    try:
        return defect_of_value(parse(line.decode("utf-8")))
    except UnicodeDecodeError:
        return "invalid_utf8", ()
    except ValueError:
        return "not_json", ()


def defect_of_value(value: Any) -> tuple[str | None, Pairs]:
    if not is_object(value):
        return "not_object", ()
    if len({key for key, _ in value}) < len(value):
        return "duplicate_key", ()
    return None, value


def text_of(value: Any) -> str:
    """Give a value as bronze keeps it, with nothing for null."""
    return "" if value is None else value if isinstance(value, str) else json.dumps(value)


def time_of(text: str) -> datetime | None:
    text = text.strip()
    if re.fullmatch(r"[\d.]+", text):
        number = float(text)
        seconds = number if 1e9 <= number < 1e10 else number / 1000 if 1e12 <= number < 1e13 else None
        return None if seconds is None else datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
    match = TIME.fullmatch(text)
    if not match or (match[4] and not match[3]):
        return None
    date, minute, second, fraction, sign, hours, minutes = match.groups()
    offset = timedelta(hours=int(hours or 0), minutes=int(minutes or 0)) * (-1 if sign == "-" else 1)
    if abs(offset) > timedelta(hours=18):
        return None
    try:
        local = datetime.fromisoformat(f"{date}T{minute}{second or ':00'}+00:00")
        return local + timedelta(microseconds=int((fraction or ".0")[1:7].ljust(6, "0"))) - offset
    except ValueError:
        return None
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)


def canonical(event_type: str) -> str | None:
    return TYPES.get(re.sub(r"[^a-z0-9]+", "_", event_type.lower()).strip("_"))


def judge(out: Path) -> Verdicts:
    verdicts = Verdicts()
    for path in sorted(path for path in out.rglob("*") if path.name.startswith(("companies", "events."))):
        name = path.relative_to(out).as_posix()
        records = records_of(path)
        verdicts.lines[name] = len(records) if path.suffix == ".json" else content(path).count(b"\n")
        verdicts.blank_lines[name] = verdicts.lines[name] - len(records)
        take = take_company if name == "companies.jsonl" else take_event
        for line, defect, members in records:
            values = {key: text_of(value) for key, value in members}
            reason = defect or take(verdicts, (name, line), values)
            if reason:
                verdicts.rejected[name, line] = reason
    return verdicts


def take_event(verdicts: Verdicts, place: Place, values: dict[str, str]) -> str | None:
    values = defaultdict(str, values)
    if not values["event_timestamp"].strip():
        values["event_timestamp"] = values["timestamp"]
    for key in ("driver_id", "event_timestamp", "event_type", "company_id"):
        if not values[key].strip():
            return f"missing_{key}"
    time = time_of(values["event_timestamp"])
    if time is None:
        return "invalid_event_timestamp"
    if not datetime(2000, 1, 1, tzinfo=UTC) <= time <= datetime.now(UTC) + timedelta(days=1):
        return "implausible_event_timestamp"
    event_type = canonical(values["event_type"])
    if event_type is None:
        return "unknown_event_type"
    event = Event(place, event_type, values["company_id"], values["truck_id"], values["payload"])
    first = verdicts.accepted.setdefault((values["driver_id"], time), event)
    if first is event:
        return None
    verdicts.duplicate_of[place] = (*first.place, first[1:] != event[1:])
    return "duplicate"


def take_company(verdicts: Verdicts, _place: Place, values: dict[str, str]) -> str | None:
    if not values.get("company_id", "").strip():
        return "missing_company_id"
    if values["active"].lower() not in ("true", "false"):
        return "invalid_active"
    created_at = time_of(values["created_at"])
    if created_at is None:
        return "invalid_created_at"
    version = values | {"active": values["active"].lower(), "created_at": created_at.isoformat()}
    versions = verdicts.companies.setdefault(values["company_id"], [])
    if versions[-1:] == [version]:
        return "unchanged"
    versions.append(version)
    return None


@pytest.fixture(params=["day_one", "two_days"])
def tree(request: pytest.FixtureRequest) -> Path:
    out: Path = request.getfixturevalue(request.param)
    return out


def loaded(out: Path) -> list[FileTruth]:
    return [truth for truth in truth_of(out) if truth.status == "loaded"]


def by_line(truths: list[FileTruth], field_name: str) -> dict[Place, Any]:
    return {
        (truth.source_file, int(line)): value for truth in truths for line, value in getattr(truth, field_name).items()
    }


def bytes_of(out: Path) -> dict[str, bytes]:
    return {
        path.relative_to(out.parent).as_posix(): path.read_bytes() for path in out.parent.rglob("*.*") if path.is_file()
    }


def test_every_verdict_of_the_truth_is_the_judges(tree: Path) -> None:
    assert by_line(loaded(tree), "rejected") == judge(tree).rejected


def test_every_duplicate_points_at_the_first_record_of_its_driver_and_time(tree: Path) -> None:
    told = by_line(loaded(tree), "duplicate_of")
    assert {place: tuple(winner) for place, winner in told.items()} == judge(tree).duplicate_of


def test_unmatched_are_the_accepted_events_whose_company_no_record_of_the_tree_names(tree: Path) -> None:
    verdicts = judge(tree)
    unmatched = {event.place for event in verdicts.accepted.values() if event.company_id not in verdicts.companies}
    assert {(truth.source_file, line) for truth in loaded(tree) for line in truth.unmatched} == unmatched


def test_lines_blank_lines_and_records_are_those_of_the_files(tree: Path) -> None:
    verdicts = judge(tree)
    assert {truth.source_file: truth.lines for truth in loaded(tree)} == verdicts.lines
    assert {truth.source_file: truth.blank_lines for truth in loaded(tree)} == verdicts.blank_lines
    assert all(truth.records == truth.lines - truth.blank_lines for truth in loaded(tree))
    assert sum(truth.blank_lines for truth in loaded(tree)) > 0


def test_the_truth_has_every_data_file_once_and_in_the_order_of_names(tree: Path) -> None:
    files = [path.relative_to(tree).as_posix() for path in tree.rglob("*.*") if path.name != "batch_meta.json"]
    assert [truth.source_file for truth in truth_of(tree)] == sorted(name for name in files if "." in name[-9:])


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("grow", [False, True])
def test_each_day_has_every_kind_of_defect_from_four_batches_of_500_on(
    tmp_path: Path, *, seed: int, grow: bool
) -> None:
    sizes: dict[str, Any] = {"batches": 4, "events_per_batch": 500, "companies": 200, "seed": seed}
    write_sample(tmp_path / "raw", **sizes)
    old = {truth.source_file for truth in truth_of(tmp_path / "raw")}
    if grow:
        write_sample(tmp_path / "raw", **sizes, grow=True)
        assert judge(tmp_path / "raw").rejected == by_line(loaded(tmp_path / "raw"), "rejected")
    events = [truth for truth in loaded(tmp_path / "raw")[1:] if not grow or truth.source_file not in old]
    assert set(by_line(events, "rejected").values()) == EVENT_REASONS
    repeats = {(winner[0] == name, winner[2]) for (name, _), winner in by_line(events, "duplicate_of").items()}
    assert repeats == {(True, True), (True, False), (False, True), (False, False)}
    assert sum(truth.blank_lines for truth in events) > 0
    assert any(truth.unmatched for truth in events)
    if not grow:
        assert set(loaded(tmp_path / "raw")[0].rejected.values()) == COMPANY_REASONS


@pytest.mark.parametrize("sizes", [(6, 600, 250), (40, 25, 1), (3, 1000, 10), (1, 5000, 40), (9, 77, 500)])
def test_shares_stay_within_the_thresholds_of_the_audit_on_each_day(
    tmp_path: Path, sizes: tuple[int, int, int]
) -> None:
    numbers: dict[str, Any] = dict(zip(("batches", "events_per_batch", "companies"), sizes, strict=True))
    out = tmp_path / "raw"
    write_sample(out, **numbers, seed=3)
    first, first_companies = loaded(out), loaded(out)[0]
    write_sample(out, **numbers, seed=3, grow=True)
    second = [truth for truth in loaded(out) if truth.source_file not in {old.source_file for old in first}]
    for events in (first[1:], second):
        rejected = [reason for reason in by_line(events, "rejected").values() if reason != "duplicate"]
        records = sum(truth.records for truth in events)
        assert len(rejected) <= 0.05 * records
        assert sum(len(truth.unmatched) for truth in events) <= 0.1 * (records - len(rejected)) * 0.9
    both_days = loaded(out)[0]
    for companies, before in ((first_companies, 0), (both_days, first_companies.lines)):
        bad = [line for line, reason in companies.rejected.items() if reason != "unchanged" and int(line) > before]
        assert len(bad) <= 0.02 * (companies.lines - before)


def test_the_same_arguments_give_the_same_bytes_and_another_seed_gives_others(two_days: Path, tmp_path: Path) -> None:
    write_sample(tmp_path / "same" / "raw", **DAY)
    write_sample(tmp_path / "same" / "raw", **DAY, grow=True)
    write_sample(tmp_path / "other" / "raw", **DAY | {"seed": 8})
    other = bytes_of(tmp_path / "other" / "raw")
    assert bytes_of(tmp_path / "same" / "raw") == bytes_of(two_days)
    assert all(data != bytes_of(two_days)[name] for name, data in other.items())


def test_a_grown_tree_has_its_old_files_and_a_longer_companies_file(day_one: Path, two_days: Path) -> None:
    old, new = bytes_of(day_one), bytes_of(two_days)
    assert all(new[name] == old[name] for name in old if name.startswith("raw/events"))
    assert new["raw/companies.jsonl"].startswith(old["raw/companies.jsonl"])
    assert len(new["raw/companies.jsonl"]) > len(old["raw/companies.jsonl"])
    assert max(name for name in old if "/events/" in name) < min(name for name in new.keys() - old.keys())


def test_growing_makes_some_of_the_unmatched_events_matched(day_one: Path, two_days: Path) -> None:
    before = {truth.source_file: set(truth.unmatched) for truth in loaded(day_one)}
    after = {truth.source_file: set(truth.unmatched) for truth in loaded(two_days)}
    assert all(after[name] <= lines for name, lines in before.items())
    assert 0 < sum(len(after[name]) for name in before) < sum(map(len, before.values()))


def test_growing_brings_new_changed_and_unchanged_companies_and_one_that_changes_back(
    day_one: Path, two_days: Path
) -> None:
    before, after = judge(day_one), judge(two_days)
    added = {line: reason for (_, line), reason in after.rejected.items() if line > before.lines["companies.jsonl"]}
    assert after.companies.keys() > before.companies.keys()
    assert any(len(after.companies[name]) > len(old) for name, old in before.companies.items())
    assert "unchanged" in added.values()
    assert any(versions[2:3] == versions[:1] and len(versions) > 2 for versions in after.companies.values())


def test_growing_brings_late_events_among_the_old_ones_and_repeats_of_old_keys(day_one: Path, two_days: Path) -> None:
    before, after = judge(day_one), judge(two_days)
    late = [key for key in after.accepted.keys() - before.accepted.keys() if key[1].day == 4]
    drivers = {driver for driver, _ in before.accepted}
    new_files = {truth.source_file for truth in loaded(two_days)} - {truth.source_file for truth in loaded(day_one)}
    assert len(late) > 0
    assert {driver for driver, _ in late} & drivers
    assert any(place[0] in new_files and winner[0] not in new_files for place, winner in after.duplicate_of.items())


def test_every_run_has_one_array_some_gzipped_files_and_one_copy_of_the_first_file(
    day_one: Path, two_days: Path
) -> None:
    for out, runs in ((day_one, 1), (two_days, 2)):
        names = [path.name for path in out.rglob("events*.*")]
        assert names.count("events.json") == names.count("events_retry.jsonl") == runs
        assert names.count("events.jsonl.gz") == runs
        copies = [truth for truth in truth_of(out) if truth.status == "duplicate_content"]
        first = loaded(out)[1].source_file
        assert [(copy.same_as, copy.records, copy.rejected) for copy in copies] == [(first, 0, {})] * runs
        assert all((out / copy.source_file).read_bytes() == (out / first).read_bytes() for copy in copies)


def test_a_batch_lies_beside_the_producers_note_about_it(day_one: Path) -> None:
    assert json.loads((day_one / "events/20240304T061500Z/batch_meta.json").read_bytes()) == {
        "batch_id": "20240304T061500Z",
        "interval_start": "2024-03-04T06:15:00Z",
        "interval_end": "2024-03-04T06:30:00Z",
        "event_count": 600,
        "seed": 8,
        "generation_time": "2024-03-04T06:30:00Z",
    }


def test_most_driving_sessions_are_closed_and_a_few_are_not(two_days: Path) -> None:
    drives = sorted(
        (*key, event.event_type) for key, event in judge(two_days).accepted.items() if event.event_type != "delivered"
    )
    pairs = [(first[2], second[2]) for first, second in pairwise(drives) if first[0] == second[0]]
    starts = [second for first, second in pairs if first == "start_driving"]
    assert 0.8 < starts.count("stop_driving") / len(starts) < 1
    assert ("stop_driving", "stop_driving") in pairs


def test_the_summary_counts_what_the_run_wrote(tmp_path: Path) -> None:
    out = tmp_path / "raw"
    summary = write_sample(out, batches=2, events_per_batch=100, companies=30, seed=1)
    sizes = [path.stat().st_size for path in out.rglob("*.json*") if path.name != "batch_meta.json"]
    lines = (out / "companies.jsonl").read_bytes().count(b"\n")
    assert summary == SampleSummary(len(sizes), 200, lines, sum(sizes), tmp_path / "raw.truth.jsonl")


@pytest.mark.parametrize("events", [1, 2, 10])
@pytest.mark.parametrize("batches", [1, 2, 5])
def test_tiny_trees_grow_too_and_keep_to_their_truth(tmp_path: Path, batches: int, events: int) -> None:
    out = tmp_path / "raw"
    for grow in (False, True, True):
        write_sample(out, batches=batches, events_per_batch=events, companies=1, seed=1, grow=grow)
    verdicts = judge(out)
    assert by_line(loaded(out), "rejected") == verdicts.rejected
    assert {truth.source_file: truth.lines for truth in loaded(out)} == verdicts.lines


def test_a_sample_is_never_mixed_with_what_is_there(day_one: Path) -> None:
    with pytest.raises(IngestError, match=r"is there already: .* with --grow\.$"):
        write_sample(day_one, **DAY)


def test_a_sample_may_go_into_an_empty_folder(tmp_path: Path) -> None:
    assert write_sample(tmp_path, batches=1, events_per_batch=10, companies=3, seed=1).events == 10


def test_only_a_sample_can_grow(tmp_path: Path) -> None:
    with pytest.raises(IngestError, match=r"is no sample to grow: write one without --grow first\.$"):
        write_sample(tmp_path / "raw", **DAY, grow=True)


def test_no_event_lies_in_the_future(tmp_path: Path) -> None:
    with pytest.raises(IngestError, match=r"^--batches is 99999, but only 29064 fit between 2024-03-04 and the end"):
        write_sample(tmp_path / "raw", **DAY | {"batches": 99_999})
