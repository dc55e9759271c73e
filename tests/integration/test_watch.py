"""A process that loads and builds as files arrive, whatever breaks under it."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import time
from contextlib import suppress
from datetime import UTC, datetime
from subprocess import TimeoutExpired
from typing import TYPE_CHECKING

import pytest
from deltalake import DeltaTable

from ingest.lake import Lake, has_table
from tests.integration.lakes import read_table
from tests.integration.test_faults import (
    SEED,
    Deployment,
    ends_with,
    for_a_long_run,
    needs_a_mount,
    on_a_small_disk,
)
from tests.integration.worker import BUILD_UNTESTED

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable, Iterator
    from pathlib import Path

KILLS = 8
PATIENCE_SECONDS = 240
WATCH = ("-m", "ingest", "watch", "--settle", "0", "--every", "0.5s")
WATCH_AND_BUILD = (*WATCH, "--build", "--", *BUILD_UNTESTED[1:])
# Upkeep after every load, not after fifty.
AND_KEEP_SMALL = "import ingest.cli, ingest.watch; ingest.watch.LOADS_PER_UPKEEP = 1; ingest.cli.main()"


# Told to end while it writes load 2.
TOLD_WITHIN_A_CYCLE = """
import os, signal
from ingest import bronze, cli
append = bronze.append_parts
def told(lake, feed, plan):
    if plan.load_id == 2:
        os.kill(os.getpid(), signal.SIGINT)
    append(lake, feed, plan)
bronze.append_parts = told
cli.main()
"""


class Watched(Deployment):
    """A deployment into which files come while a process watches it."""

    process: subprocess.Popen[str]

    def watch_and_build(self) -> None:
        self.process = self.start("-c", AND_KEEP_SMALL, *WATCH_AND_BUILD[2:])

    def wait_until(self, is_so: Callable[[], bool]) -> None:
        give_up_at = time.monotonic() + PATIENCE_SECONDS
        while not is_so():
            assert self.process.poll() is None, self.process.communicate()[0]
            assert time.monotonic() < give_up_at
            time.sleep(0.1)

    def is_loaded(self) -> bool:
        """Tell whether all files that are there, each of which came whole, have been loaded."""
        if not has_table(Lake(self.lake), "bronze.source_files"):
            return False
        versions = sorted(read_table(self.lake, "bronze.source_files"), key=lambda version: version["_load_id"])
        loaded = {version["_source_file"]: version["file_bytes"] for version in versions}
        files = list(self.raw.rglob("*.jsonl"))
        return all(loaded.get(str(path.relative_to(self.raw))) == path.stat().st_size for path in files)

    def is_built(self) -> bool:
        """Tell whether a good build has seen all files that are there."""
        if not self.is_loaded() or not has_table(Lake(self.lake), "audit.pipeline_runs"):
            return False
        newest = max(version["_load_id"] for version in read_table(self.lake, "bronze.source_files"))
        runs = read_table(self.lake, "audit.pipeline_runs")
        return any(run["status"] == "succeeded" and run["up_to_load_id"] == newest for run in runs)

    def stop(self) -> str:
        self.process.terminate()
        code, output = ends_with(self.process)
        assert code == 0
        assert "Traceback" not in output
        return output


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[Watched]:
    made = Watched(tmp_path)
    made.next_day()
    yield made
    if made.process.poll() is None:
        os.killpg(made.process.pid, signal.SIGKILL)


def test_files_are_built_as_they_come_and_a_lost_metastore_costs_a_pause(deployment: Watched) -> None:
    deployment.watch_and_build()
    deployment.wait_until(deployment.is_built)
    # What another process loads is built too.
    (deployment.folder / "others" / "events").mkdir(parents=True)
    (deployment.folder / "others" / "events" / "one.jsonl").write_bytes(b"{}\n")
    others = ("-m", "ingest", "--settle", "0", "--raw", str(deployment.folder / "others"))
    deployment.wait_until(lambda: deployment.run(*others) == 0)
    deployment.wait_until(deployment.is_built)
    deployment.next_day()
    (deployment.raw / "events" / "broken.jsonl.gz").write_bytes(b"\x1f\x8b\x08 no gzip")
    deployment.wait_until(deployment.is_built)
    shutil.rmtree(deployment.lake / "metastore")
    lost_at = datetime.now(UTC)
    deployment.next_day()
    deployment.wait_until(deployment.is_built)
    output = deployment.stop()
    assert "events/broken.jsonl.gz: failed, corrupt gzip" in output
    assert "(1 in a row)" in output
    assert "; upkeep of " in output
    commits = DeltaTable(deployment.lake / "bronze" / "source_files").history()
    assert "OPTIMIZE" in {commit["operation"] for commit in commits}
    health = json.loads((deployment.lake / "watch.json").read_text())
    assert datetime.fromisoformat(health["last_good_cycle_at"]) > lost_at
    deployment.check()


def test_it_loads_into_a_new_lake_and_ends_when_its_cycle_is_done(deployment: Watched) -> None:
    deployment.process = deployment.start("-c", TOLD_WITHIN_A_CYCLE, *WATCH[2:])
    deployment.wait_until(deployment.is_loaded)
    deployment.next_day()
    code, output = ends_with(deployment.process)
    assert (code, "Traceback" in output) == (0, False)
    assert not (deployment.lake / "staging").exists()
    assert {version["_load_id"] for version in read_table(deployment.lake, "bronze.source_files")} == {1, 2}
    assert len(list((deployment.lake / "manifests").iterdir())) == 2
    deployment.check()


FILLED_WHILE_WATCHED = """
    heard() { until [ "$(grep -c "$1" "$LOG")" -ge "$2" ]; do kill -0 $! || exit 8; sleep 0.1; done; }
    small
    "$@" > "$LOG" 2>&1 &
    heard "; build" 1
    fill
    mv "$LATER"/* "$RAW_ROOT/events"
    heard "in a row" 1
    empty
    heard "; build" 2
    kill $!
    wait $! || exit 9
    cat "$LOG"
    keep
"""


@for_a_long_run
@needs_a_mount
def test_a_disk_that_fills_up_is_waited_for(tmp_path: Path) -> None:
    deployment = Deployment(tmp_path)
    deployment.next_day()
    there = set((deployment.raw / "events").iterdir())
    deployment.next_day()
    later = tmp_path / "later"
    later.mkdir()
    for batch in set((deployment.raw / "events").iterdir()) - there:
        batch.rename(later / batch.name)
    on_a_small_disk(
        deployment, FILLED_WHILE_WATCHED, *WATCH_AND_BUILD,
        free=100_000, LATER=str(later), LOG=str(tmp_path / "log"),
    )  # fmt: skip
    deployment.check()


@for_a_long_run
def test_kills_lose_and_double_nothing(deployment: Watched) -> None:
    choose = random.Random(SEED)
    for _ in range(KILLS):
        deployment.watch_and_build()
        deployment.wait_until(deployment.is_built)
        deployment.next_day()
        with suppress(TimeoutExpired):
            deployment.process.communicate(timeout=choose.uniform(0.5, 20))
        os.killpg(deployment.process.pid, signal.SIGKILL)
        ends_with(deployment.process)
    deployment.watch_and_build()
    deployment.wait_until(deployment.is_built)
    deployment.stop()
    deployment.check()
