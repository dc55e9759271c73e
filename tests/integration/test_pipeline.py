"""The whole way from raw files to gold, held to the sample's ground truth and to an independent reference."""

from __future__ import annotations

import json
import shutil
from collections import Counter, defaultdict
from typing import TYPE_CHECKING, Any

from ingest.sample import read_truth, write_sample
from tests.integration.lakes import (
    difference,
    read_known,
    read_table,
    records_of_bronze,
    snapshot,
    table_versions,
)
from tests.integration.worker import BUILD, BUILD_UNTESTED, PROJECT, Worker, run_process
from tests.reference import audits, run

if TYPE_CHECKING:
    from pathlib import Path

Tables = dict[str, list[dict[str, Any]]]


def test_every_line_becomes_what_the_ground_truth_says(sample_of_two_days: tuple[Worker, Tables, list[Any]]) -> None:
    worker, tables, _ = sample_of_two_days
    found: defaultdict[str, dict[int, str]] = defaultdict(dict)
    for table in ("rejected_driver_events", "rejected_companies"):
        for row in tables[f"silver.{table}"]:
            found[row["_source_file"]][row["_source_line"]] = row["reject_reason"]
    accepted = Counter(
        row["_source_file"] for table in ("driver_events", "company_history") for row in tables[f"silver.{table}"]
    )
    for file in read_truth(worker.raw.parent / "raw.truth.jsonl"):
        assert found[file.source_file] == {int(line): reason for line, reason in file.rejected.items()}
        assert accepted[file.source_file] == file.records - len(file.rejected)


def test_every_table_equals_the_reference(sample_of_two_days: tuple[Worker, Tables, list[Any]]) -> None:
    _, tables, loads = sample_of_two_days
    for table, wanted in run(loads).items():
        assert difference(tables[table], wanted) == [], table


def test_the_audit_says_what_became_of_every_file(sample_of_two_days: tuple[Worker, Tables, list[Any]]) -> None:
    worker, tables, loads = sample_of_two_days
    for table, wanted in audits(loads).items():
        assert difference(read_known(worker.lake, table), wanted) == [], table
    files = read_table(worker.lake, "audit.source_file_audit")
    assert len(files) == len(read_table(worker.lake, "bronze.source_files"))
    silver = ("driver_events", "rejected_driver_events", "company_history", "rejected_companies")
    assert sum(row["records"] for row in files) == sum(len(tables[f"silver.{table}"]) for table in silver)


def test_every_build_is_judged(sample_of_two_days: tuple[Worker, Tables, list[Any]]) -> None:
    worker, _, _ = sample_of_two_days
    runs = sorted(read_table(worker.lake, "audit.pipeline_runs"), key=lambda run: run["started_at"])
    assert [run["status"] for run in runs] == ["succeeded", "succeeded"]
    judged = {(row["run_id"], row["feed"]): row for row in read_table(worker.lake, "audit.rejection_audit")}
    bounds = [(judged[run["run_id"], feed]["after_load_id"], judged[run["run_id"], feed]["up_to_load_id"])
              for run in runs for feed in ("driver_events", "companies")]  # fmt: skip
    assert bounds == [(0, 1), (0, 1), (1, 2), (1, 2)]
    files = read_table(worker.lake, "audit.source_file_audit")
    for row in judged.values():
        of_load = [file for file in files if file["feed"] == row["feed"] and file["_load_id"] == row["up_to_load_id"]]
        assert row["records"] == sum(file["records"] for file in of_load)
        assert row["rejected"] == sum(file["rejected"] for file in of_load)
        assert row["status"] == ("breached" if row["rejected"] > row["threshold"] * row["records"] else "ok")
    matches = [row["matched"] / row["events"] for row in read_table(worker.lake, "audit.enrichment_audit")]
    assert matches == [row["match_rate"] for row in read_table(worker.lake, "audit.enrichment_audit")]


def test_a_load_and_a_build_with_nothing_new_write_no_version(
    sample_of_two_days: tuple[Worker, Tables, list[Any]],
) -> None:
    worker, _, _ = sample_of_two_days
    before = table_versions(worker.lake)
    assert worker.load() == 0
    assert worker.dbt(*BUILD) == 0
    assert table_versions(worker.lake) == before


def test_variants_of_silver_are_compared_on_the_same_loads(
    sample_of_two_days: tuple[Worker, Tables, list[Any]],
) -> None:
    worker, tables, _ = sample_of_two_days
    select = ("--select", "staged_driver_events", "silver_experiments", "--exclude-resource-type", "unit_test")
    assert worker.dbt("build", *select, "--vars", "{experiments: true}") == 0
    outcomes = {
        variant: read_table(worker.lake, f"silver_experiments.variant_{variant}_outcomes") for variant in ("a", "b")
    }
    accepted = {
        variant: {(row["driver_id"], row["event_timestamp"]): row for row in rows if row["reject_reason"] is None}
        for variant, rows in outcomes.items()
    }
    contract = {(row["driver_id"], row["event_timestamp"]): row for row in tables["silver.driver_events"]}
    assert {key: place(row) for key, row in accepted["a"].items()} == {key: place(row) for key, row in contract.items()}
    for row in outcomes["b"]:
        if row["reject_reason"] == "duplicate":
            winner = accepted["b"][row["driver_id"], row["event_timestamp"]]
            assert (filled(winner), place(winner)) > (filled(row), place(row))
    differences = read_table(worker.lake, "silver_experiments.variant_differences")
    assert {(row["driver_id"], row["event_timestamp"]) for row in differences} == {
        key
        for key in accepted["a"].keys() | accepted["b"].keys()
        if key not in accepted["a"]
        or key not in accepted["b"]
        or place(accepted["a"][key]) != place(accepted["b"][key])
    }
    told = run_process("python", "-m", "ingest", "experiment", LAKE_ROOT=str(worker.lake))
    assert (told.returncode, f"{len(accepted['b']):,} (" in told.stdout) == (0, True)


def place(row: dict[str, Any]) -> tuple[Any, ...]:
    return row["_load_id"], row["_source_file"], row["_source_line"]


def filled(row: dict[str, Any]) -> int:
    return sum(row[column] is not None for column in ("event_id", "truck_id", "payload"))


def test_a_breach_stays_one_until_a_build_succeeds_with_it(
    sample_of_two_days: tuple[Worker, Tables, list[Any]],
) -> None:
    worker, _, _ = sample_of_two_days
    (worker.raw / "events" / "bad.jsonl").write_text("not json\n" * 9, encoding="utf-8")
    assert worker.load() == 0
    build = (*BUILD_UNTESTED, "--select", "+source_file_audit")
    assert worker.dbt(*build, "--vars", "{strict_thresholds: true, maximum_rejected_driver_events: 2}") == 1
    codes = [worker.dbt(*build, "--vars", f"{{strict_thresholds: {strict}}}") for strict in (True, True, False, True)]
    assert codes == [1, 1, 0, 0]
    runs = sorted(read_table(worker.lake, "audit.pipeline_runs"), key=lambda run: run["started_at"])[-4:]
    assert [run["status"] for run in runs] == ["failed", "failed", "succeeded", "succeeded"]
    assert "100.00% of 9 new records of driver_events are rejected, at most 5.00% may be" in runs[0]["failed_step"]
    judged = {row["run_id"]: row for row in read_table(worker.lake, "audit.rejection_audit")
              if row["feed"] == "driver_events"}  # fmt: skip
    assert [(judged[run["run_id"]]["rejected"], judged[run["run_id"]]["status"]) for run in runs] == [
        (9, "breached"), (9, "breached"), (9, "breached"), (0, "ok")
    ]  # fmt: skip
    file = next(
        row for row in read_table(worker.lake, "audit.source_file_audit") if row["_source_file"] == "events/bad.jsonl"
    )
    assert (file["status"], file["reason"]) == ("unusable", "none of its records is without a defect")


def test_a_load_during_a_build_that_makes_deleted_tables_again_costs_nothing(
    sample_of_two_days: tuple[Worker, Tables, list[Any]],
) -> None:
    worker, _, _ = sample_of_two_days
    for schema in ("audit", "gold"):
        shutil.rmtree(worker.lake / schema)
    write_sample(worker.raw, batches=4, events_per_batch=500, companies=220, seed=7, grow=True)
    worker.send(["dbt", *BUILD_UNTESTED])
    lake, raw = str(worker.lake), str(worker.raw)
    load = run_process("python", "-m", "ingest", "--settle", "0", LAKE_ROOT=lake, RAW_ROOT=raw)
    assert load.returncode == 0, load.stderr
    assert worker.is_done(600)
    assert worker.dbt(*BUILD_UNTESTED) == 0
    for table, wanted in run([records_of_bronze(worker.lake)]).items():
        assert difference(read_table(worker.lake, table), wanted) == [], table


def test_the_files_of_a_real_producer_are_judged_as_counted_without_spark(tmp_path: Path) -> None:
    raw = tmp_path / "raw"
    worker = Worker(tmp_path / "lake", raw)
    for day in ("day1", "day2"):
        shutil.copytree(PROJECT / "tests" / "fixtures" / "producer" / day, raw, dirs_exist_ok=True)
        assert worker.load() == 0
    assert worker.dbt("run") == 1  # the seed is not there yet
    assert worker.dbt(*BUILD_UNTESTED) == 0
    tables = snapshot(worker.lake)
    expected = json.loads((PROJECT / "tests" / "expected" / "producer.json").read_text(encoding="utf-8"))
    assert {table: len(rows) for table, rows in tables.items()} == expected["rows"]
    assert (
        Counter(row["reject_reason"] for row in tables["silver.rejected_driver_events"]) == expected["reject_reasons"]
    )
    matched = Counter(row["is_company_matched"] for row in tables["gold.enriched_driver_events"])
    assert matched == {True: expected["matched"]}
    assert Counter(row["session_status"] for row in tables["gold.driving_sessions"]) == expected["sessions"]
