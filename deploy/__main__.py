"""`python -m deploy [start | stop | status]`: a Spark cluster, its Thrift server and its metastore."""

from __future__ import annotations

import sys
from pathlib import Path

import click

from deploy.cluster import PROJECT, Cluster
from deploy.services import Supervisor, make_folder
from ingest.errors import explain
from ingest.lake import Lake

ROLES = ("metastore", "master", "workers", "thrift")
folder_option = click.option(
    "--folder", type=click.Path(path_type=Path), default=PROJECT / "target" / "cluster", help="Logs and state."
)


@click.group()
def commands() -> None:
    """Start and stop the parts of a cluster on this machine; CLUSTER_HOST is where the others find them."""


@commands.command()
@folder_option
@click.option("--lake", envvar="LAKE_ROOT", type=click.Path(path_type=Path), required=True, show_envvar=True,
              help="Folder of the lake, which all hosts see under this path.")  # fmt: skip
@click.option("--address", default="127.0.0.1", show_default=True, help="This machine's own, for its workers.")
@click.option("--workers", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--cores", type=click.IntRange(min=1), default=2, show_default=True, help="Of a worker.")
@click.option("--memory", default="4g", show_default=True, help="Of a worker.")
@click.argument("roles", nargs=-1, type=click.Choice(ROLES))
def start(*, folder: Path, roles: tuple[str, ...], lake: Path, **sizes: object) -> None:
    """Start what is named, or all, unless it runs, and wait until it is well."""
    cluster = Cluster(make_folder(folder.resolve()), Lake(lake.resolve()), **sizes)  # type: ignore[arg-type]
    supervisor = Supervisor(cluster.folder)
    for service in cluster.services(roles or ROLES):
        supervisor.start(service)
        click.echo(f"{service.name}: started, see {supervisor.folder / service.name}.log")


@commands.command()
@folder_option
def stop(*, folder: Path) -> None:
    """End everything that was started here, the last first."""
    supervisor = Supervisor(folder.resolve())
    for name in reversed(supervisor.names()):
        click.echo(f"{name}: {'stopped' if supervisor.stop(name) else 'was not running'}")


@commands.command()
@folder_option
def status(*, folder: Path) -> None:
    """Say what runs. Exit code 1 if something that was started does not."""
    supervisor = Supervisor(folder.resolve())
    runs = {name: supervisor.process(name) is not None for name in supervisor.names()}
    for name, is_there in runs.items():
        click.echo(f"{name}: {'runs' if is_there else 'does not run: see its log'}")
    sys.exit(0 if all(runs.values()) else 1)


def main() -> None:
    """Run a command; a user's mistake ends in one sentence and exit code 2."""
    try:
        commands(prog_name="python -m deploy")
    except Exception as error:
        sentence = explain(error)
        if sentence is None:
            raise
        click.echo(f"error: {sentence}", err=True)
        sys.exit(2)


if __name__ == "__main__":
    main()
