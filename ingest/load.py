"""One run of ingest: finish what was left unfinished, then load what is new, in loads of bounded size.

A load is a small write-ahead log. Its parts stand in the folders of their tables, where nobody sees them before a
commit names them; the plan, on disk before the first commit, names them all; its rows in bronze.source_files, appended
last, complete the load. A run that finds a plan goes on from there, and makes each commit of it once, however often
that is tried.
"""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
import time
from collections import defaultdict
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ingest.changes import changed_files
from ingest.discovery import list_raw
from ingest.errors import IngestError
from ingest.feeds import read_feeds
from ingest.lake import (
    Lake,
    clear_staging,
    column_types,
    has_table,
    only_writer,
    open_table,
    query_if_there,
    remove_parts,
)
from ingest.manifest import (
    SOURCE_FILES,
    Manifest,
    complete_version,
    known_versions,
    newest_load_id,
    read_manifest,
    read_seen,
    write_manifest,
    write_seen,
)
from ingest.places import is_on_disk
from ingest.versions import TOPICS, Load, StagedLoad
from ingest.workers import prepare, workers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from pyspark.sql import SparkSession

    from ingest.changes import Seen
    from ingest.discovery import Listing
    from ingest.feeds import Feed
    from ingest.report import Report
    from ingest.scanning import Limits
    from ingest.versions import FileVersion
    from ingest.workers import Run


@dataclass
class Knowledge:
    """What the lake knows of the raw files: the newest version of each path, and all versions that hold a content."""

    newest: dict[str, FileVersion] = field(default_factory=dict)
    contents: defaultdict[str, list[FileVersion]] = field(default_factory=lambda: defaultdict(list))
    load_id: int = 0
    loaded_at: datetime = datetime(1970, 1, 1, tzinfo=UTC)

    def add(self, version: FileVersion) -> None:
        self.newest[version.source_file] = version
        if version.is_read and not version.source_file.startswith(TOPICS):
            self.contents[version.source_file_id].append(version)
        self.load_id = max(self.load_id, version.load_id)
        self.loaded_at = max(self.loaded_at, version.loaded_at)


@dataclass
class Memory:
    """What a process that loads again and again need not find out or say again.

    That is: what the lake knew when bronze.source_files had this `version`, and the ignored paths that a manifest of
    this process has.
    """

    knowledge: Knowledge = field(default_factory=Knowledge)
    version: str | None = None
    ignored: set[tuple[str, str]] = field(default_factory=set)


@dataclass(frozen=True)
class Settings:
    """Where one run reads and writes, its limits, and the profile's target, if not the default.

    `kafka` is how the feeds' topics are reached; without it, only files are read.
    """

    project: Path
    raw: Path
    lake: Lake
    limits: Limits
    target: str | None = None
    kafka: Mapping[str, Any] = field(default_factory=dict)
    memory: Memory = field(default_factory=Memory)

    @property
    def feeds(self) -> tuple[Feed, ...]:
        return read_feeds(self.project / "models" / "bronze" / "_sources.yml")


def run_load(settings: Settings, report: Report, *, keeps_empty: bool = True) -> list[Manifest]:
    """Load everything that is new; give the manifests of all loads that this run committed, oldest first.

    A run with nothing new writes no table and gives one manifest of zeros, whose file is kept if `keeps_empty`.
    """
    feeds = settings.feeds
    lake = settings.lake
    if is_on_disk(settings.raw) == lake.is_on_disk and settings.raw.resolve().is_relative_to(lake.root.resolve()):
        message = (
            f"{settings.raw}: the raw files must not lie in the lake, {lake.root}; name another folder with --raw."
        )
        raise IngestError(message)
    listing = list_raw(settings.raw, feeds)
    with only_writer(lake):
        check_bronze(lake, feeds)
        add_declared_keys(lake, feeds)
        manifests = [finish(lake, feeds, report)] if lake.plan.exists() else []
        memory = settings.memory
        if memory.version is None or memory.version != _table_version(lake):
            memory.knowledge = learn(lake)
            check_builds(lake, memory.knowledge.load_id)
        memory.version = None  # what is staged from here on is known before it is in the table
        knowledge = memory.knowledge
        is_listed = False
        check_load_ids(lake, feeds, knowledge.load_id)
        remove_leftovers(lake, knowledge.load_id)
        seen = read_seen(lake)
        for plan, now_seen in _plans(settings, listing, knowledge, seen, report, lake):
            if now_seen != seen:
                write_seen(lake, now_seen)
                seen = now_seen
            if plan.versions:
                write_manifest(lake.plan, plan)
                manifests.append(finish(lake, feeds, report))
                is_listed = True
            elif not manifests or plan.unreadable:
                if keeps_empty:
                    write_manifest(lake.manifest(plan.loaded_at), plan)
                    is_listed = True
                manifests.append(plan)
        memory.version = _table_version(lake)
        memory.ignored |= set(listing.ignored if is_listed else ())
        return manifests


def preview_load(settings: Settings, report: Report) -> list[Manifest]:
    """Say which file a run would find to be what; nothing is written but temporary files."""
    listing = list_raw(settings.raw, settings.feeds)
    with tempfile.TemporaryDirectory() as folder:
        draft = Lake(Path(folder) / "lake")
        manifests = []
        for plan, _ in _plans(settings, listing, learn(settings.lake), read_seen(settings.lake), report, draft):
            manifests.append(plan)
            shutil.rmtree(draft.root, ignore_errors=True)
        return manifests


def _table_version(lake: Lake) -> str | None:
    if not has_table(lake, SOURCE_FILES):
        return None
    table = open_table(lake, SOURCE_FILES)
    return f"{table.metadata().id} {table.version()}"


def learn(lake: Lake) -> Knowledge:
    knowledge = Knowledge()
    for version in known_versions(lake, only_newest_of_topics=True):
        knowledge.add(version)
    return knowledge


def check_bronze(lake: Lake, feeds: tuple[Feed, ...]) -> None:
    """Refuse feeds that no longer fit their bronze tables; a new key is a new column, and fine."""
    for feed in feeds:
        table = f"bronze.{feed.name}"
        columns = column_types(lake, table) if has_table(lake, table) else {}
        if columns and "_load_id" not in columns:
            message = f"{table} in {lake.root} is no table of this pipeline, as it has no _load_id: name another lake."
            raise IngestError(message)
        for column, data_type in columns.items():
            if not column.startswith("_") and column not in feed.keys:
                message = (
                    f"{table} has the column {column}, which models/bronze/_sources.yml does not declare any more: "
                    "declared keys can be added, not removed or renamed; put the line back."
                )
                raise IngestError(message)
            if not column.startswith("_") and data_type != "string":
                message = f"{table} has the column {column} as {data_type}, but a declared key is a string."
                raise IngestError(message)


def check_load_ids(lake: Lake, feeds: tuple[Feed, ...], load_id: int) -> None:
    """See that the next load's number is new to every table: Delta would skip an append of a number that it knows."""
    for feed in feeds:
        table = f"bronze.{feed.name}"
        written = open_table(lake, table).transaction_version(table) if has_table(lake, table) else None
        if written is not None and written > load_id:
            message = (
                f"{table} has records of load {written}, but {SOURCE_FILES} knows of none after load {load_id}: one of "
                "the two was restored or cut short. Nothing was changed: restore both from the same backup."
            )
            raise IngestError(message)


def check_builds(lake: Lake, load_id: int) -> None:
    """See that bronze has the loads that builds have read: models would leave out the next ones, of equal number."""
    for row in query_if_there(lake, "audit.pipeline_runs", "select max(up_to_load_id) as load_id from t"):
        if (row["load_id"] or 0) > load_id:
            message = (
                f"a build has read load {row['load_id']}, but {SOURCE_FILES} knows of none after load {load_id}: it "
                "was restored, or deleted. Nothing was changed: restore the whole lake from one backup, or delete its "
                "folders silver, gold, audit and metastore, which the next build makes anew."
            )
            raise IngestError(message)


def add_declared_keys(lake: Lake, feeds: tuple[Feed, ...]) -> None:
    """Give each bronze table a column for every key that was declared since it was made."""
    for feed in feeds:
        table = f"bronze.{feed.name}"
        columns = column_types(lake, table) if has_table(lake, table) else feed.keys
        added = [key for key in feed.keys if key not in columns]
        if added:
            from deltalake import Field
            from deltalake.schema import PrimitiveType

            open_table(lake, table).alter.add_columns([Field(key, PrimitiveType("string")) for key in added])


def remove_leftovers(lake: Lake, load_id: int) -> None:
    """Remove what a run that was killed has left of a load after this one: no version and no plan names it."""
    clear_staging(lake)
    remove_parts(lake, after=load_id)


def finish(lake: Lake, feeds: tuple[Feed, ...], report: Report) -> Manifest:
    """Commit the planned load, whatever of it an earlier try has committed."""
    from ingest import bronze  # a run with nothing new does without

    plan = read_manifest(lake.plan)
    if newest_load_id(lake) >= plan.load_id:
        clear_staging(lake)
        return plan
    started = time.monotonic()
    planned = [feed for feed in feeds if feed.name in plan.parts]
    if len(planned) < len(plan.parts):
        message = (
            f"load {plan.load_id} is unfinished and has records of {', '.join(plan.parts)}, but not all of these "
            "feeds are declared any more: put them back into models/bronze/_sources.yml until it is finished."
        )
        raise IngestError(message)
    for feed in planned:
        with report.writing(feed.name):
            bronze.append_parts(lake, feed, plan)
    bronze.check_records(lake, planned, plan)
    manifest = replace(plan, parts={})
    write_manifest(lake.manifest(plan.loaded_at), manifest)
    bronze.append_source_files(lake, manifest)
    clear_staging(lake)
    report.loaded(manifest, seconds=time.monotonic() - started)
    return manifest


def _plans(
    settings: Settings, listing: Listing, knowledge: Knowledge, seen: Seen, report: Report, lake: Lake
) -> Iterator[tuple[Manifest, Seen]]:
    """Stage what is new, as much as one load takes at a time: the files, then the messages of topics.

    At least one plan comes, each with what is then known of the files.
    """
    listed = {file.name for file in listing.files}
    seen = {name: entry for name, entry in seen.items() if name in listed}
    with workers(partial(_cluster, settings), [settings.raw, settings.lake.root]) as run:
        stages = [partial(_stage_files, settings, listing, report, run)]
        if settings.kafka:
            stages.append(partial(_stage_messages, settings))
        for stage_some in stages:
            has_more = True
            while has_more:
                loaded_at = max(datetime.now(UTC), knowledge.loaded_at + timedelta(microseconds=1))
                load = Load(knowledge.load_id + 1, loaded_at, lake, settings.limits)
                staged: StagedLoad = stage_some(knowledge, seen, load)
                has_more = staged.has_more
                seen = seen | staged.seen
                for version in staged.versions:
                    knowledge.add(version)
                yield (
                    Manifest(
                        load_id=load.load_id if staged.versions else 0,
                        loaded_at=loaded_at,
                        versions=staged.versions,
                        parts=staged.parts,
                        ignored=tuple(entry for entry in listing.ignored if entry not in settings.memory.ignored),
                        unreadable=staged.unreadable,
                    ),
                    seen,
                )


def _stage_files(
    settings: Settings, listing: Listing, report: Report, run: Run, knowledge: Knowledge, seen: Seen, load: Load
) -> StagedLoad:
    files = changed_files(listing, knowledge.newest, seen, now=datetime.now(UTC), limits=settings.limits)
    if not files:
        return StagedLoad(unreadable=listing.unreadable)
    prepare(sum(file.size for file in files))
    from ingest.staging import stage  # a run with nothing new does without Arrow

    with report.staging(files) as on_progress:
        staged = stage(
            files,
            knowledge.newest,
            knowledge.contents,
            load=load,
            resume=lambda version: complete_version(settings.lake, version.source_file, version.loaded_at),
            now=lambda: datetime.now(UTC),
            run=run,
            on_progress=on_progress,
        )
    return replace(staged, unreadable=(*listing.unreadable, *staged.unreadable))


def _stage_messages(settings: Settings, knowledge: Knowledge, _seen: Seen, load: Load) -> StagedLoad:
    from ingest.topics import stage_messages  # needs Kafka's client, which not everybody has

    return stage_messages(settings.kafka, settings.feeds, knowledge.newest, load=load)


def _cluster(settings: Settings) -> SparkSession | None:
    """Start Spark if the target is a cluster."""
    from ingest.profile import read_profile

    if read_profile(settings.project, settings.lake, settings.target)["method"] == "session":
        return None
    from ingest.spark import start_spark

    os.environ.setdefault("PYSPARK_PYTHON", sys.executable)
    return start_spark(settings.project, settings.lake, settings.target)
