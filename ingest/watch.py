"""Load as files and messages arrive, and with `--build` build after each load, in one process whose Java stays warm."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ingest.build import is_built, run_dbt_build
from ingest.errors import BusyError, IngestError, explain
from ingest.load import run_load
from ingest.places import write_whole

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from pyspark.sql import SparkSession

    from ingest.load import Settings
    from ingest.manifest import Manifest
    from ingest.report import Report

FAILURES = "INGEST_WATCH_FAILURES"  # how many cycles before this process have failed, one after the other
LONGEST_PAUSE_SECONDS = 300
# Statements name the loads that are new, so each cycle's code would be generated and compiled for that cycle alone.
INTERPRETED = {"spark.sql.codegen.wholeStage": "false", "spark.sql.codegen.factoryMode": "NO_CODEGEN"}


class BuildFailedError(IngestError):
    """A build that failed, of which dbt has said why."""


@dataclass
class Watch:
    """What a cycle does: load what is new, and build what was loaded if there are options for dbt."""

    settings: Settings
    report: Report
    start_spark: Callable[[], SparkSession]
    dbt_options: Sequence[str] | None = None
    is_told_to_end: bool = False
    _is_behind: bool = True
    _unreadable: tuple[tuple[str, str], ...] = ()
    _folder: Path = field(default_factory=Path.cwd)

    def run(self, *, every: float) -> bool:
        """Go through cycles, each `every` seconds, until SIGTERM or SIGINT; tell whether the last one was good.

        None is broken off. After one that failed the process begins anew, with a Java of its own, after a pause that
        grows. Raises IngestError if the very first one finds that nothing can be done.
        """
        failures = int(os.environ.pop(FAILURES, "0"))
        is_first = not failures
        self._listen()
        self._wait(min(2**failures, LONGEST_PAUSE_SECONDS) if failures else 0)
        try:
            while not self.is_told_to_end:
                began = time.monotonic()
                self._tell(self.cycle(), began)
                failures, is_first = 0, False
                self._wait(began + every - time.monotonic())
        except Exception as error:
            sentence = explain(error)
            is_mistake = isinstance(error, IngestError) and not isinstance(error, BuildFailedError)
            if sentence is None or (is_first and is_mistake):
                raise
            self.report.say(f"{sentence} ({failures + 1} in a row)", level=logging.WARNING, stage="cycle")
            if self.is_told_to_end:
                return False
            self._begin_anew(failures + 1)
        return True

    def cycle(self) -> str:
        """Do what there is to do, and say what it was; nothing if there was nothing. Raises IngestError."""
        try:
            with self.report.only_warnings():
                manifests = run_load(self.settings, self.report, self._started, keeps_empty=False)
        except BusyError:  # another load is at work
            return ""
        self._tell_unreadable(manifests)
        loads = [manifest for manifest in manifests if manifest.load_id]
        said = [
            f"load {manifest.load_id}: {len(manifest.versions):,} files,"
            f" {sum(version.records for version in manifest.versions):,} records"
            for manifest in loads
        ]
        self._is_behind = self._is_behind or bool(loads)
        if self._is_behind and self.dbt_options is not None and not is_built(self.settings, self.dbt_options):
            said.append(self._build(self.dbt_options))
        self._is_behind = False
        return "; ".join(said)

    def _build(self, dbt_options: Sequence[str]) -> str:
        began = time.monotonic()
        self._started()
        log_format = "json" if self.report.is_json else "default"
        logging_options = ["--log-format", log_format, "--log-level", "warn"]
        if not run_dbt_build(self.settings, dbt_options, logging=logging_options):
            message = "the build failed, dbt has said why; see to it, and it is tried again"
            raise BuildFailedError(message)
        return f"build {time.monotonic() - began:.1f} s"

    def _started(self) -> SparkSession:
        session = self.start_spark()
        for key, value in INTERPRETED.items():
            session.conf.set(key, value)
        self._listen()
        return session

    def _listen(self) -> None:
        """Take the signals that end a process; Spark, when it starts, takes one of them for itself."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)

    def _note(self, *_: object) -> None:
        self.is_told_to_end = True

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self.is_told_to_end and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.2))

    def _tell(self, said: str, began: float) -> None:
        """Write the time of the last good cycle, for who looks after this process, and log what it did."""
        health = {"last_good_cycle_at": datetime.now(UTC).isoformat(timespec="milliseconds"), "pid": os.getpid()}
        write_whole(self.settings.lake.home / "watch.json", json.dumps(health).encode())
        seconds = round(time.monotonic() - began, 3)
        level = logging.INFO if said else logging.DEBUG
        self.report.say(f"{said or 'nothing new'}; {seconds:.1f} s in all", level=level, stage="cycle", seconds=seconds)

    def _tell_unreadable(self, manifests: Sequence[Manifest]) -> None:
        """Say what cannot be read when that changes, not in every cycle."""
        unreadable = tuple(entry for manifest in manifests for entry in manifest.unreadable)
        if unreadable != self._unreadable:
            for manifest in manifests:
                self.report.unreadable(manifest)
        self._unreadable = unreadable

    def _begin_anew(self, failures: int) -> None:
        from ingest.spark import end_java

        end_java()
        os.environ[FAILURES] = str(failures)
        os.chdir(self._folder)
        os.execv(sys.executable, [sys.executable, "-m", "ingest", *sys.argv[1:]])  # noqa: S606 - it is this command
