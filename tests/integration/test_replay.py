"""After a rule, the seed or the columns have changed, a replay leaves the tables that a full refresh would."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING

import pytest

from ingest.lake import Lake, column_types
from tests.integration.lakes import SILVER_AND_GOLD, difference, read_table, table_versions
from tests.integration.worker import BUILD, BUILD_UNTESTED, Worker, copy_project

if TYPE_CHECKING:
    from pathlib import Path

TABLES = (*SILVER_AND_GOLD, "audit.source_file_audit", "audit.unknown_keys", "audit.unmatched_companies")
REPLAY = (*BUILD, "--vars", "replay: true")
UNTESTED_REPLAY = (*BUILD_UNTESTED, "--vars", "replay: true")
FEEDS, STAGED = "models/bronze/_sources.yml", "models/silver/staged_driver_events.sql"
SURROGATES = r"\\ud800 \ud83d\ude9a \ude9a \\\ud83d"


@pytest.fixture
def worker(tmp_path: Path) -> Worker:
    project = copy_project(tmp_path / "project")
    (tmp_path / "raw" / "events").mkdir(parents=True)
    return Worker(tmp_path / "lake", tmp_path / "raw", project=project)


def test_a_replay_equals_a_full_refresh(worker: Worker) -> None:
    write_events(
        worker, "1",
        event("a", 0, "lunch", "c1"), event("a", 0, "start", "c2"), event("a", 0, "start", "c2"),
        event("a", 5, "stop", "c2"), event("b", 0, "start", "c1"), event("b", 1, "lunch", "c9"),
        event("b", 2, "nap", "c1"),
    )  # fmt: skip
    write_companies(worker, {"company_id": "c1", "name": "one", "active": "yes"})
    assert worker.load() == 0
    write_companies(
        worker, {"company_id": "c1", "name": "two", "active": "true"}, {"company_id": "c2", "active": "false"}
    )
    write_events(worker, "2", event("a", 0, "lunch", "c1"), event("b", 1, "stop", "c1"), event("c", 0, "start", "c3"))
    assert worker.load() == 0
    assert worker.dbt(*BUILD_UNTESTED) == 0
    edit(
        worker,
        "seeds/event_types.csv",
        "start_driving,start_driving",
        "lunch,stop_driving\nstart_driving,start_driving",
    )
    edit(worker, "models/silver/staged_companies.sql", "in ('true', 'false')", "in ('true', 'false', 'yes')")
    write_events(worker, "3", event("d", 0, "lunch", "c2"))
    assert worker.load() == 0

    # The test still has the old rule: it fails, and gold, which comes after it, keeps the old rows.
    assert worker.dbt(*REPLAY) == 1
    before = table_versions(worker.lake)
    assert worker.dbt(*BUILD_UNTESTED) == 1, "a build must not go on from a replay that ended half-way"
    assert table_versions(worker.lake) == before
    assert worker.dbt(*UNTESTED_REPLAY, "--select", "driver_events") == 1
    assert table_versions(worker.lake) == before
    assert worker.dbt(*BUILD, "--full-refresh") == 1
    before = table_versions(worker.lake)
    assert worker.dbt(*BUILD_UNTESTED) == 1, "nor from a full refresh"
    assert worker.dbt(*BUILD_UNTESTED, "--full-refresh", "--select", "daily_driver_activity") == 1, "nor hide one"
    assert table_versions(worker.lake) == before
    edit(worker, "tests/assertions/assert_companies_obey_the_rules.sql", "(true|false)", "(true|false|yes)")
    assert worker.dbt(*REPLAY) == 0

    accepted = {(row["driver_id"], row["_source_line"]): row for row in read_table(worker.lake, "silver.driver_events")}
    assert accepted["a", 1]["event_type"] == "stop_driving", "what is valid only now was first of its key"
    assert ("a", 2) not in accepted
    replayed = {table: read_table(worker.lake, table) for table in TABLES}
    before = table_versions(worker.lake)
    assert worker.dbt(*UNTESTED_REPLAY) == 0
    assert table_versions(worker.lake) == before, "a replay of nothing writes nothing"
    assert worker.dbt(*BUILD_UNTESTED) == 0
    assert table_versions(worker.lake) == before
    assert worker.dbt(*BUILD_UNTESTED, "--full-refresh") == 0
    for table, rows in replayed.items():
        assert difference(rows, read_table(worker.lake, table)) == [], table


def test_a_key_that_is_declared_later_comes_into_older_records_too(worker: Worker, tmp_path: Path) -> None:
    trailers: list[object] = ["t1", 12345678901234567890, {"a": [1.50, None]}, None, SURROGATES, True]
    lines = [event("a", minute, "start", "c1", trailer_id=trailer) for minute, trailer in enumerate(trailers)]
    write_events(worker, "1", *lines, '{"trailer_id":1,"trailer_id":2}')
    assert worker.load() == 0
    assert worker.dbt(*BUILD_UNTESTED) == 0
    declare_trailer_id(worker)
    assert worker.load() == 0
    assert "trailer_id" in column_types(Lake(worker.lake), "bronze.driver_events")
    write_events(worker, "2", *(event("b", minute, "stop", "c1", trailer_id=minute) for minute in range(3)))
    assert worker.load() == 0
    assert worker.dbt(*UNTESTED_REPLAY) == 0
    replayed = {table: read_table(worker.lake, table) for table in TABLES}

    other = Worker(tmp_path / "other", worker.raw, project=worker.project)
    shutil.move(worker.raw / "events" / "2.jsonl", tmp_path)
    assert other.load() == 0
    shutil.move(tmp_path / "2.jsonl", worker.raw / "events")
    assert other.load() == 0
    assert other.dbt(*BUILD_UNTESTED) == 0
    for table in SILVER_AND_GOLD:
        assert difference(replayed[table], read_table(other.lake, table)) == [], table
    found = {row["trailer_id"] for row in replayed["gold.enriched_driver_events"]}
    assert found == {
        "t1", "12345678901234567890", '{"a":[1.5,null]}', None, "\\ud800 \U0001f69a ? \\?", "true", "0", "1", "2"
    }  # fmt: skip


def declare_trailer_id(worker: Worker) -> None:
    """Do what the README says of a new key: its feed, the staged view, and the models that are to have it."""
    column = "- {name: trailer_id, data_type: string, description: Trailer behind the truck.}"
    edit(worker, FEEDS, "          - {name: payload", f"          {column}\n          - {{name: payload")
    edit(worker, STAGED, "typed.payload,", "typed.payload,\n        {{ added_key('trailer_id') }} as trailer_id,")
    edit(worker, "models/silver/driver_events.sql", "        payload,", "        payload,\n        trailer_id,")
    edit(
        worker, "models/gold/enriched_driver_events.sql",
        "events_to_enrich.payload,", "events_to_enrich.payload,\n        events_to_enrich.trailer_id,",
    )  # fmt: skip
    for model in ("silver/driver_events", "gold/enriched_driver_events"):
        edit(worker, f"models/{model}.yml", "      - {name: payload", f"      {column}\n      - {{name: payload")


def edit(worker: Worker, name: str, old: str, new: str) -> None:
    path = worker.project / name
    text = path.read_text(encoding="utf-8")
    assert old in text, f"{name} has no {old!r}"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")


def event(driver: str, minute: int, event_type: str, company: str, **more: object) -> str:
    return json.dumps(
        {
            "driver_id": driver,
            "event_timestamp": f"2024-03-04T06:{minute:02}:00Z",
            "event_type": event_type,
            "company_id": company,
            **more,
        }
    ).replace(json.dumps(SURROGATES), f'"{SURROGATES}"')


def write_events(worker: Worker, name: str, *lines: str) -> None:
    (worker.raw / "events" / f"{name}.jsonl").write_text("".join(f"{line}\n" for line in lines), encoding="utf-8")


def write_companies(worker: Worker, *companies: dict[str, str]) -> None:
    with (worker.raw / "companies.jsonl").open("a", encoding="utf-8") as file:
        file.writelines(f"{json.dumps(company)}\n" for company in companies)
