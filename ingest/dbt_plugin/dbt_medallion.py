"""dbt's plugin of this project: every command of dbt that needs Spark enters the lake by the same door as ingest.

dbt finds the module by its name; set-up puts its folder on the path of the environment.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from dbt.flags import get_flags
from dbt.plugins.manager import dbtPlugin
from dbt_common.exceptions import DbtRuntimeError

from ingest.describe import describe
from ingest.errors import IngestError, explain
from ingest.lake import BUILD_LOCK, Lake, only_builder, open_table, tables_of
from ingest.places import place
from ingest.profile import read_profile

if TYPE_CHECKING:
    from dbt.contracts.graph.manifest import Manifest

NEEDS_SPARK = {"build", "run", "test", "seed", "retry", "show", "compile", "generate", "freshness", "run-operation"}
_java_locks: dict[int, object] = {}  # held until the process ends


class Door(dbtPlugin):
    """Lets one process at a time in, and turns away in one sentence what would end in many of Java's."""

    def initialize(self) -> None:
        flags = get_flags()  # type: ignore[no-untyped-call]
        if flags.WHICH not in NEEDS_SPARK:
            return
        try:
            enter(Path(flags.PROJECT_DIR).resolve(), flags.TARGET)
        except Exception as error:
            sentence = explain(error)
            if sentence is None:
                raise
            raise DbtRuntimeError(sentence) from error
        if flags.WHICH == "generate":
            describe_when_written(Lake(lake_root(Path(flags.PROJECT_DIR).resolve())))


def describe_when_written(lake: Lake) -> None:
    """Let `dbt docs generate` write what `describe` adds; plugins have no hook at that moment."""
    from dbt.parser.manifest import write_manifest
    from dbt.task.docs import generate

    def write_described(manifest: Manifest, target_path: str, which: str | None = None) -> None:
        describe(manifest.nodes, lake)
        write_manifest(manifest, target_path, which)

    generate.write_manifest = write_described  # type: ignore[attr-defined]


def enter(project: Path, target: str | None) -> None:
    from ingest.spark import check_metastore, forget_lost_tables, lock_in_java, start_spark

    lake = Lake(lake_root(project))
    is_embedded = read_profile(project, lake, target)["method"] == "session"
    only_builder(lake, is_alone=is_embedded)
    if not is_embedded:
        return
    for name in tables_of(lake):
        open_table(lake, name)
    session = start_spark(project, lake, target)
    is_known = (inode := (lake.home / BUILD_LOCK).stat().st_ino) in _java_locks
    if not is_known:
        _java_locks[inode] = lock_in_java(session, lake.home / BUILD_LOCK)
    session.conf.set("medallion.build_lock", "held")
    check_metastore(session, lake, is_in_use=is_known)
    forget_lost_tables(session, lake)


def lake_root(project: Path) -> Path:
    """Take a relative lake from the project's folder, where Spark must then be started."""
    root = place(os.environ.get("LAKE_ROOT", "data/processed/medallion"))
    if not root.is_absolute() and Path.cwd().resolve() != project:
        message = (
            f"The lake would be {Path.cwd() / root}, for dbt was started in {Path.cwd()} and not in the project "
            f"{project}: start it there, or set LAKE_ROOT to the absolute path of the lake."
        )
        raise IngestError(message)
    return root if root.is_absolute() else project / root


plugins = [Door]
