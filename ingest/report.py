"""What a run says: log lines as text or JSON, a progress bar on a terminal, a summary table at the end."""

from __future__ import annotations

import json
import logging
import sys
import time
from collections import defaultdict
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)
from rich.table import Table

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from ingest.discovery import RawFile
    from ingest.manifest import Manifest


class JsonLines(logging.Formatter):
    """One JSON object a line: time, level, stage and message, and what else the entry is about."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "message": record.getMessage(),
        }
        return json.dumps(entry | getattr(record, "facts", {}))


class Report:
    """Tells people (`text`) or machines (`json`) on standard output what a run does."""

    def __init__(self, log_format: str) -> None:
        self.is_json = log_format == "json"
        self.console = Console(highlight=False, soft_wrap=True)
        self.has_bar = self.console.is_terminal and not self.is_json
        self.seconds: defaultdict[str, float] = defaultdict(float)
        self._read_until = 0.0
        handler = logging.StreamHandler(sys.stdout)
        text = logging.Formatter("%(asctime)s  %(message)s", "%H:%M:%S")
        handler.setFormatter(JsonLines() if self.is_json else text)
        self.log = logging.getLogger("ingest")
        self.log.setLevel(logging.DEBUG if self.is_json else logging.INFO)
        self.log.handlers = [handler]
        self.log.propagate = False

    def say(self, message: str, *, level: int = logging.INFO, **facts: str | float) -> None:
        """Log a line; the facts are for machines: stage, feed, file, records, bytes, seconds."""
        self.log.log(level, printable(message), extra={"facts": facts})

    @contextmanager
    def only_warnings(self) -> Iterator[None]:
        """Say to people only what went wrong meanwhile."""
        level = self.log.level
        self.log.setLevel(level if self.is_json else logging.WARNING)
        try:
            yield
        finally:
            self.log.setLevel(level)

    @contextmanager
    def staging(self, files: Sequence[RawFile]) -> Iterator[Callable[[str, str, int, int], None]]:
        """Show the progress of reading these files.

        Gives what is to be called with the name of a pass, a feed, and the bytes of it that are done, and of all.
        """
        started = self._read_until = time.monotonic()
        total = sum(file.size for file in files)
        columns = (
            TextColumn("{task.description}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self.console, transient=True, disable=not (self.has_bar and files)) as bar:
            passes: dict[str, TaskID] = {}

            def on_progress(name: str, feed: str, done: int, of: int) -> None:
                if name not in passes:
                    passes[name] = bar.add_task(name, total=of)
                bar.advance(passes[name], done)
                at = time.monotonic()
                self.seconds[feed] += at - self._read_until
                self._read_until = at

            yield on_progress
        if files:
            seconds = round(time.monotonic() - started, 3)
            message = f"read {len(files):,} files, {total:,} bytes, in {seconds:.1f} s"
            self.say(message, stage="staging", bytes=total, seconds=seconds)

    @contextmanager
    def writing(self, feed: str) -> Iterator[None]:
        """Show that a feed is being committed, which has no measurable progress."""
        started = time.monotonic()
        columns = (TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
        with Progress(*columns, console=self.console, transient=True, disable=not self.has_bar) as bar:
            bar.add_task(f"writing bronze.{feed}", total=None)
            yield
        seconds = round(time.monotonic() - started, 3)
        self.seconds[feed] += seconds
        self.say(f"wrote bronze.{feed} in {seconds:.1f} s", stage="loading", feed=feed, seconds=seconds)

    def loaded(self, manifest: Manifest, *, seconds: float) -> None:
        """Tell what became of each file of a load: all of them to machines, to people those to look at."""
        for version in manifest.versions:
            failed = version.status == "failed"
            self.say(
                f"{version.source_file}: {version.status}" + (f", {version.reason}" if version.reason else ""),
                level=logging.WARNING if failed else logging.INFO if version.reason else logging.DEBUG,
                stage="file",
                feed=version.feed,
                file=version.source_file,
                status=version.status,
                records=version.records,
                defective=version.defective_records,
                bytes=version.bytes,
            )
        message = f"load {manifest.load_id} is complete"
        self.say(message, stage="loaded", load_id=manifest.load_id, seconds=round(seconds, 3))

    def preview(self, manifest: Manifest) -> None:
        """Tell what a load would make of each file."""
        for version in manifest.versions:
            self.say(
                f"{version.status:<17}  {version.records:>9,} records  {version.source_file}"
                + (f": {version.reason}" if version.reason else ""),
                stage="preview",
                feed=version.feed,
                file=version.source_file,
                status=version.status,
                records=version.records,
                bytes=version.bytes,
            )
        for name, reason in manifest.ignored:
            self.say(f"{'ignored':<36}  {name}: {reason}", stage="preview", file=name, status="ignored")

    def unreadable(self, manifest: Manifest) -> None:
        for name, reason in manifest.unreadable:
            self.say(f"{name}: {reason}", level=logging.WARNING, stage="file", file=name, status="unreadable")

    def summary(self, feeds: Sequence[str], manifests: Sequence[Manifest], seconds: float) -> None:
        """Close the run: per feed what was loaded, and what was ignored."""
        table = Table(box=None, header_style="bold", pad_edge=False)
        table.add_column("feed")
        for name in ("files", "records", "defective", "bytes", "seconds"):
            table.add_column(name, justify="right")
        for feed in feeds:
            counts = _counts(feed, manifests)
            table.add_row(feed, *(f"{count:,}" for count in counts.values()), f"{self.seconds[feed]:.1f}")
            if self.is_json:
                self.say("summary", stage="summary", feed=feed, seconds=round(self.seconds[feed], 3), **counts)
        ignored = len(manifests[-1].ignored)
        if self.is_json:
            self.say("done", stage="done", seconds=round(seconds, 3), ignored=ignored)
            return
        self.console.print(table)
        self.console.print(f"{ignored:,} other paths ignored; {seconds:.1f} s in all")


def printable(text: str) -> str:
    """Keep what a file's name may hold, like line ends and terminal codes, from taking effect in a log."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _counts(feed: str, manifests: Sequence[Manifest]) -> dict[str, int]:
    counts = {"files": 0, "records": 0, "defective": 0, "bytes": 0}
    for manifest in manifests:
        for version in manifest.versions:
            if version.feed == feed:
                counts["files"] += 1
                counts["records"] += version.records
                counts["defective"] += version.defective_records
                counts["bytes"] += version.bytes
    return counts
