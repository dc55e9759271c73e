"""The parts of a cluster as processes of this machine: what starts each, how it is known to be well, and its end."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import time
import urllib.error
import urllib.request
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psutil

from ingest.errors import IngestError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

START_SECONDS, STOP_SECONDS = 120, 30


@dataclass(frozen=True)
class Service:
    """One process: its command, what it adds to the environment, and the question whether it is well.

    `user` is the system's user that runs it, if not the one who starts it; `stop_signal` ends it at once, but cleanly;
    `prepare` is called when it is well, before anybody else relies on it.
    """

    name: str
    command: tuple[str, ...]
    is_well: Callable[[], bool]
    environment: dict[str, str] = field(default_factory=dict)
    user: str | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    prepare: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Supervisor:
    """Starts services and remembers them in a folder, where their logs are too, for a later process to end them."""

    folder: Path

    def start(self, service: Service) -> None:
        """Start a service, unless it runs, and wait until it is well. Raises IngestError if it does not become so."""
        if self.process(service.name):
            return
        log = self.folder / f"{service.name}.log"
        log.touch(mode=0o600)
        with log.open("a", encoding="utf-8") as output:
            process = subprocess.Popen(
                service.command,
                cwd=self.folder,
                env=os.environ | service.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                user=service.user,
                umask=0o077,
            )
        created = psutil.Process(process.pid).create_time()
        started = {"pid": process.pid, "created": created, "signal": service.stop_signal}
        self._note(service.name).write_text(json.dumps(started), encoding="utf-8")
        give_up_at = time.monotonic() + START_SECONDS
        while not service.is_well():
            if process.poll() is not None or time.monotonic() > give_up_at:
                has = f"ended with code {process.returncode}" if process.returncode is not None else "does not answer"
                message = f"{service.name} {has}: {log} says why, its last line is {_last_line(log)!r}."
                raise IngestError(message)
            time.sleep(0.2)
        service.prepare()

    def stop(self, name: str) -> bool:
        """End a service and all that it started; tell whether it ran."""
        process = self.process(name)
        if process is not None:
            tree = [process, *process.children(recursive=True)]
            process.send_signal(self._read(name)["signal"])
            _, left = psutil.wait_procs(tree, STOP_SECONDS)
            for one in left:
                one.kill()
            psutil.wait_procs(left)
        self._note(name).unlink(missing_ok=True)
        return process is not None

    def process(self, name: str) -> psutil.Process | None:
        """Give the process of a service, if it is the one that was started: numbers of processes come again."""
        started = self._read(name)
        try:
            process = psutil.Process(started["pid"])
            is_ours = process.create_time() == started["created"] and process.status() != psutil.STATUS_ZOMBIE
        except (KeyError, psutil.NoSuchProcess):
            return None
        return process if is_ours else None

    def names(self) -> list[str]:
        """Name the services that were started here, in the order of their start."""
        notes = sorted(self.folder.glob("*.started"), key=lambda note: note.stat().st_mtime_ns)
        return [note.stem for note in notes]

    def _note(self, name: str) -> Path:
        return self.folder / f"{name}.started"

    def _read(self, name: str) -> dict[str, Any]:
        note = self._note(name)
        started: dict[str, Any] = json.loads(note.read_text(encoding="utf-8")) if note.exists() else {}
        return started


def answers(host: str, port: int) -> bool:
    """Tell whether something takes connections there."""
    try:
        socket.create_connection((host, port), timeout=1).close()
    except OSError:
        return False
    return True


def workers_of(host: str, port: int) -> list[str]:
    """Give the numbers of the workers that a master's page counts as alive; none if the master does not answer."""
    try:
        with urllib.request.urlopen(f"http://{host}:{port}/json/", timeout=2) as page:
            state = json.load(page)
    except (OSError, urllib.error.URLError, ValueError):
        return []
    return [worker["id"] for worker in state["workers"] if worker["state"] == "ALIVE"]


def make_folder(path: Path, user: str | None = None) -> Path:
    """Make a folder that only its owner can list; others can pass through it to what is theirs."""
    path.mkdir(mode=0o711, parents=True, exist_ok=True)
    if user is not None:
        shutil.chown(path, user)
    return path


def _last_line(log: Path) -> str:
    return (log.read_text(encoding="utf-8", errors="replace").splitlines() or [""])[-1]
