"""Load as files and messages arrive, and with `--build` build after each load, in one process whose Java stays warm."""

from __future__ import annotations

import json
import logging
import os
import signal
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from ingest.build import is_built, run_dbt_build, start_engine
from ingest.errors import BusyError, IngestError, explain
from ingest.lake import only_builder
from ingest.load import run_load
from ingest.maintain import maintain
from ingest.places import write_whole

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from ingest.load import Settings
    from ingest.manifest import Manifest
    from ingest.report import Report

ENDING = (signal.SIGTERM, signal.SIGINT)
FAILURES = "INGEST_WATCH_FAILURES"  # how many cycles before this process have failed, one after the other
LONGEST_PAUSE_SECONDS = 300
LOADS_PER_UPKEEP = 50
# Statements name the loads that are new, so each cycle's code would be generated and compiled for that cycle alone.
INTERPRETED = {"spark.sql.codegen.wholeStage": "false", "spark.sql.codegen.factoryMode": "NO_CODEGEN"}


class BuildFailedError(IngestError):
    """A build that failed, of which dbt has said why."""


@dataclass
class Watch:
    """What a cycle does: load what is new, and build what was loaded if there are options for dbt.

    Every fifty loads that were built it keeps the tables small, too, with what the versions since `keep` ago need.
    """

    settings: Settings
    report: Report
    keep: timedelta
    dbt_options: Sequence[str] | None = None
    is_told_to_end: bool = False
    _built_up_to: int | None = None
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
            if self.dbt_options is not None:
                only_builder(self.settings.lake)
            while not self.is_told_to_end:
                began = time.monotonic()
                with suppress(BusyError):  # another load is at work
                    self._tell(self.cycle(), began)
                    failures, is_first = 0, False
                self._wait(began + every - time.monotonic())
        except Exception as error:
            sentence = explain(error)
            is_mistake = isinstance(error, IngestError) and not isinstance(error, BuildFailedError)
            if sentence is None or (is_first and is_mistake):
                raise
            self.report.say(f"{sentence} ({failures + 1} in a row)", level=logging.WARNING, stage="cycle")
            self._begin_anew(failures + 1)
            return False
        return True

    def cycle(self) -> str:
        """Do what there is to do, and say what it was; nothing if there was nothing. Raises IngestError."""
        with self.report.only_warnings():
            manifests = run_load(self.settings, self.report, keeps_empty=False)
        self._tell_unreadable(manifests)
        loads = [manifest for manifest in manifests if manifest.load_id]
        said = [
            f"load {manifest.load_id}: {len(manifest.versions):,} files,"
            f" {sum(version.records for version in manifest.versions):,} records"
            for manifest in loads
        ]
        loaded_up_to = self.settings.memory.knowledge.load_id
        if self._built_up_to != loaded_up_to and self.dbt_options is not None:
            if not is_built(self.settings, self.dbt_options):
                said.append(self._build(self.dbt_options))
            built_before, self._built_up_to = self._built_up_to, loaded_up_to
            if built_before and loaded_up_to // LOADS_PER_UPKEEP > built_before // LOADS_PER_UPKEEP:
                with suppress(BusyError):  # another load is at work: after the next fifty
                    said.append(self._keep_small())
        return "; ".join(said)

    def _build(self, dbt_options: Sequence[str]) -> str:
        began = time.monotonic()
        self._start_engine()
        log_format = "json" if self.report.is_json else "default"
        # What dbt writes of the project and of each run, most of a second, is for who looks at one build.
        output_options = ["--log-format", log_format, "--log-level", "warn", "--no-write-json"]
        if not run_dbt_build(self.settings, dbt_options, output=output_options):
            message = "the build failed, dbt has said why; see to it, and it is tried again"
            raise BuildFailedError(message)
        return f"build {time.monotonic() - began:.1f} s"

    def _keep_small(self) -> str:
        began = time.monotonic()
        done = list(maintain(self.settings.lake, keep=self.keep))
        return f"upkeep of {len(done)} tables {time.monotonic() - began:.1f} s"

    def _start_engine(self) -> None:
        session = start_engine(self.settings, is_short_run=False)
        self._listen()
        if session is not None:
            for key, value in INTERPRETED.items():
                session.conf.set(key, value)

    def _listen(self) -> None:
        """Take the signals that end a process; Spark, when it starts, takes one of them for itself."""
        for number in ENDING:
            signal.signal(number, self._note)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, ENDING)

    def _note(self, *_: object) -> None:
        self.is_told_to_end = True

    def _wait(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self.is_told_to_end and (left := until - time.monotonic()) > 0:
            time.sleep(min(left, 0.2))

    def _tell(self, said: str, began: float) -> None:
        """Write the time of the last good cycle, for who looks after this process, and log what it did."""
        at = datetime.now(UTC).isoformat(timespec="milliseconds")
        health = {"last_good_cycle_at": at, "unreadable": [name for name, _ in self._unreadable], "pid": os.getpid()}
        write_whole(self.settings.lake.home / "watch.json", json.dumps(health).encode())
        if said:
            seconds = round(time.monotonic() - began, 3)
            self.report.say(f"{said}; {seconds:.1f} s in all", stage="cycle", seconds=seconds)

    def _tell_unreadable(self, manifests: Sequence[Manifest]) -> None:
        """Say what cannot be read when that changes, not in every cycle."""
        unreadable = tuple(entry for manifest in manifests for entry in manifest.unreadable)
        if unreadable != self._unreadable:
            for manifest in manifests:
                self.report.unreadable(manifest)
        self._unreadable = unreadable

    def _begin_anew(self, failures: int) -> None:
        """Become a new process of this command, unless it was told to end; a signal from here on is the new one's."""
        if self.dbt_options is not None:
            from ingest.spark import end_java  # a process that only loads has none

            end_java()
        signal.pthread_sigmask(signal.SIG_BLOCK, ENDING)
        os.environ[FAILURES] = str(failures)
        os.chdir(self._folder)
        if self.is_told_to_end:
            return
        os.execv(sys.executable, [sys.executable, "-m", "ingest", *sys.argv[1:]])  # noqa: S606 - it is this command
