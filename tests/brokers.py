"""A Kafka broker for tests."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from confluent_kafka import TopicPartition
from confluent_kafka.admin import AdminClient

from deploy.broker import broker, client_properties
from deploy.services import Supervisor
from ingest.topics import read_config

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def running_broker(folder: Path) -> Iterator[Path]:
    """Run a broker, with its topics in a folder; give the properties of its clients."""
    supervisor = Supervisor(folder)
    try:
        supervisor.start([broker(folder)])
        yield client_properties(folder)
    finally:
        supervisor.stop()


def delete_topic(properties: Path, name: str) -> None:
    admin = AdminClient(read_config(properties))
    admin.delete_topics([name])[name].result()


def delete_messages(properties: Path, topic: str, *, before: int) -> None:
    """Delete a topic's messages in partition 0, as the end of their retention would."""
    admin = AdminClient(read_config(properties))
    place = TopicPartition(topic, 0, before)
    admin.delete_records([place])[place].result()
