"""The Spark session of ingest, with the settings of the dbt profile."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2
import pyspark
import yaml
from pyspark.sql import SparkSession

from ingest.errors import IngestError

if TYPE_CHECKING:
    from ingest.load import Settings


DELTA_JARS = Path(pyspark.__file__).parent / "jars"


def start_spark(settings: Settings, *, with_metastore: bool) -> SparkSession:
    """Start Spark, or join the session of this process.

    Ingest writes by path and leaves the metastore, which one process at a time can open, to dbt.
    """
    if not any(DELTA_JARS.glob("delta-spark_*.jar")):
        message = "Delta's JARs are not in this environment: run 'make setup', which fetches them."
        raise IngestError(message)
    builder = SparkSession.builder.config("spark.sql.catalogImplementation", "hive" if with_metastore else "in-memory")
    for key, value in profile_settings(settings).items():
        builder.config(key, value)
    return builder.getOrCreate()


def profile_settings(settings: Settings) -> dict[str, str]:
    """Read the Spark settings of the profile's target, filled in as dbt does for this lake."""
    text = (settings.project / "profiles" / "profiles.yml").read_text(encoding="utf-8")
    environment = os.environ | {"LAKE_ROOT": str(settings.lake.root)}
    profile: dict[str, Any] = yaml.safe_load(jinja2.Template(text).render(env_var=environment.get))["medallion"]
    conf: dict[str, str] = profile["outputs"][profile["target"]]["server_side_parameters"]
    return conf
