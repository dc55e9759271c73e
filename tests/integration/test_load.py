"""Loads into bronze: what each file becomes, exactly once, whatever happens in between."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from ingest import bronze
from ingest.errors import IngestError
from ingest.lake import Lake
from ingest.load import Settings, run_load
from ingest.manifest import read_manifest, write_manifest
from ingest.report import Report
from ingest.scanning import Limits
from tests.integration.lakes import read_table, table_versions, wait_until_times_are_certain
from tests.integration.test_faults import left_over
from tests.integration.worker import PROJECT, run_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from pyspark.sql import SparkSession

    from ingest.discovery import RawFile

EVENT = b'{"event_id":"%b","driver_id":"d","event_type":"start","timestamp":"2024-03-04T06:00:00Z"}\n'
SOURCES = PROJECT / "models" / "bronze" / "_sources.yml"


def events(*ids: str) -> bytes:
    return b"".join(EVENT % event_id.encode() for event_id in ids)


def source_files(lake: Path, load_id: int) -> dict[str, dict[str, Any]]:
    rows = read_table(lake, "bronze.source_files")
    return {row["_source_file"]: row for row in rows if row["_load_id"] == load_id}


def event_ids(lake: Path) -> Counter[str]:
    return Counter(row["event_id"] for row in read_table(lake, "bronze.driver_events"))


def test_each_file_version_is_listed_with_what_became_of_it(raw: Path, lake: Path, load: Callable[..., Any]) -> None:
    folder = raw / "events"
    (folder / "grows.jsonl").write_bytes(events("1", "2"))
    (folder / "changes.jsonl").write_bytes(events("3"))
    (folder / "packed.jsonl.gz").write_bytes(gzip.compress(b"\xef\xbb\xbf" + events("4") + b" \t\r\n"))
    (folder / "broken.jsonl.gz").write_bytes(gzip.compress(events("5"))[:-9])
    (folder / "repeats.jsonl").write_bytes(events("3"))
    (folder / "empty.jsonl").touch()
    (raw / "companies.jsonl").write_bytes(b'{"company_id":"c"}\n{"company_id":\n')
    (raw / "notes.txt").touch()
    load()
    found = source_files(lake, 1)
    assert {name: row["status"] for name, row in found.items()} == {
        "companies.jsonl": "loaded",
        "events/broken.jsonl.gz": "failed",
        "events/changes.jsonl": "loaded",
        "events/empty.jsonl": "loaded",
        "events/grows.jsonl": "loaded",
        "events/packed.jsonl.gz": "loaded",
        "events/repeats.jsonl": "duplicate_content",
    }
    packed = found["events/packed.jsonl.gz"]
    assert (packed["lines"], packed["blank_lines"], packed["records"], packed["defective_records"]) == (2, 1, 1, 0)
    assert packed["_source_file_id"] == hashlib.sha256((folder / "packed.jsonl.gz").read_bytes()).hexdigest()
    assert (found["companies.jsonl"]["records"], found["companies.jsonl"]["defective_records"]) == (2, 1)
    assert "events/changes.jsonl" in found["events/repeats.jsonl"]["reason"]

    with (folder / "grows.jsonl").open("ab") as file:
        file.write(events("6"))
    (folder / "changes.jsonl").write_bytes(events("7"))
    (folder / "broken.jsonl.gz").write_bytes(gzip.compress(events("5")))
    load()
    found = source_files(lake, 2)
    assert {name: row["status"] for name, row in found.items()} == {
        "events/broken.jsonl.gz": "loaded",
        "events/changes.jsonl": "replaced",
        "events/grows.jsonl": "appended",
    }
    assert (found["events/grows.jsonl"]["first_line"], found["events/grows.jsonl"]["records"]) == (3, 1)
    assert event_ids(lake) == dict.fromkeys("1234567", 1)
    assert [path for path, _ in read_manifest(min((lake / "manifests").iterdir())).ignored] == ["notes.txt"]


def test_a_run_with_nothing_new_writes_no_version_and_a_manifest_of_zeros(
    raw: Path, lake: Path, load: Callable[..., Any]
) -> None:
    (raw / "events" / "a.jsonl").write_bytes(events("1"))
    load()
    before = table_versions(lake)
    (manifest,) = load()
    assert table_versions(lake) == before
    assert manifest.versions == ()
    content = json.loads(max((lake / "manifests").iterdir()).read_text(encoding="utf-8"))
    assert set(content["totals"].values()) == {0}


@pytest.mark.parametrize("step", ["staged", "events written", "all written", "committed"])
def test_a_load_that_was_killed_is_finished_by_the_next_run(
    step: str, raw: Path, lake: Path, load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    (raw / "events" / "a.jsonl").write_bytes(events("1", "2") + b"{\n")
    (raw / "companies.jsonl").write_bytes(b'{"company_id":"c"}\n')
    stops = {
        "staged": "append_parts",
        "events written": "check_records",
        "all written": "append_source_files",
    }

    class KilledError(Exception):
        pass

    def die(*_: object, **__: object) -> None:
        raise KilledError

    if step == "committed":
        load()
        plan = read_manifest(next((lake / "manifests").iterdir()))
        write_manifest(lake / "staging" / "plan.json", plan)
    else:
        with monkeypatch.context() as patch:
            patch.setattr(bronze, stops[step], die)
            with pytest.raises(KilledError):
                load()
        shutil.rmtree(raw)  # the plan and its parts are all that it takes to finish a load
        (raw / "events").mkdir(parents=True)
    (raw / "events" / "b.jsonl").write_bytes(events("3"))
    load()
    load()
    assert event_ids(lake) == {"1": 1, "2": 1, None: 1, "3": 1}
    assert len(read_table(lake, "bronze.companies")) == 1
    rows = read_table(lake, "bronze.source_files")
    assert sorted((row["_load_id"], row["_source_file"]) for row in rows) == [
        (1, "companies.jsonl"),
        (1, "events/a.jsonl"),
        (2, "events/b.jsonl"),
    ]


@pytest.mark.parametrize(
    "damage",
    [
        "delete from {} where event_id = '1'",
        "insert into {} table {}",
        "update {} set _raw = concat(_raw, ' ') where event_id = '1'",
        "update {} set _loaded_at = _loaded_at - interval 1 second",
        "update {} set _source_file_id = '0'",
    ],
)
def test_a_load_whose_rows_are_not_those_of_its_plan_is_not_committed(
    raw: Path,
    lake: Path,
    load: Callable[..., Any],
    spark: SparkSession,
    monkeypatch: pytest.MonkeyPatch,
    damage: str,
) -> None:
    """The append that was made is not made again, so only the comparison stands between it and the end of the load."""
    (raw / "events" / "a.jsonl").write_bytes(events("1", "2"))

    def die(*_: object) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(bronze, "check_records", die)
        with pytest.raises(KeyboardInterrupt):
            load()
    table = f"delta.`{lake}/bronze/driver_events`"
    spark.sql(damage.format(table, table))
    for _ in range(2):
        with pytest.raises(IngestError, match=r"holds other records of events/a.jsonl than load 1 has read"):
            load()
    assert not (lake / "bronze" / "source_files").exists()


def test_many_bounded_loads_bring_what_one_would(raw: Path, lake: Path, load: Callable[..., Any]) -> None:
    for number in range(5):
        (raw / "events" / f"{number}.jsonl").write_bytes(events(str(number)))
    assert [manifest.load_id for manifest in load(max_load_files=2)] == [1, 2, 3]
    assert event_ids(lake) == dict.fromkeys("01234", 1)
    times = sorted({(row["_load_id"], row["_loaded_at"]) for row in read_table(lake, "bronze.source_files")})
    assert times == sorted(times, key=lambda time: time[1])


def test_a_new_declared_key_is_a_new_column_and_a_removed_one_is_refused(
    raw: Path, lake: Path, load: Callable[..., Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    project = tmp_path / "project"
    (project / "models" / "bronze").mkdir(parents=True)
    sources = project / "models" / "bronze" / "_sources.yml"
    declared = SOURCES.read_text(encoding="utf-8")
    (raw / "events" / "a.jsonl").write_bytes(b'{"trailer_id":"t1"}\n')
    load()
    (raw / "events" / "staged.jsonl").write_bytes(b'{"trailer_id":"t0"}\n')
    with monkeypatch.context() as patch:
        patch.delattr(bronze, "append_parts")
        with pytest.raises(AttributeError):
            load()
    line = "          - {name: truck_id, data_type: string"
    sources.write_text(declared.replace(line, f"          - {{name: trailer_id}}\n{line}", 1), encoding="utf-8")
    (raw / "events" / "b.jsonl").write_bytes(b'{"trailer_id":"t2"}\n')
    load(project=project)
    found = {row["_source_file"]: row for row in read_table(lake, "bronze.driver_events")}
    assert found["events/a.jsonl"]["trailer_id"] is None
    assert found["events/a.jsonl"]["_unknown_keys"] == ["trailer_id"]
    staged = found["events/staged.jsonl"]
    assert (staged["trailer_id"], staged["_unknown_keys"]) == (None, ["trailer_id"]), "as it was read"
    assert (found["events/b.jsonl"]["trailer_id"], found["events/b.jsonl"]["_unknown_keys"]) == ("t2", [])
    with pytest.raises(IngestError, match=r"trailer_id.*not removed"):
        load()


def test_a_touched_file_is_hashed_once_and_then_no_command_takes_it_for_new(
    raw: Path, lake: Path, load: Callable[..., Any]
) -> None:
    file = raw / "events" / "a.jsonl"
    file.write_bytes(events("1"))
    load()
    os.utime(file, (1_700_000_000, 1_700_000_000))
    before = table_versions(lake)
    places = ("--lake", str(lake), "--raw", str(raw))
    assert "waiting: 1 raw files" in run_process("python", "-m", "ingest", "status", *places).stdout
    wait_until_times_are_certain(file)
    load()
    assert table_versions(lake) == before
    assert "waiting: 0 raw files" in run_process("python", "-m", "ingest", "status", *places).stdout
    assert "1 raw files compared" in run_process("python", "-m", "ingest", "verify", *places).stdout
    reads: list[bytes] = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ingest.scanning.open_raw", reads.append)
        load()
    assert reads == []


def is_there(*, group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def test_a_load_of_many_megabytes_is_shared_by_processes_that_end_with_the_command(raw: Path, lake: Path) -> None:
    for number in range(4):
        lines = (EVENT % b"%d-%d" % (number, line) for line in range(60_000))
        (raw / "events" / f"{number}.jsonl").write_bytes(b"".join(lines))
    command = ["python", "-m", "ingest", "--settle", "0", "--raw", str(raw), "--lake", str(lake)]
    process = subprocess.Popen(
        [sys.executable, *command[1:]], cwd=PROJECT, stdout=subprocess.DEVNULL, start_new_session=True
    )
    while not list(lake.glob("bronze/driver_events/load-*")):
        assert process.poll() is None
    os.kill(process.pid, signal.SIGKILL)  # Python alone, as the system does when memory is short
    process.wait()
    give_up_at = time.monotonic() + 60
    while is_there(group=process.pid):
        assert time.monotonic() < give_up_at
    assert list(lake.glob("bronze/driver_events/load-*"))
    assert run_process(*command).returncode == 0
    rows = read_table(lake, "bronze.driver_events")
    assert len(rows) == len({row["event_id"] for row in rows}) == 240_000
    assert left_over(lake) == []
    result = run_process("python", "-m", "ingest", "verify", "--lake", str(lake), "--raw", str(raw))
    assert result.returncode == 0, result.stdout


def test_a_load_and_what_is_asked_of_it_take_neither_java_nor_spark(raw: Path, lake: Path, tmp_path: Path) -> None:
    (raw / "events" / "a.jsonl").write_bytes(events("1"))
    for command in (
        ["load"],
        ["load", "--dry-run"],
        ["status"],
        ["trace", "--event-id", "1"],
        ["verify"],
        ["report", "--out", str(tmp_path / "report.html")],
        ["maintain"],
        ["export", "--table", "bronze.driver_events", "--to", str(tmp_path / "files")],
    ):
        result = run_process(
            "python", "-X", "importtime", "-m", "ingest", *command,
            LAKE_ROOT=str(lake), RAW_ROOT=str(raw), PATH="/nowhere", JAVA_HOME="/nowhere",
        )  # fmt: skip
        assert result.returncode == 0, result.stdout + result.stderr[-2000:]
        assert not re.search(r"\b(pyspark|py4j|dbt)\b", result.stderr), command


def test_odd_names_arrive_as_they_are(raw: Path, lake: Path, load: Callable[..., Any]) -> None:
    names = [b"_x.jsonl", b".x.jsonl", b"a:b.jsonl", b"[x]*?.jsonl", b"%20 .jsonl", "é".encode() + b".jsonl",
             b"\xff.jsonl", b"back\\slash.jsonl", b"new\nline.jsonl", b"company_id=5/x.JSONL"]  # fmt: skip
    for number, name in enumerate(names):
        path = os.fsencode(raw) + b"/events/" + name
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120 - pathlib has no bytes
        with open(path, "wb") as file:  # noqa: PTH123
            file.write(events(str(number)))
    load()
    found = {row["event_id"]: row["_source_file"] for row in read_table(lake, "bronze.driver_events")}
    assert found["6"] == "events/\\xff.jsonl"
    assert found["7"] == "events/back\\\\slash.jsonl"
    others = [name for number, name in enumerate(names) if number not in {6, 7}]
    assert {name for number, name in found.items() if number not in "67"} == {f"events/{n.decode()}" for n in others}


class Interrupting(Report):
    """Has a file away while files are read, as a share that does not answer does."""

    def __init__(self, file: Path) -> None:
        super().__init__("text")
        self.file = file

    @contextmanager
    def staging(self, files: Sequence[RawFile]) -> Iterator[Callable[[str, str, int, int], None]]:
        away = self.file.rename(self.file.with_name("away"))
        with super().staging(files) as on_progress:
            yield on_progress
        away.rename(self.file)


def test_what_a_process_remembers_hides_no_file_and_is_said_once(raw: Path, lake: Path) -> None:
    settings = Settings(PROJECT, raw, Lake(lake), Limits(settle_seconds=0))
    file = raw / "events" / "a.jsonl"
    (raw / "events" / "notes.txt").touch()
    run_load(settings, Report("text"), keeps_empty=False)
    found = []
    for ids, at, report in [
        ("1", 1, Report("text")),
        ("12", 2, Interrupting(file)),
        ("12", 2, Report("text")),
        ("12", 3, Report("text")),
        ("123", 4, Report("text")),
        ("12", 3, Report("text")),
    ]:
        file.write_bytes(events(*ids))
        os.utime(file, (1_700_000_000, 1_700_000_000 + at))
        (manifest,) = run_load(settings, report)
        names = [[name for name, _ in entries] for entries in (manifest.ignored, manifest.unreadable)]
        found.append(([version.status for version in manifest.versions], *names))
    assert found == [
        (["loaded"], ["events/notes.txt"], []),
        ([], [], ["events/a.jsonl"]),
        (["appended"], [], []),
        ([], [], []),
        (["appended"], [], []),
        (["duplicate_content"], [], []),
    ]
    assert event_ids(lake) == {"1": 1, "2": 1, "3": 1}


def test_the_log_can_be_read_by_machines_and_a_failed_file_shows_in_the_exit_code(raw: Path, lake: Path) -> None:
    (raw / "events" / "a.jsonl").write_bytes(events("1"))
    (raw / "events" / "b.jsonl.gz").touch()
    result = run_process("python", "-m", "ingest", "--raw", str(raw), "--lake", str(lake), "--log-format", "json")
    assert result.returncode == 1
    assert result.stderr == ""
    entries = [json.loads(line) for line in result.stdout.splitlines()]
    assert all({"time", "level", "stage"} <= entry.keys() for entry in entries)
    files = {entry["file"]: entry for entry in entries if entry["stage"] == "file"}
    assert (files["events/a.jsonl"]["records"], files["events/a.jsonl"]["level"]) == (1, "debug")
    assert (files["events/b.jsonl.gz"]["status"], files["events/b.jsonl.gz"]["level"]) == ("failed", "warning")
    again = run_process("python", "-m", "ingest", "--raw", str(raw), "--lake", str(lake))
    assert (again.returncode, again.stderr) == (0, "")


def test_names_cannot_forge_lines_or_colours_of_the_log(raw: Path, lake: Path) -> None:
    (raw / "events" / "a\n\x1b[31mload 9 is complete.jsonl.gz").touch()
    result = run_process("python", "-m", "ingest", "--dry-run", "--raw", str(raw), "--lake", str(lake))
    assert "\x1b" not in result.stdout
    assert sum("load 9" in line for line in result.stdout.splitlines()) == 1


def test_a_dry_run_says_what_would_be_and_writes_nothing(raw: Path, lake: Path) -> None:
    (raw / "events" / "a.jsonl").write_bytes(events("1"))
    (raw / "events" / "batch_meta.json").touch()
    result = run_process("python", "-m", "ingest", "--dry-run", "--raw", str(raw), "--lake", str(lake))
    assert result.returncode == 0
    assert "loaded" in next(line for line in result.stdout.splitlines() if "events/a.jsonl" in line)
    assert "ignored" in next(line for line in result.stdout.splitlines() if "batch_meta.json" in line)
    assert not lake.exists()
