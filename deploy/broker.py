"""A Kafka broker of this machine, for tests, and to see what topics are like before there is one."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic

from deploy.provision import BROKER
from deploy.services import Service
from ingest.provision import SPARK_HOME, java
from ingest.topics import read_config

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

PORT, CONTROLLER_PORT = 9092, 9093
CLUSTER_ID = "bWVkYWxsaW9uLWZsZWV0LQ"
PROPERTIES = """
process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller_port}
listeners=BROKER://127.0.0.1:{port},CONTROLLER://127.0.0.1:{controller_port}
listener.security.protocol.map=BROKER:PLAINTEXT,CONTROLLER:PLAINTEXT
inter.broker.listener.name=BROKER
controller.listener.names=CONTROLLER
log.dirs={folder}
auto.create.topics.enable=false
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
log.retention.check.interval.ms=500
"""


def broker(folder: Path) -> Service:
    """Give the broker, whose topics and properties lie in a folder."""
    properties = folder / "broker.properties"
    if not properties.exists():
        text = PROPERTIES.format(port=PORT, controller_port=CONTROLLER_PORT, folder=folder / "broker")
        properties.write_text(text, encoding="utf-8")
        formatting = java_command("kafka.tools.StorageTool", "format", "-t", CLUSTER_ID, "-c", str(properties))
        subprocess.run(formatting, check=True, stdout=subprocess.DEVNULL)
    return Service("broker", java_command("kafka.Kafka", str(properties)), PORT)


def java_command(*arguments: str) -> tuple[str, ...]:
    (scala,) = (SPARK_HOME / "jars").glob("scala-library-*.jar")
    return (java(), "-Xmx512m", "-cp", f"{BROKER}/*:{scala}", *arguments)


def client_properties(folder: Path) -> Path:
    """Write what a client needs to know of the broker, and give the file."""
    path = folder / "client.properties"
    path.write_text(f"bootstrap.servers=127.0.0.1:{PORT}\n", encoding="utf-8")
    return path


def make_topic(properties: Path, name: str, partitions: int) -> None:
    """Make a topic that takes messages of any time, however far in the future."""
    admin = AdminClient(read_config(properties))
    settings = {"message.timestamp.after.max.ms": str(2**63 - 1)}
    admin.create_topics([NewTopic(name, partitions, config=settings)])[name].result()


def produce(properties: Path, topic: str, messages: Iterable[bytes | None], *, at: int = 0) -> None:
    """Send messages to any partition, at a time in milliseconds or now, and wait until the broker has them all.

    Raises TimeoutError if some are left.
    """
    producer = Producer(read_config(properties) | {"linger.ms": "20", "queue.buffering.max.messages": "1000000"})
    for text in messages:
        producer.produce(topic, text, timestamp=at)
    if left := producer.flush():
        message = f"{left} messages of {topic} were not sent"
        raise TimeoutError(message)
