"""A process of its own that loads and builds, in one JVM, and that a test can kill at any moment."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from multiprocessing import get_context
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from ingest.watch import INTERPRETED

if TYPE_CHECKING:
    from multiprocessing.connection import Connection
    from multiprocessing.process import BaseProcess

    from ingest.load import Settings

PROJECT = Path(__file__).resolve().parents[2]
# Unit tests are about the models and need no lake of their own: one build of all runs them.
BUILD = ("build", "--exclude-resource-type", "unit_test")
# For builds whose tables are compared with others row by row anyway.
BUILD_UNTESTED = (*BUILD, "--exclude-resource-type", "test")


def copy_project(folder: Path) -> Path:
    """Copy the project, without what was generated, for a test that changes it; give the folder."""
    ignore = shutil.ignore_patterns(".*", "data", "target", "logs", "__pycache__")
    return Path(shutil.copytree(PROJECT, folder, ignore=ignore, symlinks=True))


class Worker:
    """Runs `load` and `dbt` commands on one lake, in the one process that all workers take over from each other.

    So its Java is warm for the next test, and Spark interprets its plans, as under `watch`: compiled, each would run
    once. After a kill the next command starts a new process.
    """

    _owner: ClassVar[Worker | None] = None
    _process: ClassVar[BaseProcess]
    _connection: ClassVar[Connection]

    def __init__(self, lake: Path, raw: Path, *, project: Path = PROJECT) -> None:
        self.lake, self.raw, self.project = lake, raw, project

    def load(self) -> int:
        """Load as `python -m ingest --settle 0` does; give its exit code."""
        return self.run(["load"])

    def dbt(self, *arguments: str) -> int:
        """Run dbt as its command line does; give its exit code."""
        return self.run(["dbt", *arguments])

    def run(self, command: list[str]) -> int:
        self.send(command)
        code: int = self._connection.recv()
        return code

    def send(self, command: list[str]) -> None:
        if Worker._owner is not self or not self._process.is_alive():
            self._take_over()
        self._connection.send(command)

    def is_done(self, seconds: float) -> bool:
        """Wait for the command that was sent, but not longer than this."""
        if self._connection.poll(seconds):
            self._connection.recv()
            return True
        return False

    def kill(self) -> None:
        """Kill the process and its JVM, as a power cut would."""
        if Worker._owner is self and self._process.pid and self._process.is_alive():
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.join()

    def _take_over(self) -> None:
        if Worker._owner is None or not self._process.is_alive():
            context = get_context("spawn")
            Worker._connection, theirs = context.Pipe()
            Worker._process = context.Process(target=_serve, args=(theirs,), daemon=True)
            self._process.start()
            theirs.close()
        Worker._owner = self
        self.run(["open", str(self.lake), str(self.raw), str(self.project)])


def run_process(*arguments: str, folder: Path = PROJECT, **environment: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the environment as a user does, in the project's folder or another."""
    folder.mkdir(exist_ok=True)
    return subprocess.run(
        [str(Path(sys.executable).parent / arguments[0]), *arguments[1:]],
        cwd=folder,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
    )


def _serve(connection: Connection) -> None:
    os.setsid()
    settings_of_watch = (f"--conf {key}={value}" for key, value in INTERPRETED.items())
    os.environ["PYSPARK_SUBMIT_ARGS"] = " ".join((*settings_of_watch, "pyspark-shell"))
    from dbt.cli.main import dbtRunner
    from pyspark.sql import SparkSession

    from ingest.lake import Lake
    from ingest.load import Settings
    from ingest.scanning import Limits

    while True:
        name, *arguments = connection.recv()
        if name == "open":
            if session := SparkSession.getActiveSession():
                session.stop()
            lake, raw, project = map(Path, arguments)
            os.chdir(project)
            os.environ["LAKE_ROOT"] = str(lake)
            settings = Settings(project=project, raw=raw, lake=Lake(lake), limits=Limits(settle_seconds=0))
            connection.send(0)
        elif name == "load":
            connection.send(_load(settings))
        else:
            target = ["--target-path", str(lake.parent / "target"), "--log-path", str(lake.parent / "logs")]
            connection.send(0 if dbtRunner().invoke([*arguments, *target]).success else 1)


def _load(settings: Settings) -> int:
    from ingest.load import run_load
    from ingest.report import Report

    manifests = run_load(settings, Report("text"))
    return int(any(manifest.has_failures for manifest in manifests))
