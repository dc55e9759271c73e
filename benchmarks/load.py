"""`python -m benchmarks.load`: load a day of new events in a warm process, by turns with Spark's own JSON reader.

Ours is a whole load into a new lake; the other is `spark.read.json` with a schema into a new Delta table, which has
fewer records. `EVENTS` of them (a million by default), in twenty files.
"""

from __future__ import annotations

import os
import shutil
import sys
import time
from statistics import median
from typing import TYPE_CHECKING

from deltalake import DeltaTable
from pyspark.sql import SparkSession

from benchmarks.contestants import WORK
from benchmarks.data import add_day
from ingest.cli import main as run_ingest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ROUNDS = 5
SCHEMA = (
    "event_id string, driver_id string, event_timestamp timestamp, event_type string, company_id string,"
    " truck_id string, payload struct<odometer: bigint, fuel: double>"
)


def main(events: int) -> None:
    folder = WORK / "ingest"
    shutil.rmtree(folder, ignore_errors=True)
    add_day(folder / "raw", WORK / "data" / str(events), 0, events)
    contestants = {"ours": load, "read.json": read}
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for number in range(ROUNDS + 1):
        for name, way in contestants.items():
            taken, records = timed(way, folder / "raw", folder / f"{name} {number}")
            print(f"{name}: {taken:.1f} s, {records:,} records{'' if number else ' (cold)'}", flush=True)
            seconds[name].append(taken)
    ours, other = (median(values[1:]) for values in seconds.values())
    print(f"medians, warm: {ours:.1f} s and {other:.1f} s, {ours / other:.1f} times")


def timed(way: Callable[[Path, Path], Path], raw: Path, lake: Path) -> tuple[float, int]:
    lake.mkdir(mode=0o700)
    began = time.monotonic()
    table = way(raw, lake)
    return time.monotonic() - began, DeltaTable(table).count()


def load(raw: Path, lake: Path) -> Path:
    sys.argv = ["ingest", "--settle", "0", "--raw", str(raw), "--lake", str(lake)]
    try:
        run_ingest()
    except SystemExit as end:
        if end.code:
            raise
    return lake / "bronze" / "driver_events"


def read(raw: Path, lake: Path) -> Path:
    files = [str(path) for path in raw.rglob("*.jsonl")]
    SparkSession.builder.getOrCreate().read.schema(SCHEMA).json(files).write.format("delta").save(str(lake))
    return lake


if __name__ == "__main__":
    main(int(os.environ.get("EVENTS", "1000000")))
