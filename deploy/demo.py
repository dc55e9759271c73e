"""`make cluster-demo`: the whole way on a cluster of this machine, held to what the embedded Spark makes of it.

`make cluster-demo STORE=s3`: the same with raw files and lake in an S3 store.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter
from typing import TYPE_CHECKING

import click

from deploy.cluster import Cluster
from deploy.services import Supervisor, make_folder
from deploy.store import ENVIRONMENT, at, send_folder, store
from ingest.errors import IngestError
from ingest.lake import Lake, column_types, query, tables_of
from ingest.provision import PROJECT
from ingest.sample import write_sample

if TYPE_CHECKING:
    from pathlib import Path

FOLDER = PROJECT / "target" / "cluster-demo"
OF_A_RUN = ("audit.pipeline_runs", "audit.pipeline_steps", "audit.enrichment_audit", "audit.rejection_audit")
UNTESTED = ("--exclude-resource-type", "test")


def main(folder: Path, *, in_store: bool) -> int:
    """Give the exit code: 0 if the tables are equal and each worker did some of the Thrift server's work.

    The cluster's raw files and lake are on the disk, or else in an S3 store of this machine.
    """
    supervisor = Supervisor(make_folder(folder))
    supervisor.stop()
    shutil.rmtree(folder)
    raw = make_folder(folder) / "raw"
    written = write_sample(raw, batches=8, events_per_batch=2500, companies=300, seed=1, grow=False)
    click.echo(f"{written.events:,} events and {written.companies:,} companies in {written.files:,} files")
    try:
        if in_store:
            os.environ |= ENVIRONMENT | {"XDG_STATE_HOME": str(folder / "home")}
            supervisor.start([store()], click.echo)
            send_folder(raw, at("raw"))
        cluster = Cluster(folder, Lake(at("lake") if in_store else folder / "lake"), has_event_log=True)
        supervisor.start(cluster.services(), click.echo)
        built = build(at("raw") if in_store else raw, cluster.lake, "cluster")
        found = all_rows(cluster.lake) if built else {}
    except IngestError as error:
        click.echo(f"error: {error}", err=True)
        built = False
    finally:
        supervisor.stop(click.echo)
    embedded = Lake(folder / "embedded")
    if not built or not build(raw, embedded, "local"):
        return 1
    wanted = all_rows(embedded)
    different = [table for table in wanted | found if found.get(table) != wanted.get(table)]
    tasks = tasks_by_executor(folder / "events")
    click.echo(
        f"of {len(wanted)} tables differ from the embedded target's, row by row: {', '.join(different) or 'none'}"
    )
    click.echo("tasks of the Thrift server: " + ", ".join(f"executor {id_}: {tasks[id_]:,}" for id_ in sorted(tasks)))
    return int(bool(different) or len(tasks) < cluster.workers)


def build(raw: Path, lake: Lake, target: str) -> bool:
    """Load and build as a user does; tell whether it succeeded."""
    click.echo(f"--- python -m ingest build --target {target}")
    places = {"RAW_ROOT": str(raw), "LAKE_ROOT": str(lake.root), "DBT_TARGET_PATH": str(FOLDER / f"target-{target}")}
    command = [sys.executable, "-m", "ingest", "build", "--target", target, "--settle", "0", "--", *UNTESTED]
    return subprocess.run(command, cwd=PROJECT, env=os.environ | places, check=False).returncode == 0


def all_rows(lake: Lake) -> dict[str, Counter[str]]:
    """Count the rows of each table that a rerun makes the same."""
    return {table: rows(table, lake) for table in tables_of(lake) if table not in OF_A_RUN}


def rows(table: str, lake: Lake) -> Counter[str]:
    """Count the rows of a table, each as text, without the times of their load and of their file, a store's own."""
    names = [name for name in column_types(lake, table) if not name.endswith(("loaded_at", "modified_at"))]
    columns = ", ".join(f'"{name}"' for name in names)
    return Counter(map(repr, query(lake, f"select {columns} from t", t=table)))


def tasks_by_executor(folder: Path) -> Counter[str]:
    """Count the tasks that each executor has done, by the event logs in a folder."""
    ended = (
        json.loads(line)
        for log in folder.iterdir()
        for line in log.read_text(encoding="utf-8").splitlines()
        if line.startswith('{"Event":"SparkListenerTaskEnd"') and line.endswith("}")
    )
    return Counter(event["Task Info"]["Executor ID"] for event in ended)


if __name__ == "__main__":
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    sys.exit(main(FOLDER, in_store="s3" in sys.argv[1:]))
