"""Complete the virtual environment for a cluster: the JARs that only its Thrift server and S3 stores need."""

from __future__ import annotations

from ingest.provision import OPTIONAL_JARS, S3, S3_JARS, fetch_jars

POSTGRESQL = "postgresql-42.7.4.jar"

if __name__ == "__main__":
    jars = {POSTGRESQL: "188976721ead8e8627eb6d8389d500dccc0c9bebd885268a3047180274a6031e"}
    fetch_jars("org.postgresql:postgresql:42.7.4", jars, OPTIONAL_JARS)
    fetch_jars(S3, S3_JARS, OPTIONAL_JARS)
