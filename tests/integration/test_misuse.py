"""A user's mistake, or damage that a person must see to: one sentence, exit code 2, and nothing is changed."""

from __future__ import annotations

import fcntl
import os
import re
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from ingest import spark as ingest_spark
from ingest.errors import IngestError
from ingest.provision import has_bundled_java
from tests.integration.worker import PROJECT, copy_project, run_process

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from pyspark.sql import SparkSession

SOURCES = "models/bronze/_sources.yml"
PROFILE = "profiles/profiles.yml"


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return copy_project(tmp_path_factory.mktemp("misuse") / "project")


def contents(folder: Path) -> dict[str, bytes]:
    """Give all files of a lake, but for locks and what is staged, which nobody reads."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.suffix not in {".lock", ".lck"} and folder / "staging" not in path.parents
    }


def refused(lake: Path, *command: str, folder: Path = PROJECT, **environment: str) -> str:
    """Run a command that must be refused; give what it says."""
    before = contents(lake)
    where = {"LAKE_ROOT": str(lake), "DBT_TARGET_PATH": f"{lake}-target", "DBT_LOG_PATH": f"{lake}-logs"}
    result = run_process(*command, folder=folder, **(where | environment))
    said = result.stdout + result.stderr
    assert result.returncode == 2, said
    assert "Traceback" not in said
    assert "\tat " not in said
    assert contents(lake) == before
    return said


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["lod"], "No such command 'lod'"),
        (["--setle", "3"], "No such option '--setle'"),
        (["--settle", "soon"], "wanted a time of at most a day, such as 0.5s, 10s or 5m; found 'soon'"),
        (["--settle", "-1"], "found '-1'"),
        (["--settle", "inf"], "found 'inf'"),
        (["--settle", "nan"], "found 'nan'"),
        (["--max-record-bytes", "0"], "0 is not in the range"),
        (["--log-format", "xml"], "'xml' is not one of"),
        (["--raw", "{tmp}/nowhere"], "nowhere: the raw files were looked for in this folder: No such file"),
        (["--raw", "{tmp}/file"], "file: the raw files were looked for in this folder: Not a directory"),
        (["--lake", "{tmp}/file/lake"], "file/lake: the lake cannot be written (Not a directory)"),
        (["--lake", "{tmp}/things"], "things: this folder holds other things than a lake"),
        (["verify", "--lake", "{tmp}/nowhere"], "nowhere: there is no lake in this place"),
        (["--lake", "{tmp}", "--raw", "{tmp}/raw"], "raw: the raw files must not lie in the lake"),
        (["--kafka", "{tmp}/nowhere"], "nowhere: the properties of Kafka's client were wanted in this file"),
        (["--kafka", "{tmp}/file"], "file: wanted a line bootstrap.servers=HOST:PORT, found none"),
        (["watch", "--", "--select", "silver"], "options for dbt were given without --build"),
        (["watch", "--keep", "1h"], "--keep was given without --build"),
        (["watch", "--every", "0s"], "wanted a time above zero, such as 0.5s, 10s or 5m; found '0s'"),
        (["watch", "--raw", "{tmp}/nowhere"], "nowhere: the raw files were looked for in this folder: No such file"),
        (["build", "--lake", "{tmp}/things"], "things: this folder holds other things than a lake"),
    ],
)
def test_a_wrong_option_is_refused(tmp_path: Path, raw: Path, lake: Path, arguments: list[str], sentence: str) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "things").mkdir()
    (tmp_path / "things" / "notes.txt").touch()
    named = [argument.format(tmp=tmp_path) for argument in arguments]
    assert sentence in refused(lake, "python", "-m", "ingest", *named, RAW_ROOT=str(raw))
    assert not lake.exists()
    assert [path.name for path in (tmp_path / "things").iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    ("file", "old", "new", "sentence"),
    [
        (
            SOURCES,
            "exclude: [batch_meta.json]",
            "excude: [batch_meta.json]",
            "knows paths, exclude, repeated_content and topics",
        ),
        (SOURCES, 'paths: ["events/**"], ', "", "paths must be one or more patterns"),
        (SOURCES, "repeated_content: skip", "repeated_content: never", "repeated_content must be skip or load"),
        (SOURCES, '["companies*"]', '["events/**"]', "a file could match both"),
        (SOURCES, "- name: companies\n", "- name: driver_events\n", "is declared twice"),
        (SOURCES, "{name: truck_id,", "{name: _truck,", "names that begin with _ are the pipeline's own"),
        (SOURCES, "{name: truck_id,", "{name: Driver_ID,", "are one name to Spark"),
        (SOURCES, "sources:", "sources: [", "this is not YAML"),
        (
            PROFILE,
            "io.delta.sql.DeltaSparkSessionExtension",
            "none",
            "spark.sql.extensions does not name Delta's class",
        ),
        (PROFILE, "  target: local", "  target: laptop", "found otherwise at 'laptop'"),
        (PROFILE, "    local:", "   local: [", "found otherwise at"),
    ],
)
def test_a_wrong_declaration_is_refused(
    project: Path, raw: Path, lake: Path, file: str, old: str, new: str, sentence: str
) -> None:
    (raw / "events" / "a.jsonl").write_bytes(b"{}\n")
    lake.mkdir()
    text = (project / file).read_text(encoding="utf-8")
    assert old in text
    (project / file).write_text(text.replace(old, new, 1), encoding="utf-8")
    try:
        if file == SOURCES:
            said = refused(lake, "python", "-m", "ingest", folder=project, RAW_ROOT=str(raw))
        else:  # what was loaded by then stays
            where = {"LAKE_ROOT": str(lake), "RAW_ROOT": str(raw)}
            result = run_process("python", "-m", "ingest", "build", folder=project, **where)
            said = result.stderr
            assert result.returncode == 2
    finally:
        (project / file).write_text(text, encoding="utf-8")
    assert sentence in said
    assert len(said.strip().splitlines()) == 1


@pytest.mark.skipif(has_bundled_java(), reason="this environment brings its own Java")
@pytest.mark.parametrize(("answer", "found"), [('openjdk version "11.0.2"', "11.0.2"), ("", "none")])
def test_another_java_is_refused(tmp_path: Path, lake: Path, answer: str, found: str) -> None:
    java = tmp_path / "java" / "bin" / "java"
    java.parent.mkdir(parents=True)
    java.write_text(f"#!/bin/sh\necho '{answer}' >&2\n", encoding="utf-8")
    java.chmod(0o755)
    lake.mkdir()
    assert f"Java 17 was wanted, found {found}" in refused(lake, "dbt", "run", JAVA_HOME=str(tmp_path / "java"))


def test_a_target_that_the_profile_does_not_have_is_refused(raw: Path, lake: Path) -> None:
    lake.mkdir()
    assert "found otherwise at 'laptop'" in refused(
        lake, "python", "-m", "ingest", DBT_TARGET="laptop", RAW_ROOT=str(raw)
    )


def test_missing_jars_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ingest_spark, "SPARK_HOME", tmp_path)
    settings = {
        "spark.sql.extensions": "io.delta.sql.DeltaSparkSessionExtension",
        "spark.sql.catalog.spark_catalog": "org.apache.spark.sql.delta.catalog.DeltaCatalog",
    }
    with pytest.raises(IngestError, match=r"delta-spark_2.12-.*jar.*run 'make setup'"):
        ingest_spark.check_environment(PROJECT, settings)


def test_options_that_dbt_does_not_know_are_refused(raw: Path, lake: Path) -> None:
    for command in ("build", "watch --build"):
        words = ("python", "-m", "ingest", *command.split(), "--", "--selct", "silver")
        result = run_process(*words, RAW_ROOT=str(raw), LAKE_ROOT=str(lake))
        assert result.returncode == 2
        assert result.stderr == "error: dbt does not take these options: No such option '--selct'.\n"


def test_one_process_at_a_time_loads_and_one_builds(raw: Path, lake: Path) -> None:
    lake.mkdir()
    for name, doing, commands in [
        ("ingest.lock", "is loading into this lake", [["python", "-m", "ingest"]]),
        ("build.lock", "is running dbt on this lake", [["dbt", "run"], ["python", "-m", "ingest", "build"]]),
    ]:
        with (lake / name).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            lock.write("4711")
            lock.flush()
            for command in commands:
                said = refused(lake, *command, RAW_ROOT=str(raw))
                assert f"{lake}: process 4711 {doing}; try again when it is done." in said


def test_a_damaged_table_log_is_named_by_every_command(raw: Path, lake: Path, load: Callable[..., Any]) -> None:
    (raw / "events" / "a.jsonl").write_bytes(b"{}\n")
    load()
    for table in ("driver_events", "source_files"):
        commit = lake / "bronze" / table / "_delta_log" / f"{0:020}.json"
        whole = commit.read_bytes()
        damaged = re.escape(f"bronze.{table}: its Delta log cannot be read") + ".*" + re.escape(str(commit))
        for kept in (0, len(whole) // 2, len(whole) - 5):
            commit.write_bytes(whole[:kept])
            with pytest.raises(IngestError, match=damaged):
                load()
        for command in (["python", "-m", "ingest"], ["dbt", "run"]):
            assert re.search(damaged, refused(lake, *command, RAW_ROOT=str(raw)))
        commit.write_bytes(whole)


def test_a_damaged_metastore_is_named_with_the_cure(lake: Path) -> None:
    (lake / "metastore").mkdir(parents=True)
    (lake / "metastore" / "service.properties").write_bytes(b"#")
    (lake / "build.lock").touch()
    said = refused(lake, "dbt", "run")
    assert "the metastore is damaged" in said
    assert "delete this folder" in said


def test_a_table_of_another_project_is_not_written(
    raw: Path, lake: Path, load: Callable[..., Any], spark: SparkSession
) -> None:
    (raw / "events" / "a.jsonl").write_bytes(b"{}\n")
    spark.range(3).write.format("delta").save(f"{lake}/bronze/driver_events")
    with pytest.raises(IngestError, match="holds other things than a lake"):
        load()
    (lake / "ingest.lock").touch()
    before = contents(lake)
    with pytest.raises(IngestError, match="no table of this pipeline"):
        load()
    assert contents(lake) == before


def test_a_load_number_that_a_table_knows_already_is_refused(raw: Path, lake: Path, load: Callable[..., Any]) -> None:
    """Delta would skip the append without a word; the records would be lost."""
    (raw / "events" / "a.jsonl").write_bytes(b'{"event_id":"1"}\n')
    load()
    shutil.rmtree(lake / "bronze" / "source_files")
    (raw / "events" / "a.jsonl").write_bytes(b'{"event_id":"2"}\n')
    before = contents(lake)
    with pytest.raises(IngestError, match=r"has records of load 1, but bronze.source_files knows of none"):
        load()
    assert contents(lake) == before


def test_a_lake_on_a_read_only_disk_is_refused_and_read_only_raw_files_are_fine(raw: Path, lake: Path) -> None:
    (raw / "events" / "a.jsonl").write_bytes(b"{}\n")
    lake.mkdir()
    script = 'mount --bind "$1" "$1" && mount -o remount,ro,bind "$1" && exec "$2" -m ingest --settle 0'
    for folder, code in ((lake, 2), (raw, 0)):
        in_own_mounts = ["unshare", "--user", "--map-root-user", "--mount", "sh", "-c", script, "sh", str(folder)]
        if shutil.which("unshare") is None:
            pytest.skip("a read-only disk needs a mount of one's own")
        result = run_process(
            "python", "-c", f"import os, sys; os.execvp('unshare', {in_own_mounts!r} + [sys.executable])",
            LAKE_ROOT=str(lake), RAW_ROOT=str(raw),
        )  # fmt: skip
        assert result.returncode == code, result.stderr
        if code:
            assert f"{lake}: the lake cannot be written (Read-only file system)" in result.stderr


def test_the_lake_is_its_owners_only_unless_it_was_there(raw: Path, lake: Path) -> None:
    old_mask = os.umask(0o022)
    try:
        assert run_process("python", "-m", "ingest", LAKE_ROOT=str(lake), RAW_ROOT=str(raw)).returncode == 0
    finally:
        os.umask(old_mask)
    assert lake.stat().st_mode & 0o777 == 0o700
    lake.chmod(0o750)
    assert run_process("python", "-m", "ingest", LAKE_ROOT=str(lake), RAW_ROOT=str(raw)).returncode == 0
    assert lake.stat().st_mode & 0o777 == 0o750
