"""Complete the virtual environment for a cluster: the JARs that only its Thrift server needs."""

from __future__ import annotations

from ingest.provision import SPARK_HOME, fetch_jars

# Beside Spark's own JARs, not among them: these are on the class path of those who ask for them, and of nobody else.
FOLDER = SPARK_HOME / "cluster"
POSTGRESQL = "postgresql-42.7.4.jar"

if __name__ == "__main__":
    jars = {POSTGRESQL: "188976721ead8e8627eb6d8389d500dccc0c9bebd885268a3047180274a6031e"}
    fetch_jars("org.postgresql:postgresql:42.7.4", jars, FOLDER)
