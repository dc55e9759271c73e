"""Write a staged load to the bronze tables: Spark classifies, Delta keeps it exactly once."""

from __future__ import annotations

from typing import TYPE_CHECKING

from pyspark.sql import functions as F

from ingest.classifier import bronze_rows
from ingest.errors import IngestError
from ingest.lake import query
from ingest.manifest import SOURCE_FILES

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
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
    files = _files(spark, lake.plan, "_source_file string, _source_file_id string")
    rows = bronze_rows(spark, bundles, files, feed=feed, load_id=plan.load_id, loaded_at=plan.loaded_at)
    _append(rows, lake, f"bronze.{feed.name}", plan)


def defective_records(lake: Lake, feeds: Sequence[Feed], plan: Manifest) -> tuple[int, ...]:
    """Count each file's defective records as bronze has them, by another reader than the one that wrote them.

    Raises IngestError if bronze does not hold just the records that were staged, and as many bytes: nothing is
    committed then.
    """
    defective: dict[str, int] = {}
    for feed in feeds:
        found = _found_by_file(lake, feed, plan)
        found_bytes = 0
        for number, version in enumerate(plan.versions):
            if version.feed != feed.name:
                continue
            key = (version.source_file, version.source_file_id, plan.loaded_at)
            records, defective[version.source_file], text_bytes = found.pop(key, (0, 0, 0))
            if records != version.records:
                raise _not_arrived(lake, plan, feed, f"{records} of {version.records} records of {version.source_file}")
            found_bytes += text_bytes + records * len(f"{number}\t\t\t\n")
        staged_bytes = sum((lake.staging / path).stat().st_size for path in plan.bundles[feed.name])
        if found or found_bytes != staged_bytes:
            raise _not_arrived(lake, plan, feed, f"{found_bytes} of {staged_bytes} bytes, and {len(found)} other files")
    return tuple(defective.get(version.source_file, 0) for version in plan.versions)


def _found_by_file(lake: Lake, feed: Feed, plan: Manifest) -> dict[tuple[str, str, datetime], tuple[int, int, int]]:
    """Give records, defective ones among them, and the bytes of line numbers and texts as staging wrote them.

    By file, its id, and the time of the load: another load may have had this plan's number.
    """
    sql = f"""
        with texts as (
            select
                _source_file, _source_file_id, _loaded_at, _defect, length(cast(_source_line as string)) as digits,
                coalesce(octet_length(encode(_raw_bytes, 'hex')) / 2, octet_length(_raw)) as bytes,
                _defect = 'too_long' or strpos(_raw, chr(10)) > 0 as is_base64
            from t
            where _load_id = {plan.load_id}
        )

        select
            _source_file, _source_file_id, _loaded_at, count(*) as records, count(_defect) as defective,
            sum(digits + case when is_base64 then 1 + 4 * ((bytes + 2) / 3) else bytes end) as bytes
        from texts
        group by _source_file, _source_file_id, _loaded_at
    """
    rows = (tuple(row.values()) for row in query(lake, sql, t=f"bronze.{feed.name}"))
    return {row[:3]: row[3:] for row in rows}


def _not_arrived(lake: Lake, plan: Manifest, feed: Feed, found: str) -> IngestError:
    return IngestError(
        f"bronze.{feed.name} holds {found} that were staged for load {plan.load_id}: the load is not committed, and "
        f"its staged files are kept in {lake.staging}; restore the table to its version before the load and run again."
    )


def append_source_files(spark: SparkSession, lake: Lake, manifest: Manifest) -> None:
    """Append the load's rows to bronze.source_files, which marks the load as complete."""
    rows = _files(spark, lake.manifest(manifest.loaded_at), SOURCE_FILES_SCHEMA).drop("file_number")
    _append(rows.coalesce(1), lake, SOURCE_FILES, manifest)


def _files(spark: SparkSession, manifest: Path, columns: str) -> DataFrame:
    """Read the files of a manifest or plan, numbered from 0; Spark reads them itself, without Python on its workers."""
    content = spark.read.schema(f"files array<struct<{columns}>>").json(str(manifest), multiLine=True)
    return content.select(F.posexplode("files").alias("file_number", "file")).select("file_number", "file.*")


def _append(rows: DataFrame, lake: Lake, table: str, plan: Manifest) -> None:
    """Append in one commit that Delta makes at most once for a table and load."""
    (
        rows.write.format("delta")
        .mode("append")
        .option("txnAppId", table)
        .option("txnVersion", plan.load_id)
        .save(str(lake.table(table)))
    )
