"""Spark's own master, workers and Thrift server, and a PostgreSQL for the metastore, as the profile has them."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import shutil
import signal
import subprocess
import urllib.request
import zipfile
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy.provision import POSTGRESQL
from deploy.services import Service, as_user, make_folder
from ingest.errors import IngestError
from ingest.profile import read_profile
from ingest.provision import OPTIONAL_JARS, PROJECT, SPARK_HOME, java

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ingest.lake import Lake

ROLES = ("metastore", "master", "workers", "thrift")
MASTER_PORT, MASTER_PAGE, WORKER_PORT, METASTORE_PORT = 7077, 18080, 7078, 5433
# Master and workers see no data, so they may log; and they take no other port than the one that they were told.
DAEMON = {"SPARK_DAEMON_JAVA_OPTS": "-Dspark.port.maxRetries=0 -Dlog.level=warn"}
JDO = "spark.hadoop.javax.jdo."
SCHEMA_SETTINGS = {
    "javax.jdo.PersistenceManagerFactoryClass": "org.datanucleus.api.jdo.JDOPersistenceManagerFactory",
    "datanucleus.identifierFactory": "datanucleus1",
    "datanucleus.rdbms.useLegacyNativeValueStrategy": "true",
    "datanucleus.plugin.pluginRegistryBundleCheck": "LOG",
}


@dataclass(frozen=True)
class Cluster:
    """What is started on this machine: `address` is its own, the other hosts' is the profile's.

    `cores` and `memory` are those of a worker; with `has_event_log` the Thrift server writes down what it does, in
    the folder `events`.
    """

    folder: Path
    lake: Lake
    address: str = "127.0.0.1"
    workers: int = 2
    cores: int = 2
    memory: str = "4g"
    has_event_log: bool = False

    @cached_property
    def profile(self) -> dict[str, Any]:
        return read_profile(PROJECT, self.lake, "cluster")

    @property
    def host(self) -> str:
        host: str = self.profile["host"]
        return host

    def services(self, roles: tuple[str, ...] = ROLES) -> Iterator[Service]:
        """Give the services of these roles, in the order in which they need each other. Raises IngestError."""
        if "metastore" in roles:
            yield self.metastore()
        if "master" in roles:
            yield self.master()
        if "workers" in roles:
            self.check_cores()
            yield from (self.worker(number) for number in range(self.workers))
        if "thrift" in roles:
            yield self.thrift()

    def check_cores(self) -> None:
        """See that a load does not wait for ever for cores that the Thrift server holds, on a cluster of one host."""
        wanted = 2 * int(self.profile["server_side_parameters"]["spark.cores.max"])
        if self.address == self.host and self.workers * self.cores < wanted:
            message = (
                f"{self.workers} workers of {self.cores} cores were asked for, but the Thrift server and a load need "
                f"{wanted} cores together (CLUSTER_CORES is that of each): ask for more, or set CLUSTER_CORES lower."
            )
            raise IngestError(message)

    def metastore(self) -> Service:
        user = postgres_user()
        if not can_reach(user, postgres("postgres")):
            message = (
                f"{postgres('postgres')}: root cannot run PostgreSQL, and the user {user}, who would for root, cannot "
                "reach it: start it as another user, or let others pass through these folders (chmod o+x)."
            )
            raise IngestError(message)
        data = make_folder(self.folder / "metastore", user) / "data"
        if not data.exists():
            make_database(data, self.password_file, user)
        place = ("-h", self.host, "-p", str(METASTORE_PORT))
        ask = partial(subprocess.run, (postgres("pg_isready"), "--quiet", *place), check=False)
        return Service(
            "metastore",
            (postgres("postgres"), "-D", str(data), *place, "-k", ""),
            METASTORE_PORT,
            is_well=lambda: ask().returncode == 0,
            user=user,
            stop_signal=signal.SIGINT,
            prepare=self.make_schema,
        )

    def make_schema(self) -> None:
        """Let the library that Hive's metastore is written with make its tables, all at once.

        Left to make each when it is first needed, as it would be, it waits for a lock that it holds itself.
        """
        done, settings = self.folder / "metastore" / "data" / "has_schema", self.folder / "schema.properties"
        if done.exists():
            return
        own = {key.removeprefix("spark.hadoop."): value for key, value in self.settings.items() if key.startswith(JDO)}
        write_private(settings, "".join(f"{key}={value}\n" for key, value in {**SCHEMA_SETTINGS, **own}.items()))
        with zipfile.ZipFile(next((SPARK_HOME / "jars").glob("hive-metastore-*.jar"))) as jar:
            classes = jar.extract("package.jdo", self.folder)
        path = f"{SPARK_HOME / 'jars'}/*:{OPTIONAL_JARS / POSTGRESQL}"
        tool = (java(), "-cp", path, "org.datanucleus.store.schema.SchemaTool")
        command = (*tool, "-create", "-api", "JDO", "-props", str(settings), classes)
        result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
        if result.returncode:
            message = f"the metastore's tables could not be made: {' '.join(result.stdout.split())[-300:]}"
            raise IngestError(message)
        done.touch()

    def master(self) -> Service:
        """A master that was restarted knows its workers and applications again."""
        recovery = f'-Dspark.deploy.recoveryMode=FILESYSTEM "-Dspark.deploy.recoveryDirectory={self.folder / "master"}"'
        command = spark_class("master.Master", "--host", self.host, "--port", MASTER_PORT, "--webui-port", MASTER_PAGE)
        return Service("master", command, MASTER_PORT, spark_at(self.host) | DAEMON | {"SPARK_MASTER_OPTS": recovery})

    def worker(self, number: int) -> Service:
        port = WORKER_PORT + number
        place = make_folder(self.folder / f"worker-{number}")
        command = spark_class(
            *("worker.Worker", "--host", self.address, "--port", port, "--webui-port", MASTER_PAGE + 1 + number),
            *("--cores", self.cores, "--memory", self.memory, "--work-dir", place, f"spark://{self.host}:{MASTER_PORT}"),
        )  # fmt: skip
        cleanup = {"SPARK_WORKER_OPTS": "-Dspark.worker.cleanup.enabled=true"}

        def is_registered() -> bool:
            return any(worker.endswith(f"-{self.address}-{port}") for worker in alive_workers(self.host))

        environment = spark_at(self.address) | DAEMON | cleanup
        return Service(f"worker-{number}", command, port, environment, is_registered, umask=self.umask)

    def thrift(self) -> Service:
        settings = self.settings
        if self.has_event_log:
            events = make_folder(self.folder / "events").as_uri()
            settings |= {"spark.eventLog.enabled": "true", "spark.eventLog.dir": events}
        file = self.folder / "thrift.conf"
        write_private(file, "".join(f"{key} {value}\n" for key, value in settings.items()))
        port = self.profile["port"]
        command = (
            *(str(SPARK_HOME / "bin" / "spark-submit"), "--name", "Thrift server", "--properties-file", str(file)),
            *("--class", "org.apache.spark.sql.hive.thriftserver.HiveThriftServer2", "spark-internal"),
            *("--hiveconf", f"hive.server2.thrift.bind.host={self.host}"),
            *("--hiveconf", f"hive.server2.thrift.port={port}"),
        )
        return Service("thrift", command, port, spark_at(self.host), umask=self.umask)

    @property
    def settings(self) -> dict[str, str]:
        """Spark's settings for the Thrift server: the profile's, and what is nobody else's."""
        if not self.password_file.exists():
            message = (
                f"{self.password_file}: the metastore's password was looked for here, where its host has made it: "
                "copy that file, or start the role metastore on this host."
            )
            raise IngestError(message)
        settings: dict[str, str] = self.profile["server_side_parameters"]
        return {
            **settings,
            "spark.sql.catalogImplementation": "hive",
            "spark.driver.extraClassPath": f"{OPTIONAL_JARS}/*",
            f"{JDO}option.ConnectionPassword": self.password_file.read_text(encoding="utf-8").strip(),
        }

    @property
    def password_file(self) -> Path:
        return self.folder / "metastore" / "password"

    @property
    def umask(self) -> int:
        """Files of the lake are for those who may read the lake."""
        return ~self.lake.home.stat().st_mode & 0o077 if self.lake.home.exists() else 0o077


def make_database(data: Path, password_file: Path, user: str | None) -> None:
    """Make a database for the metastore, and its one account, whose password is made up here. Raises IngestError."""
    draft = data.with_name("draft")
    shutil.rmtree(draft, ignore_errors=True)
    write_private(password_file, secrets.token_hex(16) + "\n")
    if user is not None:
        shutil.chown(password_file, user)
    access = ("--auth=scram-sha-256", f"--pwfile={password_file}", "--username=metastore")
    run = partial(subprocess.run, check=True, capture_output=True, text=True, cwd="/", **as_user(user))
    try:
        run((postgres("initdb"), "-D", draft, "--encoding=UTF8", "--locale=C", *access))
        run((postgres("postgres"), "--single", "-D", draft, "postgres"), input="create database metastore;\n")
    except subprocess.CalledProcessError as error:
        found = " ".join(error.stderr.split())
        message = f"{data}: PostgreSQL could not make a database here ({found}); mend that, or name another --folder."
        raise IngestError(message) from error
    (draft / "pg_hba.conf").write_text("host metastore metastore all scram-sha-256\n", encoding="utf-8")
    draft.rename(data)


def postgres(program: str) -> str:
    """Give the path of a program of PostgreSQL, which lies in the environment. Raises IngestError if it does not."""
    package = find_spec("pgserver")
    if package is None or package.origin is None:
        message = "PostgreSQL is not in this environment: run 'make cluster', which puts it there."
        raise IngestError(message)
    return str(Path(package.origin).parent / "pginstall" / "bin" / program)


def postgres_user() -> str | None:
    """PostgreSQL refuses to run as root: then it runs as nobody, and its files are nobody's."""
    return "nobody" if os.geteuid() == 0 else None


def can_reach(user: str | None, program: str) -> bool:
    try:
        subprocess.run((program, "--version"), check=True, capture_output=True, cwd="/", **as_user(user))
    except PermissionError:
        return False
    return True


def spark_class(name: str, *arguments: object) -> tuple[str, ...]:
    return (str(SPARK_HOME / "bin" / "spark-class"), f"org.apache.spark.deploy.{name}", *map(str, arguments))


def spark_at(address: str) -> dict[str, str]:
    """Give the environment of a part of Spark: this one, at this address."""
    return {"SPARK_HOME": str(SPARK_HOME), "SPARK_LOCAL_IP": address}


def alive_workers(host: str) -> list[str]:
    """Give the ids of the workers that a master counts as alive; none if it does not answer."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://{host}:{MASTER_PAGE}/json/", timeout=2) as page:
            workers = json.load(page)["workers"]
    except (OSError, http.client.HTTPException, ValueError, KeyError):
        return []
    return [worker["id"] for worker in workers if worker["state"] == "ALIVE"]


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner can read."""
    path.touch(mode=0o600)
    path.write_text(text, encoding="utf-8")
