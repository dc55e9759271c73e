"""The same models on a Spark cluster: master, two workers, Thrift server and PostgreSQL, all on this machine."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import psutil
import pytest
from sqlalchemy import create_engine, text

from deploy.cluster import Cluster, can_reach, postgres, postgres_user
from deploy.demo import tasks_by_executor
from deploy.services import Supervisor
from ingest.lake import Lake
from ingest.provision import SPARK_HOME
from tests.integration.lakes import read_table
from tests.integration.test_faults import Deployment, ends_with, for_a_long_run, left_over
from tests.integration.worker import BUILD_UNTESTED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

DBT = ("-m", "dbt.cli.main", *BUILD_UNTESTED)
COUNT = "select count(*) from enriched_driver_events"
PATIENCE_SECONDS = 300


class ClusterDeployment(Deployment):
    """A deployment whose commands work on a cluster of its own."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.cluster = Cluster(folder, Lake(self.lake), memory="2g", has_event_log=True)
        self.supervisor = Supervisor(folder)

    @property
    def environment(self) -> dict[str, str]:
        return super().environment | {"DBT_TARGET": "cluster", "SPARK_DRIVER_MEMORY": "1g"}

    def start_services(self) -> None:
        self.supervisor.start(self.cluster.services())

    def kill(self, name: str) -> None:
        """Kill a service and what it has started, as a power cut of its host would."""
        process = self.supervisor.process(name)
        assert process is not None
        tree = [process, *process.children(recursive=True)]
        for one in tree:
            one.kill()
        psutil.wait_procs(tree)

    def running(self) -> list[str]:
        return [run["run_id"] for run in read_table(self.lake, "audit.pipeline_runs") if run["status"] == "running"]

    def rebuild(self) -> None:
        """Load and build again, and take over what is left open."""
        assert self.load() == 0
        for run_id in self.running():
            self.run(*DBT, "--vars", f"take_over: {run_id}")
        assert self.run(*DBT) == 0

    def start_build_up_to(self, table: str) -> subprocess.Popen[str]:
        """Load a day, and start a build that has got as far as a commit of this table."""
        self.next_day()
        assert self.load() == 0
        before = self.commits(table)
        process = self.start(*DBT)
        wait_until(lambda: self.commits(table) > before, process)
        return process

    def commits(self, table: str) -> int:
        return len(list((self.lake / table.replace(".", "/") / "_delta_log").glob("*.json")))


def wait_until(is_so: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait for what a process that runs must bring about."""
    give_up_at = time.monotonic() + PATIENCE_SECONDS
    while not is_so():
        assert process.poll() is None, process.communicate()[0]
        assert time.monotonic() < give_up_at
        time.sleep(0.02)


@pytest.fixture(scope="module")
def deployment(built: tuple[Path, Path]) -> Iterator[ClusterDeployment]:
    """Give a cluster whose lake has two days of embedded builds, less gold.

    pytest's own folders would not let in who runs PostgreSQL for root.
    """
    if not can_reach(postgres_user(), postgres("postgres")):
        pytest.skip("PostgreSQL does not run as root, and nobody else can reach this folder")
    made = ClusterDeployment(Path(tempfile.mkdtemp()))
    shutil.copytree(
        built[0].parent, made.folder, ignore=shutil.ignore_patterns("gold", "metastore"), dirs_exist_ok=True
    )
    made.days = 2
    made.folder.chmod(0o711)
    try:
        made.start_services()
        yield made
    finally:
        made.supervisor.stop()
    shutil.rmtree(made.folder)


def test_a_cluster_goes_on_where_embedded_builds_ended_and_both_workers_work(deployment: ClusterDeployment) -> None:
    deployment.next_day()
    assert deployment.build() == 0
    deployment.check()
    assert len(tasks_by_executor(deployment.folder / "events")) == deployment.cluster.workers


# Whatever its size, and by nobody else than the cluster.
LOAD_THERE = """
import ingest.cli, ingest.workers
ingest.workers.WORTH_A_PROCESS_BYTES = 0
ingest.workers.ProcessPoolExecutor = None
ingest.cli.main()
"""


def test_the_workers_read_a_load_that_is_worth_it(deployment: ClusterDeployment) -> None:
    places = [deployment.folder / f"worker-{number}" for number in range(deployment.cluster.workers)]
    before = [set(place.iterdir()) for place in places]
    deployment.next_day()
    code, output = ends_with(deployment.start("-c", LOAD_THERE, "--settle", "0"))
    assert code == 0, output
    applications = [set(place.iterdir()) - there for place, there in zip(places, before, strict=True)]
    assert [len(of_worker) for of_worker in applications] == [1] * len(places)
    assert deployment.run("-m", "ingest", "verify", "--raw", str(deployment.raw)) == 0
    assert left_over(deployment.lake) == []


def test_gold_is_read_over_the_thrift_server(deployment: ClusterDeployment) -> None:
    engine = create_engine("hive://127.0.0.1:10000/gold")
    with engine.connect() as connection:
        (count,) = connection.execute(text(COUNT)).one()
    assert count == len(read_table(deployment.lake, "gold.enriched_driver_events")) > 0
    beeline = Path(sys.executable).with_name("beeline")
    question = ("-u", "jdbc:hive2://127.0.0.1:10000/gold", "--silent=true", "--outputformat=csv2", "-e", COUNT)
    answer = subprocess.run(
        [beeline, *question],
        env=os.environ | {"SPARK_HOME": str(SPARK_HOME)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert answer.stdout.split()[-1] == str(count)


@for_a_long_run
def test_a_worker_killed_in_a_load_and_in_a_build_costs_nothing(deployment: ClusterDeployment) -> None:
    deployment.next_day()
    place = deployment.folder / "worker-0"
    there = set(place.iterdir())
    process = deployment.start("-m", "ingest", "build", "--settle", "0", "--", *BUILD_UNTESTED[1:])
    wait_until(lambda: bool(set(place.iterdir()) - there), process)
    deployment.kill("worker-0")
    before = deployment.commits("audit.pipeline_runs")
    wait_until(lambda: deployment.commits("audit.pipeline_runs") > before, process)
    deployment.start_services()
    deployment.kill("worker-1")
    _, output = ends_with(process)
    assert "Traceback" not in output
    deployment.start_services()
    deployment.rebuild()
    deployment.check()


@for_a_long_run
def test_two_builds_at_once_are_one(deployment: ClusterDeployment) -> None:
    first = deployment.start_build_up_to("audit.pipeline_runs")
    os.killpg(first.pid, signal.SIGSTOP)
    code, output = ends_with(deployment.start(*DBT))
    assert code == 2
    (run_id,) = deployment.running()
    assert f"The run {run_id}, " in output
    second = deployment.start(*DBT, "--vars", f"take_over: {run_id}")
    os.killpg(first.pid, signal.SIGCONT)
    ends_with(first)
    ends_with(second)
    deployment.rebuild()
    deployment.check()


@for_a_long_run
def test_a_thrift_server_that_dies_in_a_build_is_told_and_the_next_build_takes_over(
    deployment: ClusterDeployment,
) -> None:
    process = deployment.start_build_up_to("silver.driver_events")
    deployment.kill("thrift")
    code, output = ends_with(process)
    assert code in {1, 2}
    assert "Traceback" not in output
    deployment.start_services()
    code, output = ends_with(deployment.start(*DBT))
    (run_id,) = deployment.running()
    assert code == 2
    assert f"--vars 'take_over: {run_id}'" in output
    deployment.rebuild()
    deployment.check()


@for_a_long_run
def test_a_metastore_that_is_restarted_costs_at_most_a_build(deployment: ClusterDeployment) -> None:
    process = deployment.start_build_up_to("audit.pipeline_runs")
    deployment.kill("metastore")
    deployment.start_services()
    _, output = ends_with(process)
    assert "Traceback" not in output
    deployment.rebuild()
    deployment.check()
