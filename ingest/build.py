"""Run dbt in this process, on the lake that was just loaded."""

from __future__ import annotations

import hashlib
import json
import os
import sys
from importlib import import_module
from threading import Thread
from typing import TYPE_CHECKING, Any

from ingest.errors import IngestError
from ingest.lake import open_table, tables_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from pyspark.sql import SparkSession

    from ingest.load import Settings

CODE = ("dbt_project.yml", "ingest", "macros", "models", "profiles", "requirements", "seeds", "tests/assertions")


def start_engine(settings: Settings, *, is_short_run: bool = True) -> SparkSession | None:
    """Start the Spark that dbt will join, while dbt is imported; a target with a server of its own has none."""
    from ingest.profile import read_profile
    from ingest.spark import start_spark

    Thread(target=import_module, args=("dbt.cli.main",), daemon=True).start()
    if read_profile(settings.project, settings.lake, settings.target)["method"] != "session":
        return None
    return start_spark(settings.project, settings.lake, settings.target, is_short_run=is_short_run)


def run_dbt_build(settings: Settings, options: Sequence[str], *, output: Sequence[str]) -> bool:
    """Run `dbt build` with these options and without unit tests; tell whether it succeeded.

    Raises IngestError if there are no such options.
    """
    from dbt.cli.exceptions import DbtUsageException
    from dbt.cli.main import dbtRunner  # takes seconds to import

    os.chdir(settings.project)
    os.environ |= {"LAKE_ROOT": str(settings.lake.root), "LAKE_HOME": str(settings.lake.home)}
    colors = "--use-colors" if sys.stdout.isatty() else "--no-use-colors"
    seen = inputs(settings, options)
    target = ["--target", settings.target] if settings.target else []
    result = dbtRunner().invoke([colors, *output, "build", *target, "--exclude-resource-type", "unit_test", *options])
    if isinstance(result.exception, DbtUsageException):  # of which dbt says nothing
        message = f"dbt does not take these options: {result.exception}"
        raise IngestError(message)
    if result.success:
        remember(settings, seen)
    return result.success


def is_built(settings: Settings, options: Sequence[str]) -> bool:
    """Tell whether the last good build was of this code, with these options, and the tables are as it left them."""
    last = _last_build(settings)
    return last.exists() and last.read_text(encoding="utf-8") == _text(settings, inputs(settings, options))


def inputs(settings: Settings, options: Sequence[str]) -> dict[str, Any]:
    """Give what a build that begins now sees: code, options, and bronze, into which others may load meanwhile."""
    return {"code": _digest(settings.project, [*options, settings.target])} | _versions(settings, is_bronze=True)


def remember(settings: Settings, seen: dict[str, Any]) -> None:
    """Write down what a good build saw, and the tables that it left."""
    _last_build(settings).write_text(_text(settings, seen), encoding="utf-8")


def _last_build(settings: Settings) -> Path:
    return settings.lake.home / "last_build.json"


def _text(settings: Settings, seen: dict[str, Any]) -> str:
    has_metastore = (settings.lake.home / "metastore").exists()
    return json.dumps(seen | _versions(settings, is_bronze=False) | {"has_metastore": has_metastore}, indent=1)


def _versions(settings: Settings, *, is_bronze: bool) -> dict[str, int]:
    names = [name for name in tables_of(settings.lake) if name.startswith("bronze.") == is_bronze]
    return {name: open_table(settings.lake, name).version() for name in names}


def _digest(project: Path, options: Sequence[str | None]) -> str:
    """Hash all that a build depends on besides the lake: the project's files, the options, and dbt's variables."""
    variables = sorted((name, value) for name, value in os.environ.items() if name.startswith("DBT_"))
    digest = hashlib.sha256(repr((list(options), variables)).encode())
    for path in _code(project):
        digest.update(f"{path.relative_to(project)} {hashlib.sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()


def _code(project: Path) -> Iterator[Path]:
    for name in CODE:
        for path in sorted([project / name, *(project / name).rglob("*")]):
            if path.is_file() and "__pycache__" not in path.parts:
                yield path
