"""Bronze as Spark 3.5 sees it: the tables that a load makes, and lakes that earlier versions began with Spark."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

from deltalake import DeltaTable

from tests.integration.lakes import difference, read_table
from tests.integration.worker import run_process

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

EVENT = b'{"event_id":"%b","payload":{"km":1.50},"x":1}\n'
NOT_UTF8 = b'{"event_id":"\xff"}\n'
OWN_TYPES = {
    "_raw": "string",
    "_raw_bytes": "binary",
    "_defect": "string",
    "_unknown_keys": "array<string>",
    "_source_file": "string",
    "_source_line": "bigint",
    "_source_file_id": "string",
    "_load_id": "bigint",
    "_loaded_at": "timestamp",
}
TABLES = ("driver_events", "companies", "source_files")


def two_files(raw: Path) -> None:
    (raw / "events" / "grows.jsonl").write_bytes(EVENT % b"1" + NOT_UTF8)
    (raw / "companies.jsonl").write_bytes(b'{"company_id":"c"}\n')


def more(raw: Path) -> None:
    with (raw / "events" / "grows.jsonl").open("ab") as file:
        file.write(EVENT % b"2")


def collected(rows: DataFrame) -> list[dict[str, Any]]:
    """Give the rows as other readers do."""
    values = [row.asDict() for row in rows.collect()]
    return [row | {"_raw_bytes": row["_raw_bytes"] and bytes(row["_raw_bytes"])} for row in values]


def test_spark_reads_what_a_load_has_written_skips_by_load_and_appends(
    raw: Path, lake: Path, load: Callable[..., Any], spark: SparkSession
) -> None:
    two_files(raw)
    load()
    more(raw)
    load()
    path = str(lake / "bronze" / "driver_events")
    rows = spark.read.format("delta").load(path)
    types = dict(rows.dtypes)
    assert {name: types[name] for name in OWN_TYPES} == OWN_TYPES
    assert difference(collected(rows), read_table(lake, "bronze.driver_events")) == []
    read = {load_id: rows.where(f"_load_id = {load_id}").inputFiles() for load_id in (1, 2)}
    assert [len(files) for files in read.values()] == [1, 1]
    assert read[1] != read[2]
    assert rows.where("_source_file = 'none'").inputFiles() == []
    rows.where("_load_id = 2").write.format("delta").mode("append").option("txnAppId", "bronze.driver_events").option(
        "txnVersion", 3
    ).save(path)
    assert DeltaTable(path).transaction_version("bronze.driver_events") == 3
    assert DeltaTable(path).count() == 4


def test_a_lake_whose_bronze_spark_has_written_goes_on(
    raw: Path, lake: Path, load: Callable[..., Any], spark: SparkSession, tmp_path: Path
) -> None:
    two_files(raw)
    load()
    old = lake.rename(tmp_path / "made by Python")
    for table in TABLES:
        rows = spark.read.format("delta").load(str(old / "bronze" / table))
        once = {"txnAppId": f"bronze.{table}", "txnVersion": "1"}
        rows.write.format("delta").options(**once).save(str(lake / "bronze" / table))
    shutil.copytree(old / "manifests", lake / "manifests")
    (manifest,) = (lake / "manifests").iterdir()
    content = json.loads(manifest.read_text(encoding="utf-8"))
    for file in content["files"]:
        ((_, file["records_id"]),) = file.pop("record_hashes")
        file["cr_bytes"] = 0
    manifest.write_text(json.dumps(content), encoding="utf-8")
    (lake / "ingest.lock").touch()
    more(raw)
    (loaded,) = load()
    assert {version.source_file: version.status for version in loaded.versions} == {"events/grows.jsonl": "appended"}
    assert sorted(row["event_id"] or "" for row in read_table(lake, "bronze.driver_events")) == ["", "1", "2"]
    rows = spark.read.format("delta").load(str(lake / "bronze" / "driver_events"))
    assert difference(collected(rows), read_table(lake, "bronze.driver_events")) == []
    result = run_process("python", "-m", "ingest", "verify", "--lake", str(lake), "--raw", str(raw))
    assert result.returncode == 0, result.stdout
