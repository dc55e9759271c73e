"""`python -m benchmarks.scale`: what the log of a table costs that gets a billion events a day, by simulation.

The commits of `DAYS` days (10, unless set) are written as loads would write them (72 a day, of 50 files each), with
statistics but without the files, which nobody opens here. Told is what those pay that open the table: Python, and
Spark cold and warm.
"""

from __future__ import annotations

import json
import os
import shutil
import time
from typing import TYPE_CHECKING

from deltalake import DeltaTable, Field, Schema
from deltalake.schema import PrimitiveType
from deltalake.transaction import AddAction

from benchmarks.contestants import PROJECT, WORK
from ingest.lake import Lake, open_table
from ingest.spark import start_spark

if TYPE_CHECKING:
    from collections.abc import Callable

TABLE = "bronze.driver_events"
LOADS_A_DAY, FILES_A_LOAD, ROWS_A_FILE, BYTES_A_FILE = 72, 50, 280_000, 18_000_000
COLUMNS = {"_load_id": "long", "_source_file": "string", "_source_line": "long", "_raw": "string"}


def main(days: int) -> None:
    lake = Lake(WORK / "scale")
    shutil.rmtree(lake.root, ignore_errors=True)
    lake.root.mkdir(parents=True)
    seconds = timed(lambda: write_log(lake, days))
    log = lake.table(TABLE) / "_delta_log"
    files = [path.stat().st_size for path in log.iterdir()]
    print(f"{days} days: {days * LOADS_A_DAY:,} commits, {days * LOADS_A_DAY * FILES_A_LOAD:,} files")
    print(f"written in {seconds:.0f} s; the log has {len(files):,} files and {sum(files) / 1e6:,.0f} MB")
    print(f"opened by Python in {timed(lambda: open_table(lake, TABLE)):.2f} s")
    spark = start_spark(PROJECT, lake)
    newest = days * LOADS_A_DAY
    query = f"select * from delta.`{lake.table(TABLE)}` where _load_id = {newest}"
    for what in ("cold", "warm"):
        print(f"planned by Spark, {what}: {timed(lambda: spark.sql(query).inputFiles()):.2f} s")
    print(f"files that a build of the newest load reads: {len(spark.sql(query).inputFiles())}")
    spark.stop()


def write_log(lake: Lake, days: int) -> None:
    schema = Schema([Field(name, PrimitiveType(kind)) for name, kind in COLUMNS.items()])
    interval = {"delta.checkpointInterval": "10"}
    table = DeltaTable.create(lake.table(TABLE), schema, configuration=interval)
    for load in range(1, days * LOADS_A_DAY + 1):
        actions = [added(load, number) for number in range(FILES_A_LOAD)]
        table.create_write_transaction(actions, "append", schema)


def added(load: int, number: int) -> AddAction:
    name = f"events/20240304/{load:08}.jsonl"
    low = {"_load_id": load, "_source_file": name, "_source_line": number * ROWS_A_FILE}
    high = low | {"_source_line": (number + 1) * ROWS_A_FILE}
    stats = {"numRecords": ROWS_A_FILE, "minValues": low, "maxValues": high, "nullCount": dict.fromkeys(low, 0)}
    path = f"part-{number:05}-{load:08}.zstd.parquet"
    return AddAction(path, BYTES_A_FILE, {}, int(time.time() * 1000), data_change=True, stats=json.dumps(stats))


def timed(do: Callable[[], object]) -> float:
    began = time.monotonic()
    do()
    return time.monotonic() - began


if __name__ == "__main__":
    main(int(os.environ.get("DAYS", "10")))
