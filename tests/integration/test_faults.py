"""Whatever breaks, and however often: after the next good run the lake is as if nothing had happened."""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
from typing import TYPE_CHECKING

import pytest
from deltalake import DeltaTable

from ingest.places import names_in
from ingest.sample import write_sample
from tests.integration.lakes import difference, loaded_at, read_table, records_of_bronze
from tests.integration.worker import BUILD_UNTESTED, PROJECT, Worker
from tests.reference import RawTree, run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

TORTURE = os.environ.get("TORTURE") == "1"
KILLS = int(os.environ.get("TORTURE_KILLS", "50"))
SEED = int(os.environ.get("TORTURE_SEED", "1"))
for_a_long_run = pytest.mark.skipif(not TORTURE, reason="takes minutes: make torture")

# Each finds what the one before it has left.
LOAD_STEPS = [
    "ingest.load:list_raw:after",
    "ingest.staging:write_part:before",
    "ingest.staging:write_part:after",
    "ingest.staging:write_part:after:2",
    "ingest.load:remove_leftovers:after",
    "ingest.load:write_seen:after",
    "ingest.load:write_manifest:before",
    "ingest.load:write_manifest:after",
    "ingest.bronze:_opened:after",
    "ingest.bronze:append_parts:after",
    "ingest.bronze:append_parts:after:2",
    "ingest.bronze:check_records:after",
    "ingest.load:write_manifest:after",
    "ingest.bronze:append_source_files:before",
    "ingest.bronze:append_source_files:after",
    "ingest.load:clear_staging:before",
]
MODELS = [
    "silver.company_history", "silver.driver_events", "silver.companies", "silver.rejected_companies",
    "silver.rejected_driver_events", "gold.driving_sessions", "gold.enriched_driver_events",
    "gold.daily_driver_activity", "gold.daily_company_activity", "audit.source_file_audit", "audit.unknown_keys",
    "audit.unmatched_companies",
]  # fmt: skip
BUILD_STEPS = [
    "sql:insert into audit.pipeline_runs:after",
    "sql:update audit.pipeline_runs set status = 'abandoned':after",
    *(f"sql:(insert into|merge into|table) {model}\\b:after" for model in MODELS),
    "sql:insert into audit.pipeline_steps:before",
    "sql:insert into audit.pipeline_steps:after",
    "sql:insert into audit.enrichment_audit:after",
    "sql:insert into audit.rejection_audit:before",
    "sql:update audit.pipeline_runs set ended_at:before",
]


class Deployment:
    """A raw root and a lake of its own, and the commands as processes."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.raw, self.lake = folder, folder / "raw", folder / "lake"
        self.tree = RawTree(self.raw)
        self.days = 0

    def next_day(self) -> None:
        write_sample(self.raw, batches=3, events_per_batch=60, companies=12, seed=5, grow=self.days > 0)
        self.days += 1

    def start(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start a Python of the environment in a process group of its own."""
        return subprocess.Popen(
            [sys.executable, *arguments],
            cwd=PROJECT,
            env=os.environ | self.environment | environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    @property
    def environment(self) -> dict[str, str]:
        return {
            "LAKE_ROOT": str(self.lake),
            "RAW_ROOT": str(self.raw),
            "DBT_TARGET_PATH": str(self.folder / "target"),
            "DBT_LOG_PATH": str(self.folder / "logs"),
        }

    def run(self, *arguments: str) -> int:
        return ends_with(self.start(*arguments))[0]

    def load(self) -> int:
        return self.run("-m", "ingest", "--settle", "0")

    def build(self) -> int:
        return self.run("-m", "ingest", "build", "--settle", "0", "--", *BUILD_UNTESTED[1:])

    def die_at(self, place: str, *command: str) -> None:
        """Run a command that is killed at this place; it must come there."""
        code = self.run("-m", "tests.integration.dying", place, *command)
        assert code == -signal.SIGKILL, f"{place}: the command ended with {code} before it came there"

    def check(self) -> None:
        """Verify the lake, and hold its tables to what the raw files should have become."""
        assert self.run("-m", "ingest", "verify", "--raw", self.environment["RAW_ROOT"]) == 0
        assert left_over(self.lake) == []
        for table, wanted in run([records_of_bronze(self.lake)]).items():
            if (self.lake / "silver").exists():
                assert difference(read_table(self.lake, table), wanted) == [], table

        runs = read_table(self.lake, "audit.pipeline_runs") if (self.lake / "audit" / "pipeline_runs").exists() else []
        assert {run["status"] for run in runs} <= {"succeeded", "failed", "abandoned"}


def left_over(lake: Path) -> list[str]:
    """Give the files in the folders of bronze that no version names."""
    there, named = {"_delta_log"}, {"_delta_log"}
    for folder in (lake / "bronze" / name for name in names_in(lake / "bronze")):
        there |= set(names_in(folder))
        named |= {uri.rpartition("/")[2] for uri in DeltaTable(str(folder)).file_uris()}
        log = folder / "_delta_log"
        commits = [(log / name).read_text(encoding="utf-8") for name in names_in(log) if name.endswith(".json")]
        named |= {name for name in there if any(name in commit for commit in commits)}
    return sorted(there - named)


def ends_with(process: subprocess.Popen[str]) -> tuple[int, str]:
    """Wait for the end of a command; give its exit code and what it said, which a failing test shows too."""
    output, _ = process.communicate()
    sys.stdout.write(output)
    return process.returncode, output


@pytest.fixture
def deployment(tmp_path: Path) -> Deployment:
    made = Deployment(tmp_path)
    made.next_day()
    return made


def some(steps: Sequence[str], share: Sequence[int]) -> Iterator[str]:
    """Give all steps in a long run, else some of them."""
    yield from steps if TORTURE else [steps[number] for number in share]


def test_a_load_and_a_build_killed_at_every_step_end_as_if_undisturbed(deployment: Deployment) -> None:
    worker = Worker(deployment.lake, deployment.raw)  # the runs that are not killed find Java warm
    for step in LOAD_STEPS:
        deployment.die_at(step, "ingest", "--settle", "0")
    assert worker.load() == 0
    undisturbed = [deployment.tree.load(load_id=1, loaded_at=loaded_at(deployment.lake, 1))]
    bronze = records_of_bronze(deployment.lake)
    for feed, records in undisturbed[0].items():
        assert sorted(map(repr, bronze[feed])) == sorted(map(repr, records))
    # What the first build has enriched before it dies gets the companies that have changed since.
    deployment.die_at("sql:table gold.enriched_driver_events:after", "dbt", *BUILD_UNTESTED)
    days = (2, 3) if TORTURE else (2,)
    for load_id in days:
        deployment.next_day()
        assert worker.load() == 0
        undisturbed.append(deployment.tree.load(load_id=load_id, loaded_at=loaded_at(deployment.lake, load_id)))
        for step in some(BUILD_STEPS, [-5]) if load_id == days[-1] else ():
            deployment.die_at(step, "dbt", *BUILD_UNTESTED)
        # A worker keeps the lake's lock for builds, so only the last build is its.
        assert (worker.dbt(*BUILD_UNTESTED) if load_id == days[-1] else deployment.build()) == 0
        deployment.check()
    for table, wanted in run(undisturbed).items():
        assert difference(read_table(deployment.lake, table), wanted) == [], table


@for_a_long_run
def test_kills_at_random_moments_lose_and_double_nothing(deployment: Deployment) -> None:
    choose = random.Random(SEED)
    load = ("-m", "ingest", "--settle", "0")
    build = ("-m", "ingest", "build", "--settle", "0", "--", *BUILD_UNTESTED[1:])
    seconds = {command: undisturbed_seconds(deployment, command) for command in (load, build)}
    kills = 0
    for number in range(KILLS):
        command = (load, load, build)[number % 3]
        if command == load:
            deployment.next_day()
        process = deployment.start(*command)
        try:
            process.communicate(timeout=choose.uniform(0.2, seconds[command]))
        except subprocess.TimeoutExpired:
            # Now and then Java is left to end by itself, as it is when Python alone is killed.
            (os.kill if choose.random() < 0.3 else os.killpg)(process.pid, signal.SIGKILL)
            process.communicate()
            kills += 1
    sys.stdout.write(f"{kills} of {KILLS} processes were killed before they ended\n")
    assert deployment.build() == 0
    deployment.check()


def undisturbed_seconds(deployment: Deployment, command: Sequence[str]) -> float:
    began = time.monotonic()
    assert deployment.run(*command) == 0
    return time.monotonic() - began


SMALL_DISK = """
    small() { mount -t tmpfs -o size=12m,mode=700 tmpfs "$LAKE_ROOT"; }
    fill() { head -c $(($(df --output=avail -B1 "$LAKE_ROOT" | tail -1) - FREE)) /dev/zero > "$LAKE_ROOT/lost+found"; }
    empty() { rm "$LAKE_ROOT/lost+found"; }
    keep() { cp -r "$LAKE_ROOT/." "$KEPT"; }
"""
FULL_THEN_EMPTY = """
    small && fill
    "$@"; echo "exit $?"
    empty
    "$@" || exit 9
    keep
"""
# What is free decides at which step the disk is full.
FULL_LOADS = [("load", free) for free in (0, 12_000, 24_000, 36_000, 44_000, 52_000, 60_000, 68_000, 76_000)]
FULL_BUILDS = [("build", 700_000), ("build", 4_000_000)]
needs_a_mount = pytest.mark.skipif(shutil.which("unshare") is None, reason="a small disk needs a mount of one's own")


def on_a_small_disk(
    deployment: Deployment, script: str, *command: str, free: int, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a script, which may name the command, where the lake has a disk of 12 MB that can be filled up."""
    disk = deployment.folder / "disk"
    disk.mkdir()
    own_mounts = [str(shutil.which("unshare")), "--user", "--map-root-user", "--mount"]
    places = {"LAKE_ROOT": str(disk), "KEPT": str(deployment.lake), "FREE": str(free)}
    result = subprocess.run(
        [*own_mounts, "bash", "-c", SMALL_DISK + script, "bash", sys.executable, *command],
        cwd=PROJECT,
        env=os.environ | deployment.environment | places | environment,
        capture_output=True,
        text=True,
        check=False,
    )
    sys.stdout.write(result.stdout)
    assert result.returncode == 0, result.stderr
    assert "Traceback" not in result.stdout + result.stderr
    assert "No space left on device" in result.stdout + result.stderr
    return result


@needs_a_mount
@pytest.mark.parametrize(("command", "free"), [*FULL_LOADS, *(FULL_BUILDS if TORTURE else ())])
def test_a_full_disk_is_said_in_a_sentence_and_costs_nothing(deployment: Deployment, command: str, free: int) -> None:
    options = ("--settle", "0", *(("--", *BUILD_UNTESTED[1:]) if command == "build" else ()))
    result = on_a_small_disk(deployment, FULL_THEN_EMPTY, "-m", "ingest", command, *options, free=free)
    assert ("exit 2" if command == "load" else "exit 1") in result.stdout
    deployment.check()
