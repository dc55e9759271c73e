"""Processes of this machine that are started together: what starts each, how it is known to be well, and its end."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import signal
import subprocess
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import psutil

from ingest.errors import IngestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from pathlib import Path

START_SECONDS, STOP_SECONDS = 120, 30
CLOCK_DOUBT_SECONDS = 5


@dataclass(frozen=True)
class Service:
    """One process: its command, the port on which it must listen, and what it adds to the environment.

    `is_well` asks what a port does not tell. `user` is the system's user that runs it, if not the one who starts it;
    `umask` is for its files, `stop_signal` ends it at once, but cleanly. `prepare` is called when it is well, at
    every start, before anybody else relies on it.
    """

    name: str
    command: tuple[str, ...]
    port: int
    environment: dict[str, str] = field(default_factory=dict)
    is_well: Callable[[], bool] = lambda: True
    user: str | None = None
    umask: int = 0o077
    stop_signal: signal.Signals = signal.SIGTERM
    prepare: Callable[[], None] = lambda: None


@dataclass(frozen=True)
class Supervisor:
    """Starts services and remembers them in a folder, where their logs are too, for a later process to end them."""

    folder: Path

    def start(self, services: Iterable[Service], tell: Callable[[str], None] = lambda _: None) -> None:
        """Start services, unless they run, each when the one before is well. Raises IngestError if one is not."""
        for service in services:
            runs = self.process(service.name) is not None
            if not runs:
                self._start(service)
            self._wait_until_well(service)
            service.prepare()
            tell(f"{service.name}: {'runs already' if runs else 'started'}, see {self._log(service.name)}")

    def stop(self, tell: Callable[[str], None] = lambda _: None) -> None:
        """End all services that were started here, and what they started, the last first."""
        for name in reversed(self.names()):
            process = self.process(name)
            if process is not None:
                end(process, signal.Signals(self._read(name)["signal"]))
            self._note(name).unlink(missing_ok=True)
            tell(f"{name}: {'was not running' if process is None else 'stopped'}")

    def process(self, name: str) -> psutil.Process | None:
        """Give the process of a service, if it is the one that was started: numbers of processes come again."""
        started = self._read(name)
        try:
            process = psutil.Process(started["pid"])
            is_ours = abs(process.create_time() - started["created"]) < CLOCK_DOUBT_SECONDS
            return process if is_ours and process.status() != psutil.STATUS_ZOMBIE else None
        except (KeyError, psutil.NoSuchProcess):
            return None

    def names(self) -> list[str]:
        """Name the services that were started here, in the order of their start."""
        notes = sorted(self.folder.glob("*.started"), key=lambda note: note.stat().st_mtime_ns)
        return [note.stem for note in notes]

    def _start(self, service: Service) -> None:
        log = self._log(service.name)
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
                umask=service.umask,
                **as_user(service.user),
            )
        started = {"pid": process.pid, "created": time.time(), "signal": service.stop_signal}
        draft = self._note(service.name).with_suffix(".draft")
        draft.write_text(json.dumps(started), encoding="utf-8")
        draft.replace(self._note(service.name))

    def _wait_until_well(self, service: Service) -> None:
        give_up_at = time.monotonic() + START_SECONDS
        while True:
            process = self.process(service.name)
            if process is not None and listens(process, service.port) and service.is_well():
                return
            if process is None or time.monotonic() > give_up_at:
                has = "ended" if process is None else f"does not listen on port {service.port}, or does not answer"
                log = self._log(service.name)
                last = (log.read_text(encoding="utf-8", errors="replace").splitlines() or ["(it is empty)"])[-1]
                message = f"{service.name} {has}; is its port free? The last line of {log}: {last}"
                raise IngestError(message)
            time.sleep(0.2)

    def _log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def _note(self, name: str) -> Path:
        return self.folder / f"{name}.started"

    def _read(self, name: str) -> dict[str, Any]:
        note = self._note(name)
        started: dict[str, Any] = json.loads(note.read_text(encoding="utf-8")) if note.exists() else {}
        return started


def listens(process: psutil.Process, port: int) -> bool:
    """Tell whether a process itself takes connections on a port: that somebody does is not enough."""
    with suppress(psutil.Error):
        connections = process.net_connections("tcp")
        return any(one.status == psutil.CONN_LISTEN and one.laddr.port == port for one in connections)
    return False


def end(process: psutil.Process, how: signal.Signals) -> None:
    """End a process and all that it started, with force what does not end by itself."""
    with suppress(psutil.NoSuchProcess):
        tree = [process, *process.children(recursive=True)]
        process.send_signal(how)
        _, left = psutil.wait_procs(tree, STOP_SECONDS)
        for one in left:
            with suppress(psutil.NoSuchProcess):
                one.kill()
        psutil.wait_procs(left)


def as_user(name: str | None) -> dict[str, Any]:
    """Give what makes a subprocess another user's, and nothing of its starter's groups."""
    return {"user": name, "group": pwd.getpwnam(name).pw_gid, "extra_groups": []} if name else {}


def make_folder(path: Path, user: str | None = None) -> Path:
    """Make a folder that only its owner can list; others can pass through it to what is theirs."""
    path.mkdir(parents=True, exist_ok=True)
    path.chmod(0o711)
    if user is not None:
        shutil.chown(path, user)
    return path
