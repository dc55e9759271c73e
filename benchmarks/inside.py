"""`python -m benchmarks.inside`: build what is new, and say what dbt itself costs, and which files each model read.

The files are Spark's own "number of files read" of a model's largest scan, from its event log; statements are what
dbt has asked, and what Spark has executed. `RAW_ROOT` and `LAKE_ROOT` name the raw files and the lake. One thread of
dbt, so that a scan belongs to the model that is being built.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deltalake import DeltaTable

from benchmarks.contestants import PROJECT, UNTESTED

if TYPE_CHECKING:
    from collections.abc import Iterator

Event = dict[str, Any]
EXECUTION = "org.apache.spark.sql.execution.ui.SparkListener"
STARTS = (f"{EXECUTION}SQLExecutionStart", f"{EXECUTION}SQLAdaptiveExecutionUpdate")


def main(lake: Path) -> None:
    with tempfile.TemporaryDirectory() as folder:
        build(Path(folder))
        log = read_log(Path(folder) / "dbt.log")
        (events,) = (read_log(path) for path in Path(folder).iterdir() if path.name.startswith("local-"))
    models = list(models_built(log))
    read: dict[tuple[str, str], int] = {}
    for time, table, files in scans(events, lake):
        for name, begun, ended in models:
            if begun <= time <= ended:
                read[name, table] = max(files, read.get((name, table), 0))
    first, last = logged_at(log[0]), logged_at(log[-1])
    seconds = last - first
    asked = union([span for span in (*statements(log), *executions(events)) if span[1] > first])
    print(f"dbt: {seconds:.1f} s, of which {asked:.1f} s in statements: {seconds / asked - 1:.0%} over")
    print("| model | table | files read | files after |\n|---|---|---:|---:|")
    for (name, table), files in read.items():
        print(f"| {name} | {table} | {files} | {len(DeltaTable(lake / table.replace('.', '/')).file_uris())} |")


def build(folder: Path) -> None:
    """Load and build, with Spark's event log and dbt's log in this folder."""
    settings = {"spark.eventLog.enabled": "true", "spark.eventLog.dir": folder.as_uri()}
    options = " ".join(f"--conf {key}={value}" for key, value in settings.items())
    logs = {"DBT_LOG_PATH": str(folder), "DBT_LOG_FORMAT_FILE": "json", "DBT_LOG_LEVEL_FILE": "debug"}
    subprocess.run(
        [sys.executable, "-m", "ingest", "build", "--settle", "0", "--", *UNTESTED, "--threads", "1"],
        cwd=PROJECT,
        env=os.environ | logs | {"PYSPARK_SUBMIT_ARGS": f"{options} pyspark-shell"},
        stdout=sys.stderr,
        check=True,
    )


def read_log(path: Path) -> list[Event]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def models_built(log: list[Event]) -> Iterator[tuple[str, float, float]]:
    """Give each model with its start and end, in seconds since 1970."""
    begun: dict[str, float] = {}
    for event in log:
        name = event["data"].get("node_info", {}).get("node_name")
        at = logged_at(event)
        if event["info"]["name"] == "NodeStart":
            begun[name] = at
        elif event["info"]["name"] == "NodeFinished":
            yield name, begun[name], at


def statements(log: list[Event]) -> Iterator[tuple[float, float]]:
    """Give start and end of each statement that dbt waited for."""
    for event in log:
        if event["info"]["name"] == "SQLQueryStatus":
            at = logged_at(event)
            yield at - event["data"]["elapsed"], at


def executions(log: list[Event]) -> Iterator[tuple[float, float]]:
    """Give start and end of each of Spark's executions, some of which are done when their rows are fetched."""
    begun: dict[int, float] = {}
    for event in log:
        if event["Event"] == f"{EXECUTION}SQLExecutionStart":
            begun[event["executionId"]] = event["time"] / 1000
        elif event["Event"] == f"{EXECUTION}SQLExecutionEnd":
            yield begun[event["executionId"]], event["time"] / 1000


def union(spans: list[tuple[float, float]]) -> float:
    """Give the seconds that lie in at least one span."""
    seconds = done = 0.0
    for begun, ended in sorted(spans):
        seconds += max(0.0, ended - max(begun, done))
        done = max(done, ended)
    return seconds


def logged_at(event: Event) -> float:
    return datetime.fromisoformat(event["info"]["ts"]).replace(tzinfo=UTC).timestamp()


def scans(log: list[Event], lake: Path) -> Iterator[tuple[float, str, int]]:
    """Give the start of each statement that scanned a table of the lake, the table, and the files that it read."""
    times: dict[int, float] = {}
    tables: dict[int, tuple[int, str]] = {}
    files: dict[int, int] = {}
    for event in log:
        if event["Event"] in STARTS:
            times.setdefault(event["executionId"], event.get("time", 0) / 1000)
            for metric, table in scanned(event["sparkPlanInfo"], lake):
                tables[metric] = event["executionId"], table
        elif event["Event"] == f"{EXECUTION}DriverAccumUpdates":
            files |= dict(event["accumUpdates"])
    for metric, (execution, table) in tables.items():
        if metric in files:
            yield times[execution], table, files[metric]


def scanned(plan: dict[str, Any], lake: Path) -> Iterator[tuple[int, str]]:
    """Give the number of the metric "number of files read" of each scan in a plan, and the table."""
    location = plan["metadata"].get("Location", "")
    if str(lake) in location:
        table = ".".join(location.partition(str(lake))[2].rstrip("]").split("/")[1:3])
        yield from (
            (metric["accumulatorId"], table) for metric in plan["metrics"] if metric["name"] == "number of files read"
        )
    for child in plan["children"]:
        yield from scanned(child, lake)


if __name__ == "__main__":
    main(Path(os.environ["LAKE_ROOT"]).resolve())
