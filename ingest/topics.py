"""Topics of Kafka as raw input: each partition is a file, each of its messages a line, whose number is its offset.

The lake alone remembers how far a partition was read: with the messages themselves, in one load. The brokers are
told nothing, so there is nothing that could disagree.
"""

from __future__ import annotations

import hashlib
import time
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from ingest.errors import IngestError
from ingest.parts import PartWriter
from ingest.records import BLANK, Counts, records_of
from ingest.staging import with_counts
from ingest.versions import TOPICS, FileVersion, Part, StagedLoad

try:
    from confluent_kafka import Consumer, KafkaError, KafkaException, Message, TopicCollection, TopicPartition
    from confluent_kafka.admin import AdminClient
except ImportError as error:
    message = "Kafka's client is not in this environment: run 'make cluster', which adds it."
    raise IngestError(message) from error

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from ingest.feeds import Feed
    from ingest.versions import Load

ANSWER_SECONDS = 30
NEXT_ANSWER_SECONDS = 10  # once a partition could not be read: there may be many of its kind
_BATCH_MESSAGES, _BATCH_SECONDS = 10_000, 0.1
DEFAULTS: dict[str, Any] = {"log_level": 0, "group.id": "medallion"}
# A transaction's messages count when it is committed; a partition says at once where it ends for now.
READING = {
    "auto.offset.reset": "error",
    "enable.auto.commit": False,
    "enable.auto.offset.store": False,
    "enable.partition.eof": True,
    "isolation.level": "read_committed",
    "fetch.wait.max.ms": 10,
}


@dataclass(frozen=True)
class Partition:
    """One partition of a topic; `topic_id` tells it from those of a topic that had the same name before."""

    feed: Feed
    topic: str
    topic_id: str
    number: int

    @property
    def name(self) -> str:
        return f"{TOPICS}{self.topic}/{self.number}"

    @property
    def source_file_id(self) -> str:
        """SHA-256 of the topic's id and the number of the partition: its messages have no end to be hashed."""
        return hashlib.sha256(f"{self.topic_id}/{self.number}".encode()).hexdigest()


@dataclass(frozen=True)
class Span:
    """What a partition has: messages from offset `lowest` on, before `end`; of which those from `start` are new."""

    partition: Partition
    old: FileVersion | None
    lowest: int
    end: int

    @property
    def goes_on(self) -> bool:
        return self.old is not None and self.old.source_file_id == self.partition.source_file_id

    @property
    def start(self) -> int:
        return self.old.first_line + self.old.lines if self.old and self.goes_on else self.lowest


@dataclass(frozen=True)
class _Stage:
    """The load that messages are read for, the part of each feed, and what was read of each partition."""

    load: Load
    writers: Mapping[str, PartWriter]
    read: list[FileVersion] = field(default_factory=list)
    counts: list[Counts] = field(default_factory=list)

    @property
    def room(self) -> int:
        """The bytes that the load still takes."""
        return self.load.limits.max_load_bytes - sum(version.bytes for version in self.read)


class _Reader:
    """Counts the messages of a partition as they come, and has their records written."""

    def __init__(self, partition: Partition, writer: PartWriter, max_record_bytes: int) -> None:
        self.bytes = 0
        self.counts = Counts()
        self.hash = hashlib.sha256()
        self._partition, self._writer, self._max_record_bytes = partition, writer, max_record_bytes

    def read(self, offset: int, message: bytes) -> None:
        """Take a message as a record, unless it has no text."""
        self.bytes += len(message)
        if not message.strip(BLANK + b"\n"):
            self.counts.other_bytes += len(message)
            return
        found = records_of([offset], [message], self._max_record_bytes, self.counts)
        self.hash.update(found.records[0] + b"\n")
        self._writer.add(self._partition.name, self._partition.source_file_id, self.counts, found)


def read_config(path: Path) -> dict[str, Any]:
    """Read the properties of Kafka's clients: a line each, `key=value`. Raises IngestError."""
    try:
        lines = [line.strip() for line in path.read_text(encoding="utf-8").splitlines()]
    except (OSError, UnicodeDecodeError) as error:
        message = f"{path}: the properties of Kafka's client were wanted in this file, but it cannot be read: {error}."
        raise IngestError(message) from error
    config: dict[str, Any] = {}
    for number, line in enumerate(lines, start=1):
        key, _, value = (part.strip() for part in line.partition("="))
        if line and not line.startswith("#"):
            if not value:
                message = f"{path}, line {number}: wanted key=value, found {line!r}; correct it, or take it out."
                raise IngestError(message)
            config[key] = value
    if not config.get("bootstrap.servers"):
        message = f"{path}: wanted a line bootstrap.servers=HOST:PORT, found none; add it."
        raise IngestError(message)
    try:
        Consumer({**DEFAULTS, **config, **READING}).close()
    except (KafkaException, AttributeError, TypeError, ValueError) as error:
        what = _sentence(error) if isinstance(error, KafkaException) else error
        message = f"{path}: Kafka's client does not take these properties: {what}; correct the line, or take it out."
        raise IngestError(message) from error
    return config


def stage_messages(
    config: Mapping[str, Any], feeds: Sequence[Feed], known: Mapping[str, FileVersion], *, load: Load
) -> StagedLoad:
    """Read the new messages of the feeds' topics into a part of each feed's table, as many as one load takes.

    `known` is the latest version by name. What cannot be read keeps nothing else from being read.
    """
    stage = _Stage(load, {feed.name: PartWriter(load, feed) for feed in feeds})
    unreadable: list[tuple[str, str]] = []
    causes: list[str] = []
    client = {**DEFAULTS, **config, "error_cb": lambda error: causes.append(error.str())}
    patience, has_more = ANSWER_SECONDS, False
    with ExitStack() as stack:
        for writer in stage.writers.values():
            stack.callback(writer.close)
        try:
            with closing(Consumer({**client, **READING})) as consumer:
                partitions, absent = _partitions(client, feeds)
                unreadable += absent
                for partition in partitions:
                    try:
                        has_more |= _stage_partition(consumer, partition, known.get(partition.name), stage, patience)
                    except KafkaException as error:
                        unreadable.append((partition.name, f"this partition cannot be read: {_sentence(error)}"))
                        patience = NEXT_ANSWER_SECONDS
        except KafkaException as error:
            why = f"no topic can be read: {_sentence(error)}" + (f" ({causes[0]})" if causes else "")
            unreadable.append((f"{TOPICS}{config['bootstrap.servers']}", why))
        parts: dict[str, tuple[Part, ...]] = {
            feed: (part,) for feed, writer in stage.writers.items() if (part := writer.finish())
        }
    versions = tuple(with_counts(version, [counts]) for version, counts in zip(stage.read, stage.counts, strict=True))
    return StagedLoad(versions, parts, () if has_more else tuple(unreadable), has_more=has_more)


def _stage_partition(
    consumer: Consumer, partition: Partition, old: FileVersion | None, stage: _Stage, patience: float
) -> bool:
    """Stage what is new in a partition, if there is room for it; tell whether there is more."""
    place = TopicPartition(partition.topic, partition.number)
    lowest: int
    end: int
    lowest, end = consumer.get_watermark_offsets(place, timeout=patience)
    span = Span(partition, old if old and old.feed == partition.feed.name else None, lowest, end)
    if span.start == end or stage.room <= 0:
        return span.start != end
    load = stage.load
    reader = _Reader(partition, stage.writers[partition.feed.name], load.limits.max_record_bytes)
    if not lowest <= span.start <= end:
        stage.read.append(_gap(span, reader, load))
        stage.counts.append(reader.counts)
        return True
    after, at = _read(consumer, span, reader, max_bytes=stage.room, patience=patience)
    if reader.counts.records:
        reader.counts.record_hashes.append((span.start, reader.hash.hexdigest()))
    if after > span.start:
        stage.read.append(_version(span, reader, after, at or load.loaded_at, load))
        stage.counts.append(reader.counts)
    return span.start < after < end


def _sentence(error: KafkaException) -> str:
    return str(error.args[0].str()).removesuffix(".")


def _partitions(config: dict[str, Any], feeds: Sequence[Feed]) -> tuple[list[Partition], tuple[tuple[str, str], ...]]:
    """Give the partitions of the feeds' topics, and the topics that cannot be read, with a sentence each."""
    feed_of = {topic: feed for feed in feeds for topic in feed.topics}
    partitions: list[Partition] = []
    absent: list[tuple[str, str]] = []
    admin = AdminClient(config)  # answers come as long as it lives
    asked = admin.describe_topics(TopicCollection(list(feed_of)), request_timeout=ANSWER_SECONDS)
    for topic, answer in sorted(asked.items()):
        try:
            found = answer.result()
        except KafkaException as error:
            if error.args[0].code() < 0:  # it is the client's, about all of them
                raise
            cure = f"see to that, or take the topic from {feed_of[topic].name} in models/bronze/_sources.yml"
            absent.append((f"{TOPICS}{topic}", f"this topic cannot be read: {_sentence(error)}; {cure}"))
            continue
        numbers = sorted(partition.id for partition in found.partitions)
        partitions += [Partition(feed_of[topic], topic, str(found.topic_id), number) for number in numbers]
    return partitions, tuple(absent)


def _read(
    consumer: Consumer, span: Span, reader: _Reader, *, max_bytes: int, patience: float
) -> tuple[int, datetime | None]:
    """Read up to the end of the span, or as many bytes; give the offset after that, and the time of the last message.

    What was read before a connection was lost counts. Not every offset has a message: some are of those that were
    compacted away, or say how a transaction ended.
    """
    after, at = span.start, 0
    consumer.assign([TopicPartition(span.partition.topic, span.partition.number, span.start)])
    try:
        for message in _messages(consumer, patience):
            offset = message.offset() or 0
            if message.error() is not None:
                after = max(after, offset)
                break
            reader.read(offset, message.value() or b"")
            after, at = offset + 1, message.timestamp()[1]
            if after >= span.end or reader.bytes >= max_bytes:
                break
    except KafkaException:
        if after == span.start:
            raise
    return after, _time(at)


def _time(milliseconds: int) -> datetime | None:
    """Give the time that a producer wrote, if it is one."""
    try:
        return datetime.fromtimestamp(milliseconds / 1000, UTC) if milliseconds > 0 else None
    except (ValueError, OverflowError):
        return None


def _messages(consumer: Consumer, patience: float) -> Iterator[Message]:
    """Yield messages as they come, and one with an error whenever the partition has no more for now."""
    give_up_at = time.monotonic() + patience
    while time.monotonic() < give_up_at:
        messages = consumer.consume(_BATCH_MESSAGES, _BATCH_SECONDS)
        for message in messages:
            error = message.error()
            if error is not None and error.code() != KafkaError._PARTITION_EOF:  # noqa: SLF001 - its public name
                raise KafkaException(error)
            yield message
        if messages:
            give_up_at = time.monotonic() + patience
    raise KafkaException(KafkaError(KafkaError._TIMED_OUT, f"no message came in {patience} s"))  # noqa: SLF001


def _version(span: Span, reader: _Reader, after: int, modified_at: datetime, load: Load) -> FileVersion:
    old = span.old
    return FileVersion(
        feed=span.partition.feed.name,
        source_file=span.partition.name,
        source_file_id=span.partition.source_file_id,
        load_id=load.load_id,
        loaded_at=load.loaded_at,
        status="loaded" if old is None or old.status == "failed" else "appended" if span.goes_on else "replaced",
        reason=None,
        bytes=reader.bytes,
        lines=after - span.start,
        blank_lines=0,
        records=0,
        defective_records=0,
        first_line=span.start,
        file_bytes=reader.bytes,
        content_id=None,
        previous_file_id=old.source_file_id if old else None,
        modified_at=modified_at,
        layout="lines",
    )


def _gap(span: Span, reader: _Reader, load: Load) -> FileVersion:
    """Say that messages are gone, of those that were not read or that were; reading goes on with the first there is."""
    if span.start < span.lowest:
        reason = (
            f"the messages {span.start} to {span.lowest - 1} were deleted before they were read: let the topic keep its"
            " messages for longer (retention.ms), or load more often"
        )
    else:
        reason = (
            f"the partition ends before message {span.end}, but bronze has messages up to {span.start - 1}: the brokers"
            " have lost some, which bronze keeps; all that there is now is read again"
        )
    nothing = _version(span, reader, span.start, load.loaded_at, load)
    return replace(nothing, status="failed", reason=reason, first_line=span.lowest, layout=None)
