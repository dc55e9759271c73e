"""A build tests what no build has tested yet; `dbt test` tests everything."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from deltalake import DeltaTable, QueryBuilder, write_deltalake

from ingest.lake import Lake, query
from tests.integration.lakes import difference, read_known, read_table, records_of_bronze, table_versions
from tests.integration.worker import BUILD_UNTESTED, Worker, run_process
from tests.reference import audits, run

if TYPE_CHECKING:
    from pathlib import Path

GOLD = "enriched_driver_events"
COUNTS = "assert_gold_counts_every_accepted_event_once"
TESTED = ("--select", GOLD, "--exclude-resource-type", "unit_test")
COMPANY = b'{"company_id":"c","name":"C","active":"true"}\n'
EVENT_TABLES = {
    "silver/driver_events",
    "silver/rejected_driver_events",
    "gold/driving_sessions",
    "gold/daily_driver_activity",
}
COMPANY_TABLES = {"silver/company_history", "silver/companies", "silver/rejected_companies"}
GOLD_TABLES = {"gold/enriched_driver_events", "gold/daily_company_activity"}
EVENT = b'{"driver_id":"d","event_timestamp":"2024-03-04T06:00:00Z","event_type":"start","company_id":"c"}\n'


@pytest.fixture
def worker(built: tuple[Path, Path], raw: Path, lake: Path) -> Worker:
    shutil.copytree(built[0], raw, dirs_exist_ok=True)
    shutil.copytree(built[1], lake, ignore=shutil.ignore_patterns("metastore"))
    return Worker(lake, raw)


def doubled(lake: Path, condition: str) -> None:
    """Add a row to gold once more, as no build would."""
    gold = DeltaTable(lake / "gold" / GOLD)
    rows = QueryBuilder().register("t", gold).execute(f"select * from t where {condition} limit 1").read_all()
    write_deltalake(gold, rows, mode="append")


def judged_up_to(lake: Path) -> int:
    steps = query(Lake(lake), "select * from t", t="audit.pipeline_steps")
    return max(row["complete_up_to_load_id"] or 0 for row in steps if f"primary_key_{GOLD}" in row["step"])


def written_by_a_run(worker: Worker, file: Path, text: bytes) -> set[str]:
    """Load this file and make the models; give the tables of silver and gold that have a new version."""
    file.write_bytes(text)
    assert worker.load() == 0
    before = table_versions(worker.lake)
    assert worker.dbt("run") == 0
    after = table_versions(worker.lake)
    return {table for table in after if after[table] != before[table]}


def test_a_test_blames_no_table_that_is_ahead_of_others_or_was_being_written(
    worker: Worker, raw: Path, lake: Path
) -> None:
    day = read_table(lake, "silver.driver_events")[0]["event_date"]
    (raw / "events" / "new.jsonl").write_bytes(EVENT.replace(b"2024-03-04", str(day).encode()))
    assert worker.load() == 0
    assert worker.dbt("run", "--select", "+daily_driver_activity") == 0
    assert worker.dbt("test", "--select", COUNTS) == 0
    for table in ("pipeline_runs", "pipeline_steps"):
        runs = DeltaTable(lake / "audit" / table)
        runs.restore(runs.version() - 1)
    assert worker.dbt("run", "--select", "companies") == 0
    assert worker.dbt("test", "--select", COUNTS) == 1
    assert "has not ended, or was killed" in (lake.parent / "logs" / "dbt.log").read_text(encoding="utf-8")
    assert worker.dbt("run") == 0
    assert worker.dbt("test", "--select", COUNTS) == 0


def test_bronze_that_was_deleted_is_not_begun_anew_under_tables_that_have_read_it(
    worker: Worker, raw: Path, lake: Path
) -> None:
    shutil.rmtree(lake / "bronze")
    told = run_process("python", "-m", "ingest", "status", LAKE_ROOT=str(lake), RAW_ROOT=str(raw))
    assert "Traceback" not in told.stdout + told.stderr
    refused = run_process("python", "-m", "ingest", "--settle", "0", LAKE_ROOT=str(lake), RAW_ROOT=str(raw))
    assert (refused.returncode, "a build has read load 2, but" in refused.stderr) == (2, True), refused.stderr
    for schema in ("silver", "gold", "audit"):
        shutil.rmtree(lake / schema)
    assert worker.load() == 0
    assert worker.dbt(*BUILD_UNTESTED) == 0
    for table, wanted in run([records_of_bronze(lake)]).items():
        assert difference(read_table(lake, table), wanted) == [], table


def test_a_load_stays_to_be_tested_until_its_test_has_passed(worker: Worker, raw: Path, lake: Path) -> None:
    assert written_by_a_run(worker, raw / "events" / "new.jsonl", EVENT * 2) == EVENT_TABLES | GOLD_TABLES
    assert written_by_a_run(worker, raw / "companies_new.jsonl", COMPANY * 2) == COMPANY_TABLES | GOLD_TABLES
    bronze = [records_of_bronze(lake)]
    for table, wanted in (run(bronze) | audits(bronze)).items():
        assert difference(read_known(lake, table), wanted) == [], table
    doubled(lake, "_load_id = 3")
    for _ in range(2):
        assert worker.dbt("build", *TESTED) == 1
        assert judged_up_to(lake) == 2
    DeltaTable(lake / "gold" / GOLD).restore(DeltaTable(lake / "gold" / GOLD).version() - 1)
    assert worker.dbt("build", *TESTED) == 0
    assert judged_up_to(lake) == 4
    doubled(lake, "_load_id = 1")
    assert worker.dbt("build", *TESTED) == 0
    assert worker.dbt("test", *TESTED) == 1
