"""Maintenance changes no row, and the tables can still be read as they were after a build."""

from __future__ import annotations

import os
import shutil
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from deltalake import DeltaTable, QueryBuilder

from ingest.errors import IngestError
from ingest.lake import Lake, open_table, tables_of
from ingest.maintain import maintain, versions_at
from tests.integration.conftest import run_one_load
from tests.integration.lakes import difference, read_table
from tests.integration.test_faults import Deployment, needs_a_mount, on_a_small_disk
from tests.integration.worker import run_process

if TYPE_CHECKING:
    from pathlib import Path

    from pyspark.sql import SparkSession


@pytest.fixture
def copy(built: tuple[Path, Path], lake: Path) -> Lake:
    shutil.copytree(built[1], lake)
    return Lake(lake)


def test_maintenance_changes_no_row_and_keeps_what_builds_saw(copy: Lake) -> None:
    before = {name: read_table(copy.root, name) for name in tables_of(copy)}
    manifests = sorted((copy.root / "manifests").iterdir())
    runs = sorted(before["audit.pipeline_runs"], key=lambda run: run["started_at"])
    done = {upkeep.table: upkeep for upkeep in maintain(copy, keep=timedelta(days=30))}
    assert done.keys() == before.keys()
    for name, rows in before.items():
        assert difference(read_table(copy.root, name), rows) == [], name
    assert done["audit.pipeline_steps"].read_before > done["audit.pipeline_steps"].read == 1
    assert len(DeltaTable(copy.table("audit.pipeline_steps")).file_uris()) == 1
    assert sorted((copy.root / "manifests").iterdir()) == manifests
    up_to, versions = versions_at(copy, runs[0]["run_id"])
    assert (up_to, len(versions)) == (1, 9)
    for name in ("silver.driver_events", "gold.enriched_driver_events"):
        past = QueryBuilder().register("t", DeltaTable(copy.table(name), version=versions[name]))
        loads = {load for batch in past.execute("select distinct _load_id from t") for load in batch[0].to_pylist()}
        assert loads == {1}


def test_files_that_no_version_needs_are_removed_and_a_dry_run_says_which(copy: Lake) -> None:
    rows = read_table(copy.root, "silver.driver_events")
    run_id = min(read_table(copy.root, "audit.pipeline_runs"), key=lambda run: run["started_at"])["run_id"]
    told = {upkeep.table: upkeep for upkeep in maintain(copy, keep=timedelta(0), dry_run=True)}
    assert all(path.exists() for path in copy.root.rglob("*.parquet"))
    table = "gold.daily_driver_activity"
    assert told[table].files < told[table].files_before
    done = {upkeep.table: upkeep for upkeep in maintain(copy, keep=timedelta(0))}
    assert (done[table].files, done["silver.driver_events"].files) == (1, 1)
    assert difference(read_table(copy.root, "silver.driver_events"), rows) == []
    with pytest.raises(IngestError, match="were removed by upkeep"):
        versions_at(copy, run_id)


def test_a_version_that_the_log_keeps_no_more_is_said(copy: Lake) -> None:
    run_id = min(read_table(copy.root, "audit.pipeline_runs"), key=lambda run: run["started_at"])["run_id"]
    table = open_table(copy, "silver.driver_events")
    table.create_checkpoint()
    for version in range(table.version()):
        (copy.table("silver.driver_events") / "_delta_log" / f"{version:020}.json").unlink()
    with pytest.raises(IngestError, match="is not in its log any more, which keeps 30 days"):
        versions_at(copy, run_id)


def test_a_log_goes_up_to_the_checkpoint_that_the_kept_versions_need(lake: Path, spark: SparkSession) -> None:
    name = "silver.driver_events"
    path = Lake(lake).table(name)
    log = path / "_delta_log"
    first_at = time.time() - 100_000
    for version in range(35):
        spark.range(version, version + 1).write.format("delta").mode("append").save(str(path))
        for entry in log.glob(f"*{version:020}.*"):
            os.utime(entry, (first_at + version * 1000, first_at + version * 1000))
    back_to_version_25 = timedelta(seconds=time.time() - first_at - 25_500)
    (lake / "ingest.lock").touch()
    list(maintain(Lake(lake), keep=back_to_version_25))
    assert {int(entry.name.lstrip(".")[:20]) for entry in log.glob("*.json*")} == set(range(20, 36))
    assert DeltaTable(path, version=25).count() == 26
    spark.range(35, 45).write.format("delta").mode("append").save(str(path))
    assert sorted(row.id for row in spark.read.format("delta").load(str(path)).collect()) == list(range(45))


def test_a_table_that_was_made_anew_has_no_version_of_before(copy: Lake) -> None:
    first, last = sorted(read_table(copy.root, "audit.pipeline_runs"), key=lambda run: run["started_at"])
    wanted = versions_at(copy, last["run_id"])
    of_events = f"run_id = '{first['run_id']}' and step = 'model.medallion.driver_events'"
    open_table(copy, "audit.pipeline_steps").update(updates={"table_version": "99"}, predicate=of_events)
    assert versions_at(copy, last["run_id"]) == wanted
    with pytest.raises(IngestError, match=r"silver.driver_events was deleted and made anew since that build"):
        versions_at(copy, first["run_id"])


def test_deletion_vectors_are_not_taken_for_files_that_nobody_needs(copy: Lake, spark: SparkSession) -> None:
    path = copy.table("gold.enriched_driver_events")
    table = f"delta.`{path}`"
    spark.sql(f"optimize {table}")
    spark.sql(f"alter table {table} set tblproperties ('delta.enableDeletionVectors' = 'true')")
    spark.sql(f"delete from {table} where event_type = 'delivered'")
    rows = read_table(copy.root, "gold.enriched_driver_events")
    assert rows
    assert list(path.glob("deletion_vector_*.bin"))
    assert all(row["event_type"] != "delivered" for row in rows)
    list(maintain(copy, keep=timedelta(0)))
    assert difference(read_table(copy.root, "gold.enriched_driver_events"), rows) == []
    assert spark.read.format("delta").load(str(path)).count() == len(rows)


def test_a_maintained_lake_is_loaded_into_and_verified_as_before(
    copy: Lake, built: tuple[Path, Path], raw: Path
) -> None:
    list(maintain(copy, keep=timedelta(0)))
    shutil.copytree(built[0], raw, dirs_exist_ok=True)
    (raw / "events" / "new.jsonl").write_bytes(b'{"event_id":"new"}\n')
    (manifest, *_) = run_one_load(raw, copy.root)
    assert [version.source_file for version in manifest.versions if version.records] == ["events/new.jsonl"]
    result = run_process("python", "-m", "ingest", "verify", "--lake", str(copy.root), "--raw", str(raw))
    assert result.returncode == 0, result.stdout


def test_a_lake_with_an_unfinished_load_is_left_as_its_plan_needs_it(
    copy: Lake, raw: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (raw / "events" / "new.jsonl").write_bytes(b'{"event_id":"new"}\n')
    with monkeypatch.context() as patch:
        patch.delattr("ingest.bronze.append_parts")
        with pytest.raises(AttributeError):
            run_one_load(raw, copy.root)
    with pytest.raises(IngestError, match="a load is unfinished"):
        list(maintain(copy, keep=timedelta(0)))
    run_one_load(raw, copy.root)
    list(maintain(copy, keep=timedelta(0)))
    assert "new" in {row["event_id"] for row in read_table(copy.root, "bronze.driver_events")}


FILLED_BEFORE_UPKEEP = """
    small && cp -r "$BUILT/." "$LAKE_ROOT" && fill
    "$@"; echo "exit $?"
    empty
    "$@" || exit 9
    keep
"""


@needs_a_mount
def test_a_full_disk_is_said_in_a_sentence_and_changes_no_row(built: tuple[Path, Path], tmp_path: Path) -> None:
    deployment = Deployment(tmp_path)
    command = ("-m", "ingest", "maintain")
    result = on_a_small_disk(deployment, FILLED_BEFORE_UPKEEP, *command, free=20_000, BUILT=str(built[1]))
    assert "exit 2" in result.stdout
    for name in tables_of(Lake(built[1])):
        assert difference(read_table(deployment.lake, name), read_table(built[1], name)) == [], name


def test_the_commands_say_what_they_did(copy: Lake) -> None:
    run_id = max(read_table(copy.root, "audit.pipeline_runs"), key=lambda run: run["started_at"])["run_id"]
    done = run_process("python", "-m", "ingest", "maintain", LAKE_ROOT=str(copy.root))
    assert (done.returncode, "gold.driving_sessions" in done.stdout) == (0, True)
    past = run_process("python", "-m", "ingest", "as-of", "--run", run_id, LAKE_ROOT=str(copy.root))
    assert (past.returncode, "select * from gold.driving_sessions version as of" in past.stdout) == (0, True)
    unknown = run_process("python", "-m", "ingest", "as-of", "--run", "x'", LAKE_ROOT=str(copy.root))
    assert (unknown.returncode, "no build has the run id" in unknown.stderr) == (2, True)
