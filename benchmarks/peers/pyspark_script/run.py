"""A script as a PySpark and Delta user would write it: append to bronze, merge what is new, merge the join."""

from __future__ import annotations

import sys
from pathlib import Path

from delta import configure_spark_with_delta_pip
from delta.tables import DeltaTable
from pyspark.sql import DataFrame, SparkSession, Window
from pyspark.sql import functions as F

EVENT = (
    "event_id string, driver_id string, event_timestamp timestamp, event_type string, company_id string,"
    " truck_id string, payload struct<odometer: bigint, fuel: double>"
)
KEY = ["driver_id", "event_timestamp"]


def main(raw: Path, lake: Path) -> None:
    builder = (
        SparkSession.builder.config("spark.sql.extensions", "io.delta.sql.DeltaSparkSessionExtension")
        .config("spark.sql.catalog.spark_catalog", "org.apache.spark.sql.delta.catalog.DeltaCatalog")
        .config("spark.driver.memory", "3g")
        .config("spark.sql.session.timeZone", "UTC")
        .config("spark.ui.enabled", "false")
    )
    spark = configure_spark_with_delta_pip(builder).getOrCreate()
    bronze, silver, gold = (str(lake / name) for name in ("bronze", "silver", "gold"))
    names = sorted(f"file://{path}" for path in raw.glob("events/**/*.jsonl"))
    if DeltaTable.isDeltaTable(spark, bronze):
        loaded = spark.read.format("delta").load(bronze).select("source_file").distinct().collect()
        names = sorted(set(names) - {row.source_file for row in loaded})
    if names:
        read = spark.read.schema(EVENT).json(names).withColumn("source_file", F.input_file_name())
        read.write.format("delta").mode("append").save(bronze)
        new = spark.read.format("delta").load(bronze).where(F.col("source_file").isin(names)).dropna(subset=KEY)
        first = Window.partitionBy(*KEY).orderBy("source_file")
        new = new.withColumn("number", F.row_number().over(first)).where("number = 1").drop("number")
        insert_new(spark, new, silver, update=False)
    companies = spark.read.json(str(raw / "companies.jsonl")).dropDuplicates(["company_id"])
    events = spark.read.format("delta").load(silver)
    joined = events.join(
        companies.select("company_id", "name", "sector", "size_indicator", "geography", "active"),
        "company_id",
        "left",
    ).withColumn("is_company_matched", F.col("name").isNotNull())
    insert_new(spark, joined, gold, update=True)
    spark.stop()


def insert_new(spark: SparkSession, rows: DataFrame, path: str, *, update: bool) -> None:
    """Merge by the key; what is there is updated only where its company differs."""
    if not DeltaTable.isDeltaTable(spark, path):
        rows.write.format("delta").save(path)
        return
    on = " and ".join(f"new.{key} = old.{key}" for key in KEY)
    merge = DeltaTable.forPath(spark, path).alias("old").merge(rows.alias("new"), on)
    if update:
        merge = merge.whenMatchedUpdateAll("not (new.name <=> old.name)")
    merge.whenNotMatchedInsertAll().execute()


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
