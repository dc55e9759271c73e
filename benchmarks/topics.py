"""`python -m benchmarks.topics`: load the same records from a topic of Kafka and from files, by turns, three times.

`EVENTS` of them (a million by default), in three partitions of a broker of this machine, and in twenty files.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from statistics import median
from typing import TYPE_CHECKING

from deltalake import DeltaTable

from benchmarks.contestants import PROJECT, WORK
from benchmarks.data import write_day
from deploy.broker import broker, client_properties, make_topic, produce
from deploy.services import Supervisor, make_folder

if TYPE_CHECKING:
    from pathlib import Path

TOPIC, PARTITIONS, ROUNDS = "driver-events", 3, 3


def main(events: int) -> None:
    folder = WORK / "topics"
    shutil.rmtree(folder, ignore_errors=True)
    supervisor = Supervisor(make_folder(folder))
    (folder / "none").mkdir()
    write_day(folder / "raw", 0, events)
    files = sorted((folder / "raw" / "events").rglob("*.jsonl"))
    supervisor.start([broker(folder)])
    try:
        properties = client_properties(folder)
        began = time.monotonic()
        make_topic(properties, TOPIC, PARTITIONS)
        for file in files:
            produce(properties, TOPIC, file.read_bytes().splitlines())
        print(f"{events:,} messages sent in {time.monotonic() - began:.1f} s")
        places = {
            "files": {"RAW_ROOT": str(folder / "raw")},
            "topic": {"RAW_ROOT": str(folder / "none"), "KAFKA_CONFIG": str(properties)},
        }
        seconds: dict[str, list[float]] = {name: [] for name in places}
        for _ in range(ROUNDS):
            for name, environment in places.items():
                seconds[name].append(load(folder / "lake", environment))
                records = DeltaTable(folder / "lake" / "bronze" / "driver_events").count()
                print(f"{name}: {seconds[name][-1]:.1f} s, {records:,} records", flush=True)
    finally:
        supervisor.stop()
    for name, all_seconds in seconds.items():
        print(f"{name}: median {median(all_seconds):.1f} s, {events / median(all_seconds):,.0f} records a second")


def load(lake: Path, environment: dict[str, str]) -> float:
    shutil.rmtree(lake, ignore_errors=True)
    began = time.monotonic()
    command = [sys.executable, "-m", "ingest", "--settle", "0"]
    places = {"LAKE_ROOT": str(lake)} | environment
    subprocess.run(command, cwd=PROJECT, env=os.environ | places, check=True, stdout=subprocess.DEVNULL)
    return time.monotonic() - began


if __name__ == "__main__":
    main(int(os.environ.get("EVENTS", "1000000")))
