"""Write a staged load to the bronze tables: Spark classifies, Delta keeps it exactly once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from ingest.classifier import bronze_rows
from ingest.errors import IngestError
from ingest.manifest import SOURCE_FILES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from pyspark.sql import DataFrame, SparkSession

    from ingest.feeds import Feed
    from ingest.lake import Lake
    from ingest.manifest import Manifest

SOURCE_FILES_SCHEMA = """
    feed string, _source_file string, _source_file_id string, _load_id bigint, _loaded_at timestamp, status string,
    reason string, bytes bigint, lines bigint, blank_lines bigint, records bigint, defective_records bigint,
    first_line bigint, file_bytes bigint, content_id string, previous_file_id string, modified_at timestamp
"""


def append_records(spark: SparkSession, lake: Lake, feed: Feed, bundles: Sequence[Path], plan: Manifest) -> None:
    """Append the load's records of one feed to its bronze table, unless an earlier try has done so."""
    rows = bronze_rows(spark, bundles, plan.versions, feed=feed, load_id=plan.load_id, loaded_at=plan.loaded_at)
    _append(rows, lake, f"bronze.{feed.name}", plan)


def defective_records(spark: SparkSession, lake: Lake, feeds: Sequence[Feed], plan: Manifest) -> tuple[int, ...]:
    """Count each file's defective records as bronze has them.

    Raises IngestError if bronze does not hold just the records that were staged: nothing is committed then.
    """
    counts: dict[tuple[str, str], tuple[int, int]] = {}
    for feed in feeds:
        of_load = _read(spark, lake, f"bronze.{feed.name}").where(F.col("_load_id") == plan.load_id)
        for row in of_load.groupBy("_source_file").agg(F.count("*"), F.count("_defect")).collect():
            counts[feed.name, row[0]] = (row[1], row[2])
    for version in plan.versions:
        found = counts.get((version.feed, version.source_file), (0, 0))[0]
        if found != version.records:
            message = (
                f"bronze.{version.feed} has {found} records of load {plan.load_id} from {version.source_file}, but "
                f"{version.records} were staged: the load is not committed, and its staged files are kept in "
                f"{lake.staging}; report this, and restore the table to its version before the load."
            )
            raise IngestError(message)
    return tuple(counts.get((version.feed, version.source_file), (0, 0))[1] for version in plan.versions)


def append_source_files(spark: SparkSession, lake: Lake, manifest: Manifest) -> None:
    """Append the load's rows to bronze.source_files, which marks the load as complete."""
    rows = [
        (
            version.feed, version.source_file, version.source_file_id, version.load_id, version.loaded_at,
            version.status, version.reason, version.bytes, version.lines, version.blank_lines, version.records,
            defective, version.first_line, version.file_bytes, version.content_id, version.previous_file_id,
            version.modified_at,
        )
        for version, defective in zip(manifest.versions, manifest.defective_records, strict=True)
    ]  # fmt: skip
    _append(spark.createDataFrame(rows, SOURCE_FILES_SCHEMA).coalesce(1), lake, SOURCE_FILES, manifest)


def _append(rows: DataFrame, lake: Lake, table: str, plan: Manifest) -> None:
    """Append in one commit that Delta makes at most once for a table and load."""
    (
        rows.write.format("delta")
        .mode("append")
        .option("mergeSchema", "true")
        .option("txnAppId", table)
        .option("txnVersion", plan.load_id)
        .save(str(lake.table(table)))
    )


def _read(spark: SparkSession, lake: Lake, table: str) -> DataFrame:
    return spark.read.format("delta").load(str(lake.table(table)))
