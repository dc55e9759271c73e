"""`make cluster-demo`: the whole way on a cluster of this machine, held to what the embedded Spark makes of it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING, Any

import click
from deltalake import DeltaTable, QueryBuilder

from deploy.__main__ import ROLES
from deploy.cluster import PROJECT, Cluster
from deploy.services import Supervisor, make_folder
from ingest.lake import Lake, tables_of
from ingest.sample import write_sample

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FOLDER = PROJECT / "target" / "cluster-demo"
OF_A_RUN = ("audit.pipeline_runs", "audit.pipeline_steps", "audit.enrichment_audit", "audit.rejection_audit")
UNTESTED = ("--exclude-resource-type", "test")


def main(folder: Path) -> int:
    """Give the exit code: 0 if the tables are equal and all workers worked."""
    shutil.rmtree(folder, ignore_errors=True)
    raw = make_folder(folder) / "raw"
    written = write_sample(raw, batches=8, events_per_batch=2500, companies=300, seed=1, grow=False)
    click.echo(f"{written.events:,} events and {written.companies:,} companies in {written.files:,} files")
    cluster = Cluster(folder, Lake(folder / "lake"), "127.0.0.1", workers=2, cores=2, memory="4g")
    supervisor = Supervisor(folder)
    try:
        for service in cluster.services(ROLES):
            supervisor.start(service)
            click.echo(f"{service.name}: started, see {folder / service.name}.log")
        build(raw, cluster.lake, "cluster")
    finally:
        for name in reversed(supervisor.names()):
            supervisor.stop(name)
            click.echo(f"{name}: stopped")
    embedded = Lake(folder / "embedded")
    build(raw, embedded, "local")
    different = [
        table for table in tables_of(embedded) if table not in OF_A_RUN and not is_same(table, cluster.lake, embedded)
    ]
    tasks = tasks_by_executor(folder / "events")
    click.echo(f"tables that differ from the embedded target's, row by row: {', '.join(different) or 'none'}")
    click.echo("tasks by executor: " + ", ".join(f"{who}: {count:,}" for who, count in sorted(tasks.items())))
    return int(bool(different) or len(tasks) < cluster.workers)


def build(raw: Path, lake: Lake, target: str) -> None:
    """Load and build as a user does; ingest and the Thrift server each have an event log."""
    events = (
        f"--conf spark.eventLog.enabled=true --conf spark.eventLog.dir={(FOLDER / 'events').as_uri()} pyspark-shell"
    )
    places = {"RAW_ROOT": str(raw), "LAKE_ROOT": str(lake.root), "DBT_TARGET_PATH": f"{lake.root}.target"}
    command = [sys.executable, "-m", "ingest", "build", "--target", target, "--settle", "0", "--", *UNTESTED]
    environment = os.environ | places | ({"PYSPARK_SUBMIT_ARGS": events} if target == "cluster" else {})
    if subprocess.run(command, cwd=PROJECT, env=environment, check=False).returncode:
        sys.exit(1)


def is_same(table: str, one: Lake, other: Lake) -> bool:
    return Counter(rows(table, one)) == Counter(rows(table, other))


def rows(table: str, lake: Lake) -> Iterator[str]:
    """Give the rows of a table as text, without the time of their load."""
    delta = DeltaTable(lake.table(table))
    columns = ", ".join(f'"{field.name}"' for field in delta.schema().fields if not field.name.endswith("loaded_at"))
    for batch in QueryBuilder().register("t", delta).execute(f"select {columns} from t"):
        for row in zip(*(column.to_pylist() for column in batch.columns), strict=True):
            yield repr(row)


def tasks_by_executor(folder: Path) -> Counter[str]:
    tasks: Counter[str] = Counter()
    for log in folder.iterdir():
        name = ""
        for line in log.read_text(encoding="utf-8").splitlines():
            event: dict[str, Any] = json.loads(line)
            if event["Event"] == "SparkListenerApplicationStart":
                name = event["App Name"]
            elif event["Event"] == "SparkListenerTaskEnd":
                tasks[f"{name} on {event['Task Info']['Executor ID']}"] += 1
    return tasks


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main(FOLDER))
