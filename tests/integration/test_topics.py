"""Topics of Kafka as raw input: what is staged of them, and that no kill loses or doubles a message."""

from __future__ import annotations

import os
import random
import re
import signal
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from subprocess import TimeoutExpired
from typing import TYPE_CHECKING

import pyarrow.parquet as pq
import pytest
from click.testing import CliRunner
from confluent_kafka import Producer
from deltalake import DeltaTable

from deploy.broker import make_topic, produce
from ingest import topics
from ingest.cli import commands
from ingest.errors import IngestError
from ingest.feeds import Feed
from ingest.lake import Lake
from ingest.scanning import Limits
from ingest.topics import read_config, stage_messages
from ingest.versions import Load
from tests.brokers import delete_messages, delete_topic, running_broker
from tests.integration.lakes import read_table
from tests.integration.test_faults import LOAD_STEPS, SEED, TORTURE, Deployment, ends_with
from tests.integration.worker import BUILD_UNTESTED, Worker

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from ingest.versions import FileVersion, StagedLoad

KILLS, MESSAGES = (20, 100_000) if TORTURE else (2, 600)
PARTITIONS = 3
# Those that every load comes by.
STEPS = [step for step in LOAD_STEPS if ".load:write_m" in step or (".bronze:" in step and not step.endswith(":2"))]


@pytest.fixture(scope="module")
def properties(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    with running_broker(tmp_path_factory.mktemp("broker")) as path:
        yield path


class Reader:
    """Stages loads of one topic, and remembers them as the lake would."""

    def __init__(self, properties: Path, topic: str, folder: Path, limits: Limits) -> None:
        self.properties, self.topic, self.folder, self.limits = properties, topic, folder, limits
        self.known: dict[str, FileVersion] = {}
        self.others: tuple[str, ...] = ()

    @property
    def feed(self) -> Feed:
        return Feed("driver_events", ("events/**",), (), "skip", ("event_id",), (self.topic, *self.others))

    def stage(self) -> StagedLoad:
        at = datetime.now(UTC)
        config = read_config(self.properties)
        staged = stage_messages(config, [self.feed], self.known, load=Load(1, at, Lake(self.folder), self.limits))
        self.known |= {version.source_file: version for version in staged.versions}
        return staged

    def stage_one(self) -> FileVersion:
        (version,) = self.stage().versions
        return version

    def rows(self) -> list[tuple[int, str, str | None]]:
        """Give offset, text and defect of all records that were staged."""
        parts = sorted(self.folder.rglob("load-*.parquet"), key=lambda path: path.stat().st_mtime_ns)
        rows = [row for part in parts for row in pq.read_table(part).to_pylist()]
        return [(row["_source_line"], row["_raw"], row["_defect"]) for row in rows]


@pytest.fixture
def reader(properties: Path, tmp_path: Path, request: pytest.FixtureRequest) -> Reader:
    topic = request.node.name.replace("_", "-")
    make_topic(properties, topic, 1)
    return Reader(properties, topic, tmp_path, Limits(max_record_bytes=80_000))


def test_every_message_is_a_record_but_one_without_text(reader: Reader) -> None:
    produce(reader.properties, reader.topic, [b'{"a":1}', None, b" \r\n", b"\xff", b"{\n}", b"x" * 80_001])
    version = reader.stage_one()
    assert (version.status, version.first_line, version.lines) == ("loaded", 0, 6)
    assert (version.records, version.blank_lines, version.bytes) == (4, 2, 7 + 3 + 1 + 3 + 80_001)
    assert (version.cut_bytes, version.other_bytes) == (80_001 - (64 << 10), 3)
    assert version.defective_records == 2
    assert reader.rows() == [
        (0, '{"a":1}', None),
        (3, "\ufffd", "invalid_utf8"),
        (4, "{\n}", None),
        (5, "x" * (64 << 10), "too_long"),
    ]
    assert reader.stage().versions == ()


def test_reading_goes_on_where_the_lake_says(reader: Reader) -> None:
    produce(reader.properties, reader.topic, [b"{}"] * 3)
    reader.stage()
    produce(reader.properties, reader.topic, [b"[]"] * 2)
    version = reader.stage_one()
    assert (version.status, version.first_line, version.records) == ("appended", 3, 2)


def test_a_load_ends_where_it_is_full(reader: Reader) -> None:
    reader.limits = Limits(max_load_bytes=10)
    produce(reader.properties, reader.topic, [b"[1,2,3]"] * 5)
    counts = []
    has_more = True
    while has_more:
        staged = reader.stage()
        counts += [version.records for version in staged.versions]
        has_more = staged.has_more
    assert counts == [2, 2, 1]


def begin_transaction(reader: Reader) -> Producer:
    """A producer in a transaction; it begins once the one before has ended on all brokers."""
    producer = Producer({**read_config(reader.properties), "transactional.id": "t"})
    producer.init_transactions()
    producer.begin_transaction()
    return producer


def test_only_committed_transactions_are_read(reader: Reader) -> None:
    producer = begin_transaction(reader)
    producer.produce(reader.topic, b'{"is":"aborted"}')
    producer.flush()
    assert reader.stage().versions == ()
    producer.abort_transaction()
    producer = begin_transaction(reader)
    aborted = reader.stage_one()
    assert (aborted.lines, aborted.blank_lines, aborted.records) == (2, 2, 0)
    producer.produce(reader.topic, b'{"is":"committed"}')
    producer.commit_transaction()
    begin_transaction(reader)
    committed = reader.stage_one()
    assert (committed.first_line, committed.lines, committed.records) == (2, 2, 1)
    assert reader.rows() == [(2, '{"is":"committed"}', None)]


def test_messages_that_were_deleted_unread_are_named(reader: Reader) -> None:
    produce(reader.properties, reader.topic, [b"{}"] * 2)
    reader.stage()
    produce(reader.properties, reader.topic, [b"{}"] * 5)
    delete_messages(reader.properties, reader.topic, before=5)
    staged = reader.stage()
    (version,) = staged.versions
    assert (version.status, version.records, staged.has_more) == ("failed", 0, True)
    assert "the messages 2 to 4 were deleted before they were read" in str(version.reason)
    rest = reader.stage_one()
    assert (rest.status, rest.first_line, rest.records) == ("loaded", 5, 2)


def test_messages_that_the_brokers_lost_are_named_and_the_rest_is_read_again(reader: Reader) -> None:
    produce(reader.properties, reader.topic, [b"{}"] * 2)
    version = reader.stage_one()
    reader.known[version.source_file] = replace(version, lines=5)
    gap = reader.stage_one()
    assert (gap.status, gap.records) == ("failed", 0)
    assert "ends before message 2, but bronze has messages up to 4" in str(gap.reason)
    again = reader.stage_one()
    assert (again.status, again.first_line, again.records) == ("loaded", 0, 2)


def test_a_topic_of_another_feed_is_read_from_its_start(reader: Reader) -> None:
    produce(reader.properties, reader.topic, [b"{}"] * 2)
    version = reader.stage_one()
    reader.known[version.source_file] = replace(version, feed="companies")
    version = reader.stage_one()
    assert (version.status, version.first_line, version.records) == ("loaded", 0, 2)


def test_a_message_of_an_impossible_time_is_read(reader: Reader) -> None:
    produce(reader.properties, reader.topic, [b"{}"], at=1_700_000_000_000_000)
    version = reader.stage_one()
    assert version.modified_at == version.loaded_at


def test_a_topic_that_was_made_anew_is_read_from_its_start(reader: Reader) -> None:
    produce(reader.properties, reader.topic, [b"{}"] * 2)
    reader.stage()
    delete_topic(reader.properties, reader.topic)
    make_topic(reader.properties, reader.topic, 1)
    produce(reader.properties, reader.topic, [b"[]"] * 2)
    version = reader.stage_one()
    assert (version.status, version.first_line, version.records) == ("replaced", 0, 2)


def test_topics_that_cannot_be_read_are_named_and_keep_no_other_from_being_read(reader: Reader) -> None:
    produce(reader.properties, reader.topic, [b"{}"])
    reader.others = ("no-such", "no name")
    staged = reader.stage()
    assert [version.records for version in staged.versions] == [1]
    assert [name for name, _ in staged.unreadable] == ["kafka://no name", "kafka://no-such"]


def test_brokers_that_do_not_answer_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics, "ANSWER_SECONDS", 1)
    properties = tmp_path / "client.properties"
    properties.write_text("# none\nbootstrap.servers = 127.0.0.1:1\n")
    (tmp_path / "raw").mkdir()
    where = ["--raw", str(tmp_path / "raw"), "--lake", str(tmp_path / "lake"), "--kafka", str(properties)]
    result = CliRunner().invoke(commands, ["load", "--dry-run", *where])
    assert result.exit_code == 1
    assert "kafka://127.0.0.1:1: no topic can be read: " in result.output
    assert "Connection refused" in result.output


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("group.id=", "line 2: wanted key=value, found 'group.id='"),
        ("group.id", "line 2: wanted key=value, found 'group.id'"),
        ("grup.id=a", 'does not take these properties: No such configuration property: "grup.id"'),
        ("error_cb=a", "does not take these properties: "),
        ("default.topic.config=a", "does not take these properties: "),
    ],
)
def test_properties_that_the_client_does_not_take_are_refused(tmp_path: Path, line: str, found: str) -> None:
    properties = tmp_path / "client.properties"
    properties.write_text(f"bootstrap.servers=127.0.0.1:1\n{line}\n")
    with pytest.raises(IngestError, match=re.escape(found)):
        read_config(properties)


class TopicDeployment(Deployment):
    """A deployment whose events are messages of a topic; its companies come as files."""

    def __init__(self, folder: Path, properties: Path) -> None:
        super().__init__(folder)
        self.properties = properties
        self.sent: list[bytes] = []

    def send(self, count: int) -> None:
        """Send so many messages, the events of the sample again and again."""
        lines = [line for path in sorted((self.raw / "events").rglob("events.jsonl")) for line in path.open("rb")]
        messages = [lines[number % len(lines)].rstrip(b"\r\n") for number in range(count)]
        produce(self.properties, "driver-events", messages)
        self.sent += [message for message in messages if message.strip()]

    @property
    def environment(self) -> dict[str, str]:
        config = {"KAFKA_CONFIG": str(self.properties), "RAW_ROOT": str(self.folder / "files")}
        return super().environment | config


@pytest.fixture
def deployment(tmp_path: Path, properties: Path) -> TopicDeployment:
    made = TopicDeployment(tmp_path, properties)
    made.next_day()
    (tmp_path / "files").mkdir()
    for path in made.raw.glob("companies*"):
        path.rename(tmp_path / "files" / path.name)
    make_topic(properties, "driver-events", PARTITIONS)
    return made


def test_kills_lose_and_double_no_message(deployment: TopicDeployment) -> None:
    choose = random.Random(SEED)
    kills = 0
    while kills < KILLS:
        deployment.send(MESSAGES // KILLS)
        if kills % 2:
            deployment.die_at(choose.choice(STEPS), "ingest", "--settle", "0")
            kills += 1
            continue
        process = deployment.start("-m", "ingest", "--settle", "0")
        with suppress(TimeoutExpired):
            process.communicate(timeout=choose.uniform(1, 12))
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        code, _ = ends_with(process)
        kills += code == -signal.SIGKILL
    assert deployment.load() == 0
    assert Worker(deployment.lake, deployment.raw).dbt(*BUILD_UNTESTED) == 0
    rows = read_table(deployment.lake, "bronze.driver_events")
    texts = [row["_raw"].encode() if row["_raw_bytes"] is None else row["_raw_bytes"] for row in rows]
    assert sorted(texts) == sorted(deployment.sent)
    assert len({(row["_source_file"], row["_source_line"]) for row in rows}) == len(rows)
    assert {row["_source_file"] for row in rows} <= {f"kafka://driver-events/{number}" for number in range(PARTITIONS)}
    deployment.check()
    event = read_table(deployment.lake, "silver.driver_events")[0]
    where = ("--source-file", event["_source_file"], "--line", str(event["_source_line"]))
    assert deployment.run("-m", "ingest", "trace", *where) == 0
    assert deployment.run("-m", "ingest", "status") == 0
    assert all(row["is_reconciled"] for row in read_table(deployment.lake, "audit.source_file_audit"))
    assert deployment.load() == 0
    assert len(read_table(deployment.lake, "bronze.driver_events")) == len(rows)
    events = DeltaTable(deployment.lake / "bronze" / "driver_events")
    events.update(updates={"driver_id": "'other'"}, predicate="_source_line = 0")
    assert deployment.run("-m", "ingest", "verify") == 1
