"""The Spark session of ingest and dbt, with the settings of the dbt profile."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import time
from typing import TYPE_CHECKING, Any

from py4j.protocol import Py4JError
from pyspark import SparkContext
from pyspark.errors import PySparkException
from pyspark.sql import SparkSession

from ingest.errors import IngestError
from ingest.lake import has_table
from ingest.profile import read_profile
from ingest.provision import CLASS_ARCHIVE, JARS, SPARK_HOME, java_version

if TYPE_CHECKING:
    from pathlib import Path

    from ingest.lake import Lake

LOCK_SECONDS, END_SECONDS = 60, 30
METASTORE_BYTES = 4 << 20
JAVA_OPTIONS, SHORT_RUN_OPTIONS = "spark.driver.extraJavaOptions", "spark.driver.defaultJavaOptions"


def start_spark(project: Path, lake: Lake, target: str | None = None, *, is_short_run: bool = True) -> SparkSession:
    """Start Spark as a target of the profile (its default, unless named) has it, or join the session of this process.

    A target with a server of its own leaves the metastore to that. What is no short run lets Java optimize its code as
    Java does. Raises IngestError if the environment or the profile is not fit for it.
    """
    session = SparkSession.getActiveSession()
    if session is not None:
        return session
    profile = read_profile(project, lake, target)
    settings = profile["server_side_parameters"]
    check_environment(project, settings)
    if not is_short_run:
        settings.pop(SHORT_RUN_OPTIONS, None)
    catalog = "hive" if profile["method"] == "session" else "in-memory"
    builder = SparkSession.builder.config("spark.sql.catalogImplementation", catalog)
    for key, value in settings.items():
        builder.config(key, value)
    if CLASS_ARCHIVE.exists():
        options = (settings.get(JAVA_OPTIONS, ""), f'"-XX:SharedArchiveFile={CLASS_ARCHIVE}"', "-Xlog:disable")
        builder.config(JAVA_OPTIONS, " ".join(options))
    # Java's files, its scratch in /tmp among them, are for those who may read the lake.
    mask = os.umask(~lake.home.stat().st_mode & 0o077)
    try:
        return builder.getOrCreate()
    finally:
        os.umask(mask)


def check_environment(project: Path, settings: dict[str, str]) -> None:
    """See that Java 17, Delta's JARs and Delta's settings are there, without which Spark fails in many words."""
    for key in ("spark.sql.extensions", "spark.sql.catalog.spark_catalog"):
        if "io.delta." not in settings.get(key, "") and "org.apache.spark.sql.delta" not in settings.get(key, ""):
            message = (
                f"{project / 'profiles' / 'profiles.yml'}: {key} does not name Delta's class, found "
                f"{settings.get(key)!r}; without it no table is a Delta table. Put the line back."
            )
            raise IngestError(message)
    missing = [name for name in JARS if not (SPARK_HOME / "jars" / name).exists()]
    if missing:
        message = (
            f"Delta's JARs are not in this environment ({', '.join(missing)}): run 'make setup', which fetches them."
        )
        raise IngestError(message)
    version = java_version()
    if not version.startswith("17"):
        message = (
            f"Java 17 was wanted, found {version or 'none'}: set JAVA_HOME to one, or delete .venv and run "
            "'make setup', which then brings its own."
        )
        raise IngestError(message)


def lock_in_java(session: SparkSession, lock: Path) -> Any:
    """Let Java hold a lock too until what is given is closed: it may outlive a killed Python for a last commit."""
    jvm: Any = session._jvm  # noqa: SLF001 - there is no other way to Java
    channel = jvm.java.io.RandomAccessFile(str(lock), "rw").getChannel()
    give_up_at = time.monotonic() + LOCK_SECONDS
    while channel.tryLock() is None:
        if time.monotonic() > give_up_at:
            message = f"{lock}: a Java process of an earlier run still holds this file; end it, then run again."
            raise IngestError(message)
        time.sleep(0.1)
    return channel


def end_java() -> None:
    """End the Java that this process has started, if any, by force if it does not end by itself."""
    gateway: Any = SparkContext._gateway  # noqa: SLF001 - there is no other way to Java
    if gateway is None:
        return
    gateway._gateway_client.is_connected = False  # noqa: SLF001 - else it tells a dying Java what Python has let go
    gateway.proc.stdin.close()
    try:
        gateway.proc.wait(END_SECONDS)
    except subprocess.TimeoutExpired:
        gateway.proc.kill()
        gateway.proc.wait()


def check_metastore(session: SparkSession, lake: Lake, *, is_in_use: bool) -> None:
    """See that the metastore can be opened, which Derby refuses in a thousand lines. Raises IngestError.

    What a metastore leaves that was deleted while it was in use is none, and goes; but not under a process that has it
    in use, which would go on in memory.
    """
    folder = lake.home / "metastore"
    is_whole = (folder / "service.properties").exists()
    if is_in_use and not is_whole:
        message = (
            f"{folder}: the metastore was deleted while this process had it open; run again in a new one: every table "
            "is found by its folder."
        )
        raise IngestError(message)
    if folder.exists() and not is_whole:
        shutil.rmtree(folder)
    try:
        session.sql("show databases").collect()
    except (PySparkException, Py4JError) as error:
        with tempfile.TemporaryFile(dir=lake.home) as probe:
            probe.write(bytes(METASTORE_BYTES))  # a full disk speaks for itself
        message = (
            f"{folder}: the metastore is damaged, or open in another program; close that, or delete "
            "this folder, and run again: every table is found by its folder."
        )
        raise IngestError(message) from error


def forget_lost_tables(session: SparkSession, lake: Lake) -> None:
    """Take out of the metastore each table whose folder was deleted, so that dbt makes it again."""
    jvm_session: Any = session._jsparkSession  # noqa: SLF001 - Spark's own question reads the log of every table
    catalog = jvm_session.sharedState().externalCatalog()
    for schema in catalog.listDatabases().mkString("/").split("/"):
        for table in filter(None, catalog.listTables(schema).mkString("/").split("/")):
            if has_table(lake, name := f"{schema}.{table}"):
                continue
            entry = catalog.getTable(schema, table)
            if entry.tableType().name() != "VIEW" and _path(entry.location()) == str(lake.table(name)):
                catalog.dropTable(schema, table, True, False)  # noqa: FBT003 - Java: ignore if missing, do not purge


def _path(location: Any) -> str:
    authority = location.getAuthority()
    return f"{location.getScheme()}://{authority}{location.getPath()}" if authority else str(location.getPath())
