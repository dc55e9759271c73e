"""Complete the virtual environment for what not everybody has: a cluster, S3 stores, and Kafka to test with."""

from __future__ import annotations

from ingest.provision import OPTIONAL_JARS, PROJECT, S3, S3_JARS, SPARK_HOME, fetch_jars

POSTGRESQL = "postgresql-42.7.4.jar"
# Of other versions than Spark's own, so on nobody's class path but the broker's. Spark's resolver leaves Scala out.
BROKER = SPARK_HOME / "broker"

if __name__ == "__main__":
    jars = {POSTGRESQL: "188976721ead8e8627eb6d8389d500dccc0c9bebd885268a3047180274a6031e"}
    fetch_jars("org.postgresql:postgresql:42.7.4", jars, OPTIONAL_JARS)
    fetch_jars(S3, S3_JARS, OPTIONAL_JARS)
    lock = (PROJECT / "requirements" / "broker.lock").read_text(encoding="utf-8")
    broker_jars = {name: digest for digest, name in map(str.split, lock.splitlines())}
    fetch_jars("org.apache.kafka:kafka_2.12:3.9.2", broker_jars, BROKER)
