"""One Spark session for all tests that load without dbt."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING

import pytest

from ingest.lake import Lake
from ingest.load import Settings, run_load
from ingest.report import Report
from ingest.spark import start_spark
from ingest.staging import Limits
from tests.integration.worker import PROJECT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from pyspark.sql import SparkSession

    from ingest.manifest import Manifest


@pytest.fixture(scope="session")
def spark(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SparkSession]:
    folder = tmp_path_factory.mktemp("spark")
    session = start_spark(PROJECT, Lake(folder), with_metastore=False)
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
def load(raw: Path, lake: Path, spark: SparkSession) -> Callable[..., list[Manifest]]:
    """Give a function that loads `raw` into `lake`; its keywords are limits."""

    return partial(run_one_load, raw, lake, spark)


def run_one_load(  # every option of the command that a test needs
    raw: Path, lake: Path, spark: SparkSession, *, project: Path = PROJECT, settle_seconds: float = 0, **limits: int
) -> list[Manifest]:
    settings = Settings(project, raw, Lake(lake), Limits(settle_seconds=settle_seconds, **limits))
    return run_load(settings, Report("text"), lambda: spark)
