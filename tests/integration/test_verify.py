"""`python -m ingest verify` finds what a lake has too much, too little or otherwise, and says where."""

from __future__ import annotations

import os
import re
import shutil
from typing import TYPE_CHECKING

import pytest

from tests.integration.conftest import run_one_load
from tests.integration.lakes import table_versions, wait_until_times_are_certain
from tests.integration.worker import run_process

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession

EVENT = b'{"event_id":"%d","driver_id":"d","payload":{"km":1},"x":"undeclared"}\r\n'

ADD_A_ROW_TO_THE_BLANK_LINE = """
    insert into {events} (_raw, _source_file, _source_file_id, _source_line, _load_id, _loaded_at)
    select _raw, _source_file, _source_file_id, 4, _load_id, _loaded_at from {events} where event_id = '3'
"""


@pytest.fixture(scope="module")
def two_loads(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with a lake of two loads: a file that grew, with a blank line and a defect, and three others."""
    folder = tmp_path_factory.mktemp("verify")
    events = folder / "raw" / "events" / "a.jsonl"
    events.parent.mkdir(parents=True)
    events.write_bytes(b"\xef\xbb\xbf" + b"".join(EVENT % number for number in range(1, 4)) + b" \t\nnot json\n")
    (events.parent / "deep.jsonl").write_bytes(b'{"x":' + b"[" * 999 + b"]" * 999 + b"}\n")
    (events.parent / "b.json").write_bytes(b'[{"event_id":"e1"},\n {"event_id":\n"e2"}]')
    (folder / "raw" / "companies.jsonl").write_bytes(b'{"company_id":"c","name":"O\'Brien"}\n')
    run_one_load(folder / "raw", folder / "lake")
    with events.open("ab") as file:
        file.write(EVENT % 6 + EVENT % 7)
    run_one_load(folder / "raw", folder / "lake")
    return folder


@pytest.fixture
def loaded(two_loads: Path, lake: Path) -> Path:
    shutil.copytree(two_loads / "lake", lake)
    return lake


def violations(lake: Path, *options: str) -> list[str]:
    before = table_versions(lake)
    result = run_process("python", "-m", "ingest", "verify", "--lake", str(lake), *options)
    assert table_versions(lake) == before
    assert result.stderr == ""
    found = [line for line in result.stdout.splitlines() if line.startswith("violation: ")]
    assert result.returncode == (1 if found else 0)
    return found


def test_a_sound_lake_has_no_violation(two_loads: Path) -> None:
    assert violations(two_loads / "lake") == []
    assert violations(two_loads / "lake", "--raw", str(two_loads / "raw")) == []


@pytest.mark.parametrize(
    ("statement", "sentence"),
    [
        ("delete from {events} where event_id = '2'", "events/a.jsonl, line 2 or later, load 1: .* 3 of 4 records"),
        ("delete from {events} where event_id = '7'", "events/a.jsonl, line 7, load 2: .* 1 of 2 records"),
        ("delete from {events} where _source_file = 'events/b.json'", "events/b.json, line 1, load 1: .* 0 of 2"),
        ("insert into {events} table {events}", "events/a.jsonl, line 1, load 1: this record is in .* twice"),
        ("update {events} set _source_line = 9 where event_id = '7'", "line 9, load 2: .* did not read that line"),
        ("update {events} set _raw = replace(_raw, '\"6\"', '\"9\"') where event_id = '6'", "load 2, line 6: the text"),
        ("update {events} set _raw = replace(_raw, 'undec', 'undek') where event_id = '6'", "load 2, one of its lines"),
        ("update {events} set _raw = 'not jsom' where _defect is not null", "a.jsonl, load 1, one of its lines"),
        ("update {events} set _defect = 'not_json' where event_id = '6'", "load 2: .* 1 defective records"),
        ("update {events} set _source_file_id = '0' where event_id = '6'", "line 6, load 2: its _source_file_id"),
        ("update {events} set _source_file = 'events/x' where event_id = '6'", "line 6, load 2: .* 1 of 2 records"),
        ("update {events} set _load_id = 8 where event_id = '6'", "events/a.jsonl, line 6, load 2: .* 1 of 2 records"),
        ("insert into {events} (_raw, _source_file, _load_id) values ('{{}}', 'x', 8)", "x, .* load 8: .* no manifest"),
        ("update {events} set event_id = '9' where event_id = '6'", "load 2, line 6: the columns .* do not say what"),
        ("update {events} set _raw = '[]' where event_id = '6'", "load 2, line 6: the text"),
        ("update {events} set _raw = null where event_id = '6'", "load 2, line 6: the text"),
        ("update {events} set _source_line = null where event_id = '6'", "line 0, load 2: .* did not read that line"),
        (ADD_A_ROW_TO_THE_BLANK_LINE,
         "a.jsonl, load 1: .* has 5 records of this file, but 4 were read"),
        ("update {files} set _loaded_at = _loaded_at + interval 1 day", "a row that differs"),
        ("delete from {files} where _source_file = 'events/b.json'", "events/b.json: .* 0 rows for its manifest"),
        ("insert into {files} table {files}", "companies.jsonl: .* has 2 rows for its manifest"),
        ("update {files} set records = 9 where _load_id = 2", "events/a.jsonl: .* a row that differs"),
    ],
)  # fmt: skip
def test_planted_damage_is_found_and_named(loaded: Path, spark: SparkSession, statement: str, sentence: str) -> None:
    tables = {
        "events": f"delta.`{loaded}/bronze/driver_events`",
        "files": f"delta.`{loaded}/bronze/source_files`",
    }
    spark.sql(statement.format(**tables))
    found = violations(loaded)
    assert re.search(sentence, found[0]), found


def test_the_raw_files_tell_the_line_that_was_changed(loaded: Path, two_loads: Path, spark: SparkSession) -> None:
    spark.sql(f"update delta.`{loaded}/bronze/driver_events` set _raw = 'not jsom' where _defect is not null")
    assert (
        "events/a.jsonl, line 5: bronze.driver_events has another text"
        in violations(loaded, "--raw", str(two_loads / "raw"))[-1]
    )


def test_lost_and_broken_manifests_and_tables_are_named(loaded: Path) -> None:
    newest = max((loaded / "manifests").iterdir())
    text = newest.read_text(encoding="utf-8")
    newest.write_text(text[:-9], encoding="utf-8")
    assert f"{newest}: this manifest is damaged" in violations(loaded)[0]
    newest.unlink()
    assert "has load 2, of which there is no sound file" in violations(loaded)[0]
    newest.write_text(text, encoding="utf-8")
    parquet = next((loaded / "bronze" / "companies").glob("*.parquet"))
    parquet.unlink()
    assert "bronze.companies cannot be read" in violations(loaded)[0]
    shutil.rmtree(loaded / "bronze" / "companies")
    assert "bronze.companies is not there" in violations(loaded)[0]


def test_a_half_line_that_was_read_and_now_waits_again_is_no_violation(raw: Path, lake: Path) -> None:
    (raw / "events" / "empty.jsonl").touch()
    (raw / "events" / "old.json").write_bytes(b'{"a":1\r')
    companies = raw / "companies.jsonl"
    companies.write_bytes(b'{"company_id":"c"}\n{"comp')
    run_one_load(raw, lake)
    with companies.open("ab") as file:
        file.write(b'any_id":')
    run_one_load(raw, lake, settle_seconds=60)
    assert violations(lake, "--raw", str(raw)) == []


def test_a_line_end_that_came_in_two_loads_is_no_violation(raw: Path, lake: Path) -> None:
    file = raw / "events" / "a.jsonl"
    for part in (b"{}\r", b"\n{}\n"):
        with file.open("ab") as opened:
            opened.write(part)
        run_one_load(raw, lake)
    assert violations(lake, "--raw", str(raw)) == []


def test_a_file_of_other_bytes_under_the_same_size_and_time_has_changed_since(raw: Path, lake: Path) -> None:
    file = raw / "events" / "a.jsonl"
    file.write_bytes(b"1\n")
    wait_until_times_are_certain(file)
    run_one_load(raw, lake)
    status = file.stat()
    file.write_bytes(b"2\n")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert violations(lake, "--raw", str(raw)) == []


def test_a_load_that_is_not_finished_is_no_violation(loaded: Path) -> None:
    newest = max((loaded / "manifests").iterdir())
    (loaded / "staging").mkdir()
    shutil.copy(newest, loaded / "staging" / "plan.json")
    assert violations(loaded) == []
