"""`python -m deploy [start | stop | status]`: a Spark cluster, its Thrift server and its metastore."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from deploy.cluster import ROLES, Cluster
from deploy.services import Supervisor, make_folder
from ingest.errors import IngestError, explained
from ingest.lake import Lake
from ingest.places import place
from ingest.provision import PROJECT

folder_option = click.option(
    "--folder", type=click.Path(path_type=Path), default=PROJECT / "target" / "cluster", help="Logs and state."
)


@click.group()
def commands() -> None:
    """Start and stop the parts of a cluster on this machine; CLUSTER_HOST is where the others find them."""


@commands.command()
@folder_option
@click.option("--lake", envvar="LAKE_ROOT", type=place, metavar="PATH", required=True, show_envvar=True,
              help="Folder of the lake, absolute, as all hosts see it; or s3a://bucket/name.")  # fmt: skip
@click.option("--address", default="127.0.0.1", show_default=True, help="This machine's own, for its workers.")
@click.option("--workers", type=click.IntRange(min=1), default=2, show_default=True)
@click.option("--cores", type=click.IntRange(min=1), default=2, show_default=True, help="Of a worker.")
@click.option("--memory", default="4g", show_default=True, help="Of a worker.")
@click.argument("roles", nargs=-1, type=click.Choice(ROLES))
def start(*, folder: Path, roles: tuple[str, ...], lake: Path, **sizes: Any) -> None:
    """Start what is named, or all, unless it runs, and wait until it is well."""
    if not lake.is_absolute():
        message = f"{lake}: the lake must be named by an absolute path, for all hosts see it under the same one."
        raise IngestError(message)
    cluster = Cluster(make_folder(folder.absolute()), Lake(lake), **sizes)
    Supervisor(cluster.folder).start(cluster.services(roles or ROLES), click.echo)


@commands.command()
@folder_option
def stop(*, folder: Path) -> None:
    """End everything that was started here, the last first."""
    Supervisor(folder.absolute()).stop(click.echo)


@commands.command()
@folder_option
def status(*, folder: Path) -> None:
    """Say what runs. Exit code 1 if something that was started does not."""
    supervisor = Supervisor(folder.absolute())
    runs = {name: supervisor.process(name) is not None for name in supervisor.names()}
    for name, is_there in runs.items():
        click.echo(f"{name}: {'runs' if is_there else 'does not run: see its log'}")
    sys.exit(0 if all(runs.values()) else 1)


def main() -> None:
    """Run a command; a user's mistake ends in one sentence and exit code 2."""
    with explained():
        commands(prog_name="python -m deploy")


if __name__ == "__main__":
    main()
