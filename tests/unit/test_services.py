"""Services are started, found again by a later process, and ended; what is not theirs is left alone."""

from __future__ import annotations

import json
import os
import socket
import sys
from typing import TYPE_CHECKING

import pytest

from deploy.services import Service, Supervisor
from ingest.errors import IngestError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LISTEN = """
import socket, sys, time
with socket.create_server(("127.0.0.1", int(sys.argv[1]))):
    print("listening", flush=True)
    time.sleep(600)
"""


@pytest.fixture
def port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        number: int = server.getsockname()[1]
    return number


@pytest.fixture
def supervisor(tmp_path: Path) -> Iterator[Supervisor]:
    made = Supervisor(tmp_path)
    yield made
    made.stop()


def listener(port: int) -> Service:
    return Service("listener", (sys.executable, "-c", LISTEN, str(port)), port)


def test_a_service_runs_until_a_later_supervisor_ends_it(supervisor: Supervisor, port: int) -> None:
    told: list[str] = []
    supervisor.start([listener(port)], told.append)
    process = supervisor.process("listener")
    assert process is not None
    supervisor.start([listener(port)], told.append)
    assert supervisor.process("listener") == process
    Supervisor(supervisor.folder).stop(told.append)
    assert not process.is_running()
    assert [line.partition(", see")[0] for line in told] == [
        "listener: started", "listener: runs already", "listener: stopped",
    ]  # fmt: skip
    assert supervisor.names() == []


def test_a_port_that_another_process_has_is_told(supervisor: Supervisor, port: int) -> None:
    with (
        socket.create_server(("127.0.0.1", port)),
        pytest.raises(IngestError, match=r"listener ended; is its port free"),
    ):
        supervisor.start([listener(port)])


def test_a_service_that_ends_is_told_with_its_last_word(supervisor: Supervisor, port: int) -> None:
    service = Service("broken", (sys.executable, "-c", "raise SystemExit('no such setting')"), port)
    with pytest.raises(IngestError, match=r"broken ended; .* no such setting$"):
        supervisor.start([service])


def test_a_service_is_prepared_at_every_start(supervisor: Supervisor, port: int) -> None:
    prepared: list[str] = []
    service = listener(port)
    for _ in range(2):
        supervisor.start([Service(**{**vars(service), "prepare": lambda: prepared.append("now")})])
    assert prepared == ["now", "now"]


def test_another_process_of_the_same_number_is_left_alone(supervisor: Supervisor) -> None:
    started = {"pid": os.getpid(), "created": 0.0, "signal": 9}
    (supervisor.folder / "old.started").write_text(json.dumps(started), encoding="utf-8")
    told: list[str] = []
    supervisor.stop(told.append)
    assert told == ["old: was not running"]
