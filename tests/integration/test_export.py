"""Exported files hold the table's rows, under whatever folder's name, and nothing is overwritten."""

from __future__ import annotations

import csv
import os
from typing import TYPE_CHECKING

import pytest
from deltalake import convert_to_deltalake

from tests.integration.lakes import difference, read_table
from tests.integration.worker import run_process

if TYPE_CHECKING:
    from pathlib import Path
    from subprocess import CompletedProcess

TABLE = "gold.enriched_driver_events"


def export(built: tuple[Path, Path], folder: Path, table: str = TABLE, *options: str) -> CompletedProcess[str]:
    command = ["python", "-m", "ingest", "export", "--table", table, "--to", str(folder), *options]
    return run_process(*command, LAKE_ROOT=str(built[1]))


def test_parquet_files_have_every_row(built: tuple[Path, Path], tmp_path: Path) -> None:
    folder = tmp_path / "ö %20#[x]?'" / "files"
    result = export(built, folder)
    rows = read_table(built[1], TABLE)
    assert result.stdout == f"{len(rows):,} rows of {TABLE} in {folder}\n"
    os.rename(folder, tmp_path / "plain")  # noqa: PTH104 - the reader below takes no odd names
    convert_to_deltalake(str(tmp_path / "plain"))
    assert difference(read_table(tmp_path, "plain"), rows) == []


def test_csv_files_have_every_row(built: tuple[Path, Path], tmp_path: Path) -> None:
    assert export(built, tmp_path / "files", TABLE, "--format", "csv").returncode == 0
    found = []
    for path in (tmp_path / "files").iterdir():
        with path.open(encoding="utf-8", newline="") as file:
            found += [(row["driver_id"], row["company_name"]) for row in csv.DictReader(file)]
    rows = read_table(built[1], TABLE)
    assert sorted(found) == sorted((row["driver_id"], row["company_name"] or "") for row in rows)


@pytest.mark.parametrize(
    ("table", "folder", "sentence"),
    [
        (TABLE, "there", "is there already"),
        ("gold.nothing", "new", "has no table gold.nothing, only audit."),
        ("bronze.driver_events", "new", "has lists (_unknown_keys), which CSV cannot hold"),
    ],
)
def test_what_cannot_be_exported_is_refused(
    built: tuple[Path, Path], tmp_path: Path, table: str, folder: str, sentence: str
) -> None:
    (tmp_path / "there").mkdir()
    result = export(built, tmp_path / folder, table, "--format", "csv")
    assert (result.returncode, sentence in result.stderr) == (2, True), result.stderr
    assert [path.name for path in tmp_path.iterdir()] == ["there"]


def test_a_disk_that_is_full_is_not_taken_for_a_damaged_table(built: tuple[Path, Path], tmp_path: Path) -> None:
    limited = (
        "import resource, runpy, sys; resource.setrlimit(resource.RLIMIT_FSIZE, (1000, 1000));"
        " sys.argv[0] = 'ingest'; runpy.run_module('ingest', run_name='__main__')"
    )
    command = ("python", "-c", limited, "export", "--table", TABLE, "--to", str(tmp_path / "files"))
    result = run_process(*command, LAKE_ROOT=str(built[1]))
    assert (result.returncode, "see whether its disk is full" in result.stderr) == (2, True), result.stderr
    assert list(tmp_path.iterdir()) == []
