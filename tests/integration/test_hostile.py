"""Odd names, odd values and an odd environment, all the way to gold: everything arrives, unchanged and unleaked."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from deltalake import DeltaTable

from ingest.build import inputs, is_built, remember
from ingest.lake import Lake, open_table, tables_of
from ingest.load import Settings
from ingest.scanning import Limits
from tests.integration.lakes import difference, read_table, records_of_bronze
from tests.integration.test_faults import TORTURE
from tests.integration.worker import PROJECT, run_process
from tests.reference import RawTree, run

SECRET, CONTENT = "s3cr3t-of-the-environment", "word-that-only-records-have"
VALUES = [
    "O'Brien", 'say "no"', "back\\slash\\n", "new\nline\r\n", "tab\t", "nul\u0000end", "truck \U0001f69a",
    "\u202eright to left\u202c", "caf\u00e9\u0301", "\u2028\u2029", "'); drop table silver.driver_events; --",
    "${jndi:x}",
    "{{ exceptions.raise_compiler_error('x') }}", "{% set x = 1 %}", "<script>alert(1)</script>", "=1+1", "%s%n", "`x`",
    "../../etc/passwd", "null", "NaN", "\ufeffmark", "\u00a0", "\U0010ffff", CONTENT,
]  # fmt: skip
TIMES = ["1850-01-01T00:00:00Z", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59Z", "1e-2147483647", "1" * 1_000_000]
NAMES = [
    b"_x/_a.jsonl", b".x/.a.jsonl", b"a:b.jsonl", b"[x]*?.jsonl", b"{a,b}.jsonl", b"%20 %2520.jsonl", b"dt=1/x.jsonl",
    b"company_id=5/x.JSONL", b"top.NdJson", "\u00e9.jsonl".encode(), b"\xff\xfe.jsonl", b"back\\slash.jsonl",
    b"new\nline.jsonl", b"quote'\".jsonl", b"x._COPYING_/a.jsonl", b"-rf.jsonl", b"$(id).jsonl", b"..jsonl",
    b"{{ x }}.jsonl", b"deep/" * 40 + b"a.jsonl", b"x" * 249 + b".jsonl",
]  # fmt: skip


def write_hostile_tree(raw: Path) -> None:
    """Write a file of each name; each event and company has hostile values, and every file one broken line."""
    raw.mkdir()
    companies = [{"company_id": value, "name": value[::-1], "sector": value, "active": "true"} for value in VALUES]
    companies += [{"company_id": time, "created_at": time} for time in TIMES]
    (raw / "companies.jsonl").write_text("".join(json.dumps(company) + "\n" for company in companies), encoding="utf-8")
    for number, name in enumerate(NAMES):
        lines = [f'{{"driver_id":"{CONTENT}", broken in file {number}']
        for minute, value in enumerate(VALUES):
            event = {
                "event_id": value, "driver_id": f"{value}-{number}", "company_id": VALUES[minute - number % 3],
                "truck_id": value, "event_type": ["start", "stop", "delivered"][(minute + number) % 3],
                "event_timestamp": f"2024-03-10T0{minute % 3}:{minute:02}:00", "payload": {value: [value]}, value: 1,
            }  # fmt: skip
            lines.append(json.dumps(event, ensure_ascii=minute % 2 == 0))
        path = os.fsencode(raw) + b"/events/" + name
        os.makedirs(os.path.dirname(path), exist_ok=True)  # noqa: PTH103, PTH120 - pathlib has no paths of bytes
        with open(path, "wb") as file:  # noqa: PTH123
            file.write("\n".join(lines).encode() + b"\n")
    os.mkfifo(raw / "events" / "pipe.jsonl")
    (raw / "events" / "out.jsonl").symlink_to("/etc/passwd")
    (raw / "events" / "in.jsonl").symlink_to(raw / "events" / "top.NdJson")
    (raw / "events" / "loop").symlink_to(raw)


def listening(group: int) -> set[str]:
    """Give the local addresses at which processes of a group listen, as the kernel writes them."""
    sockets: set[str] = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if os.getpgid(int(process.name)) != group:
                continue
            inodes = {str(link.readlink()) for link in (process / "fd").iterdir()}
            for table in ("tcp", "tcp6", "udp", "udp6"):
                for line in (process / "net" / table).read_text().splitlines()[1:]:
                    fields = line.split()
                    if f"socket:[{fields[9]}]" in inodes and fields[3] in {"0A", "07"}:
                        sockets.add(fields[1].partition(":")[0])
        except (OSError, ProcessLookupError):
            continue
    return sockets


LOOPBACK = {"0100007F", "0000000000000000FFFF00000100007F", "00000000000000000000000001000000"}


ONE_CORE = ("taskset", "--cpu-list", "0")
BUILD = ("-m", "ingest", "build", "--log-format", "json", "--", "--exclude-resource-type", "test")


def odd_environment(folder: Path) -> dict[str, str]:
    return {
        "LAKE_ROOT": str(folder / "lake"), "RAW_ROOT": str(folder / "raw"), "LC_ALL": "C",
        "TZ": "America/New_York", "PWD": "/nowhere", "AWS_SECRET_ACCESS_KEY": SECRET, "MY_TOKEN": SECRET,
        "DBT_TARGET_PATH": str(folder / "target"), "DBT_LOG_PATH": str(folder / "logs"),
    }  # fmt: skip


@pytest.fixture(scope="module")
def hostile(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, set[str]]:
    """Load and build the tree as cron would in a bad place; gives the folder, the output and who listened."""
    folder = tmp_path_factory.mktemp("hostile")
    write_hostile_tree(folder / "raw")
    elsewhere = folder / "elsewhere"
    elsewhere.mkdir()
    process = subprocess.Popen(
        [*(ONE_CORE if TORTURE else ()), sys.executable, *BUILD],
        cwd=elsewhere,
        env=os.environ | odd_environment(folder),
        stdout=(folder / "output").open("w"),
        stderr=subprocess.STDOUT,
        start_new_session=True,
    )  # fmt: skip
    sockets: set[str] = set()
    while process.poll() is None:
        sockets |= listening(process.pid)
        try:
            process.wait(0.2)
        except subprocess.TimeoutExpired:
            continue
    output = (folder / "output").read_text(encoding="utf-8", errors="replace")
    assert process.returncode == 0, output[-3000:]
    return folder, output, sockets


def test_every_record_of_every_name_is_there_as_it_came(hostile: tuple[Path, str, set[str]]) -> None:
    folder, _, _ = hostile
    lake = folder / "lake"
    (loaded_at,) = {row["_loaded_at"] for row in read_table(lake, "bronze.source_files")}
    undisturbed = RawTree(folder / "raw").load(load_id=1, loaded_at=loaded_at)
    bronze = records_of_bronze(lake)
    for feed, records in undisturbed.items():
        assert sorted(map(repr, bronze[feed])) == sorted(map(repr, records))
    assert len(bronze["driver_events"]) == len(NAMES) * (len(VALUES) + 1)
    for table, wanted in run([undisturbed]).items():
        assert difference(read_table(lake, table), wanted) == [], table
    names = {row["company_name"] for row in read_table(lake, "gold.enriched_driver_events")}
    assert {value[::-1] for value in VALUES if value.strip()} <= names | {None}


def test_what_is_no_feeds_file_is_listed_with_its_reason(hostile: tuple[Path, str, set[str]]) -> None:
    folder, _, _ = hostile
    manifest: dict[str, Any] = json.loads(next((folder / "lake" / "manifests").iterdir()).read_text(encoding="utf-8"))
    reasons = {entry["path"]: entry["reason"] for entry in manifest["ignored"]}
    assert reasons.keys() == {"events/pipe.jsonl", "events/out.jsonl", "events/in.jsonl", "events/loop"}
    assert "leaves the raw root" in reasons["events/out.jsonl"]


def test_only_loopback_is_listened_at(hostile: tuple[Path, str, set[str]]) -> None:
    _, _, sockets = hostile
    assert sockets
    assert sockets <= LOOPBACK


def test_neither_records_nor_secrets_leave_the_tables(hostile: tuple[Path, str, set[str]]) -> None:
    folder, output, _ = hostile
    assert CONTENT not in output
    assert SECRET not in output
    files = [path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()]
    for path in files:
        content = path.read_bytes()
        assert SECRET.encode() not in content, path
        is_told = {"logs", "target", "manifests"} & set(path.relative_to(folder).parts)
        assert not is_told or CONTENT.encode() not in content, path
    assert any("logs" in path.parts for path in files)


def test_names_are_escaped_in_the_log(hostile: tuple[Path, str, set[str]]) -> None:
    _, output, _ = hostile
    lines = [line for line in output.splitlines() if line.startswith("{")]
    told = {json.loads(line).get("file") for line in lines}
    assert "events/new\nline.jsonl" in told
    assert not any(re.search(r"[\x00-\x08\x0e-\x1f]", line) for line in lines)
    # dbt's part of the log begins after the load's last line, with lines of its own form
    assert {"stage", "info"} <= {key for line in lines for key in json.loads(line)}


def test_the_lake_is_closed_to_others(hostile: tuple[Path, str, set[str]]) -> None:
    folder, _, _ = hostile
    assert (folder / "lake").stat().st_mode & 0o777 == 0o700
    assert (folder / "lake" / "metastore").is_dir()


def test_the_tables_can_be_verified_from_the_raw_files(hostile: tuple[Path, str, set[str]]) -> None:
    folder, _, _ = hostile
    result = subprocess.run(
        [sys.executable, "-m", "ingest", "verify", "--lake", str(folder / "lake"), "--raw", str(folder / "raw")],
        cwd=PROJECT, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout
    assert f"{len(NAMES) + 1} raw files compared" in result.stdout


def test_a_build_with_nothing_new_starts_neither_java_nor_dbt(
    hostile: tuple[Path, str, set[str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, _, _ = hostile
    for name, value in odd_environment(folder).items():
        monkeypatch.setenv(name, value)
    lake = Lake(folder / "lake")
    before = {name: open_table(lake, name).version() for name in tables_of(lake)}
    result = run_process("python", "-X", "importtime", *BUILD)
    assert (result.returncode, "nothing is new" in result.stdout) == (0, True), result.stdout
    assert not re.search(r"\b(pyspark|dbt)\b", result.stderr)
    assert {name: open_table(lake, name).version() for name in tables_of(lake)} == before
    settings = Settings(project=PROJECT, raw=folder / "raw", lake=lake, limits=Limits())
    options = BUILD[-2:]
    assert is_built(settings, options)
    assert not is_built(settings, [*options, "--full-refresh"])
    monkeypatch.setenv("DBT_TARGET", "cluster")
    assert not is_built(settings, options)
    monkeypatch.delenv("DBT_TARGET")
    DeltaTable(lake.table("silver.driver_events")).alter.set_table_description("changed by another")
    assert not is_built(settings, options)
    seen = inputs(settings, options)
    DeltaTable(lake.table("bronze.driver_events")).alter.set_table_description("loaded while the build ran")
    remember(settings, seen)
    assert not is_built(settings, options), "a load that came during the build is still to be built"
    remember(settings, inputs(settings, options))
    assert is_built(settings, options)
