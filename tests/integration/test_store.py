"""Raw files and lake in an S3 store of this machine, as they would be on its disk."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from deploy.store import at, send_folder
from ingest.lake import Lake, open_table
from tests.integration.lakes import read_table
from tests.integration.test_faults import TORTURE, Deployment
from tests.stores import running_store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


STEPS = (
    "ingest.parts:send:after",
    "ingest.load:write_manifest:after",
    "ingest.bronze:append_parts:after",
    "ingest.bronze:append_source_files:after",
)


class StoreDeployment(Deployment):
    """A deployment whose raw files are sent to the store, where its lake is too."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.lake, self.sent = at("lake"), at("raw")

    def next_day(self) -> None:
        super().next_day()
        send_folder(self.raw, self.sent)

    def move_to_another_machine(self) -> None:
        shutil.rmtree(self.folder / "home")

    @property
    def environment(self) -> dict[str, str]:
        home = {"RAW_ROOT": str(self.sent), "XDG_STATE_HOME": str(self.folder / "home")}
        return super().environment | home


@pytest.fixture
def deployment(tmp_path: Path) -> Iterator[StoreDeployment]:
    with running_store(tmp_path):
        made = StoreDeployment(tmp_path)
        made.next_day()
        yield made


def test_a_lake_in_a_store_is_as_one_on_a_disk(deployment: StoreDeployment) -> None:
    for step in STEPS:
        deployment.die_at(step, "ingest", "--settle", "0")
        deployment.move_to_another_machine()
    assert (deployment.build() if TORTURE else deployment.load()) == 0
    deployment.next_day()
    deployment.move_to_another_machine()
    assert deployment.build() == 0
    deployment.check()
    event = read_table(deployment.lake, "silver.driver_events")[0]
    where = ("--source-file", event["_source_file"], "--line", str(event["_source_line"]))
    assert deployment.run("-m", "ingest", "trace", *where) == 0
    assert deployment.run("-m", "ingest", "status") == 0
    table = open_table(Lake(deployment.lake), "silver.driver_events")
    table.create_checkpoint()
    assert deployment.run("-m", "ingest", "maintain", "--days", "0") == 0
    commits = [path.name for path in (deployment.lake / "silver" / "driver_events" / "_delta_log").glob("*.json")]
    assert min(commits) == f"{table.version():020}.json"
    deployment.check()
    assert not (deployment.lake / "staging").exists()
