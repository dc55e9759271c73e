"""What tests of whole loads and builds have in common."""

from __future__ import annotations

import shutil
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from ingest.lake import Lake
from ingest.load import Settings, run_load
from ingest.report import Report
from ingest.sample import write_sample
from ingest.scanning import Limits
from ingest.spark import start_spark
from tests.integration.lakes import loaded_at, snapshot
from tests.integration.worker import BUILD, BUILD_UNTESTED, PROJECT, Worker
from tests.reference import RawTree

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pyspark.sql import SparkSession

    from ingest.manifest import Manifest

Tables = dict[str, list[dict[str, Any]]]


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    folder = tmp_path_factory.mktemp("spark")
    session = start_spark(PROJECT, Lake(folder))
    yield session
    session.stop()


@pytest.fixture
def raw(tmp_path: Path) -> Path:
    folder = tmp_path / "raw"
    (folder / "events").mkdir(parents=True)
    return folder


@pytest.fixture
def lake(tmp_path: Path) -> Path:
    return tmp_path / "lake"


@pytest.fixture
def load(raw: Path, lake: Path) -> Callable[..., list[Manifest]]:
    """Give a function that loads `raw` into `lake`; its keywords are limits."""
    return partial(run_one_load, raw, lake)


def run_one_load(  # every option of the command that a test needs
    raw: Path, lake: Path, *, project: Path = PROJECT, settle_seconds: float = 0, **limits: int
) -> list[Manifest]:
    settings = Settings(project, raw, Lake(lake), Limits(settle_seconds=settle_seconds, **limits))
    return run_load(settings, Report("text"))


@pytest.fixture(scope="session")
def sample_of_two_days(tmp_path_factory: pytest.TempPathFactory) -> tuple[Worker, Tables, list[Any]]:
    """Load and build day 1, then day 2; gives the tables, and what the reference read at each load."""
    folder = tmp_path_factory.mktemp("sample")
    raw, lake = folder / "raw", folder / "lake"
    worker = Worker(lake, raw)
    tree = RawTree(raw)
    loads = []
    for load_id in (1, 2):
        write_sample(raw, batches=4, events_per_batch=500, companies=220, seed=7, grow=load_id == 2)
        assert worker.load() == 0
        loads.append(tree.load(load_id=load_id, loaded_at=loaded_at(lake, load_id)))
        assert worker.dbt(*(BUILD if load_id == 2 else BUILD_UNTESTED)) == 0  # the second build tests both loads
    for name in ("raw", "lake"):
        shutil.copytree(folder / name, folder / "kept" / name)
    shutil.copy(folder / "raw.truth.jsonl", folder / "kept")
    return worker, snapshot(lake), loads


@pytest.fixture(scope="session")
def built(sample_of_two_days: tuple[Worker, Tables, list[Any]]) -> tuple[Path, Path]:
    """Give a copy of the raw files of the two days and of their lake, to be read only."""
    folder = sample_of_two_days[0].lake.parent / "kept"
    return folder / "raw", folder / "lake"
