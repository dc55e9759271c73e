"""Spark's own master, workers and Thrift server, and a PostgreSQL for the metastore, as the profile has them."""

from __future__ import annotations

import os
import pwd
import secrets
import shutil
import signal
import subprocess
import zipfile
from dataclasses import dataclass
from functools import cached_property, partial
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deploy.provision import FOLDER, POSTGRESQL
from deploy.services import Service, answers, make_folder, workers_of
from ingest.errors import IngestError
from ingest.provision import SPARK_HOME, java
from ingest.spark import read_profile

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ingest.lake import Lake

PROJECT = Path(__file__).resolve().parent.parent
MASTER_PORT, MASTER_PAGE, WORKER_PORT, METASTORE_PORT = 7077, 8080, 7078, 5433
SCHEMA_SETTINGS = {
    "javax.jdo.PersistenceManagerFactoryClass": "org.datanucleus.api.jdo.JDOPersistenceManagerFactory",
    "datanucleus.identifierFactory": "datanucleus1",
    "datanucleus.rdbms.useLegacyNativeValueStrategy": "true",
    "datanucleus.plugin.pluginRegistryBundleCheck": "LOG",
}
THRIFT_SERVER = "org.apache.spark.sql.hive.thriftserver.HiveThriftServer2"


@dataclass(frozen=True)
class Cluster:
    """What is started on this machine: `address` is its own, the other hosts' is the profile's; memory of a worker."""

    folder: Path
    lake: Lake
    address: str
    workers: int
    cores: int
    memory: str

    @cached_property
    def profile(self) -> dict[str, Any]:
        return read_profile(PROJECT, self.lake, "cluster")

    @property
    def host(self) -> str:
        host: str = self.profile["host"]
        return host

    def services(self, roles: tuple[str, ...]) -> Iterator[Service]:
        """Give the services of these roles, in the order in which they need each other."""
        if "metastore" in roles:
            yield self.metastore()
        if "master" in roles:
            yield self.master()
        if "workers" in roles:
            yield from (self.worker(number) for number in range(self.workers))
        if "thrift" in roles:
            yield self.thrift()

    def metastore(self) -> Service:
        """PostgreSQL refuses to run as root: then it runs as nobody, and its files are nobody's."""
        user = "nobody" if os.geteuid() == 0 else None
        data = make_folder(self.folder / "metastore", user) / "data"
        if not data.exists():
            make_database(data, self.password_file, user)
        command = (postgres("postgres"), "-D", str(data), "-h", self.host, "-p", str(METASTORE_PORT), "-k", "")
        is_well = partial(answers, self.host, METASTORE_PORT)
        return Service("metastore", command, is_well, {}, user, signal.SIGINT, self.make_schema)

    def make_schema(self) -> None:
        """Let the library that Hive's metastore is written with make its tables, all at once.

        Left to make each when it is first needed, as it would be, it waits for a lock that it holds itself.
        """
        folder = self.folder / "metastore"
        done, settings = folder / "has_schema", folder / "schema.properties"
        if done.exists():
            return
        settings.touch(mode=0o600)
        own = {
            key.removeprefix("spark.hadoop."): value for key, value in self.thrift_settings.items() if ".jdo." in key
        }
        lines = [f"{key}={value}\n" for key, value in {**SCHEMA_SETTINGS, **own}.items()]
        settings.write_text("".join(lines), encoding="utf-8")
        with zipfile.ZipFile(next((SPARK_HOME / "jars").glob("hive-metastore-*.jar"))) as jar:
            classes = jar.extract("package.jdo", folder)
        path = f"{SPARK_HOME / 'jars'}/*:{FOLDER / POSTGRESQL}"
        tool = (
            "-cp",
            path,
            "org.datanucleus.store.schema.SchemaTool",
            "-create",
            "-api",
            "JDO",
            "-props",
            settings,
            classes,
        )
        result = subprocess.run((java(), *tool), capture_output=True, text=True, check=False)
        if result.returncode:
            message = f"the metastore's tables could not be made: {' '.join(result.stdout.split())[-300:]}"
            raise IngestError(message)
        done.touch()

    def master(self) -> Service:
        command = spark_class("master.Master", "--host", self.host, "--port", MASTER_PORT, "--webui-port", MASTER_PAGE)
        return Service("master", command, partial(answers, self.host, MASTER_PORT), self._local_address)

    def worker(self, number: int) -> Service:
        port = WORKER_PORT + number
        place = make_folder(self.folder / f"worker-{number}")
        command = spark_class(
            *("worker.Worker", "--host", self.address, "--port", port, "--webui-port", MASTER_PAGE + 1 + number),
            *(
                "--cores",
                self.cores,
                "--memory",
                self.memory,
                "--work-dir",
                place,
                f"spark://{self.host}:{MASTER_PORT}",
            ),
        )

        def is_registered() -> bool:
            return any(worker.endswith(f"-{self.address}-{port}") for worker in workers_of(self.host, MASTER_PAGE))

        return Service(f"worker-{number}", command, is_registered, self._local_address)

    def thrift(self) -> Service:
        settings = self.folder / "thrift.conf"
        settings.touch(mode=0o600)
        settings.write_text(
            "".join(f"{key} {value}\n" for key, value in self.thrift_settings.items()), encoding="utf-8"
        )
        port = self.profile["port"]
        command = (
            *(str(SPARK_HOME / "bin" / "spark-submit"), "--name", "Thrift server", "--properties-file", str(settings)),
            *("--class", THRIFT_SERVER, "spark-internal"),
            *("--hiveconf", f"hive.server2.thrift.bind.host={self.host}"),
            *("--hiveconf", f"hive.server2.thrift.port={port}"),
        )
        return Service("thrift", command, partial(answers, self.host, port), self._local_address)

    @property
    def thrift_settings(self) -> dict[str, str]:
        password = self.password_file.read_text(encoding="utf-8").strip()
        settings: dict[str, str] = self.profile["server_side_parameters"]
        return settings | {
            "spark.sql.catalogImplementation": "hive",
            "spark.driver.extraClassPath": str(FOLDER / POSTGRESQL),
            "spark.hadoop.javax.jdo.option.ConnectionPassword": password,
            "spark.eventLog.enabled": "true",
            "spark.eventLog.dir": make_folder(self.folder / "events").as_uri(),
        }

    @property
    def password_file(self) -> Path:
        return self.folder / "metastore" / "password"

    @property
    def _local_address(self) -> dict[str, str]:
        return {"SPARK_LOCAL_IP": self.address}


def make_database(data: Path, password_file: Path, user: str | None) -> None:
    """Make an empty database cluster with one account, whose password is made up here, and the metastore's database."""
    password_file.touch(mode=0o600)
    password_file.write_text(secrets.token_hex(16) + "\n", encoding="utf-8")
    if user is not None:
        os.chown(password_file, pwd.getpwnam(user).pw_uid, -1)
    access = ("--auth=scram-sha-256", f"--pwfile={password_file}", "--username=metastore")
    run = partial(subprocess.run, check=True, capture_output=True, text=True, user=user, cwd="/")
    try:
        run((postgres("initdb"), "-D", data, "--encoding=UTF8", "--locale=C", *access))
        run((postgres("postgres"), "--single", "-D", data, "postgres"), input="create database metastore;\n")
    except subprocess.CalledProcessError as error:
        shutil.rmtree(data, ignore_errors=True)
        found = " ".join(error.stderr.split())
        message = f"{data}: PostgreSQL could not make a database here ({found}); mend that, or name another --folder."
        raise IngestError(message) from error


def postgres(program: str) -> str:
    """Give the path of a program of PostgreSQL, which lies in the environment."""
    package = find_spec("pgserver")
    if package is None or package.origin is None:
        message = "PostgreSQL is not in this environment: run 'make cluster-demo' once, which sets it up."
        raise IngestError(message)
    return str(Path(package.origin).parent / "pginstall" / "bin" / program)


def spark_class(name: str, *arguments: object) -> tuple[str, ...]:
    return (str(SPARK_HOME / "bin" / "spark-class"), f"org.apache.spark.deploy.{name}", *map(str, arguments))
