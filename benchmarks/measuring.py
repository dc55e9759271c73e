"""What a process and all that it starts cost: wall time, CPU time, memory, and what it leaves on the disk."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.contestants import PROJECT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Run:
    """What one run of a contestant cost, and whether its gold was right; bytes and files are what its lake gained."""

    scenario: str
    contestant: str
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    written_bytes: int
    written_files: int
    verdict: str = ""


@contextmanager
def started(arguments: list[str], raw: Path, lake: Path) -> Iterator[subprocess.Popen[str]]:
    """Start a contestant in a session of its own; its output goes beside its lake."""
    places = {
        "RAW_ROOT": str(raw),
        "LAKE_ROOT": str(lake),
        "VIRTUAL_ENV": str(Path(arguments[0]).parent.parent),
        "DBT_TARGET_PATH": f"{lake}.target",
        "DBT_LOG_PATH": f"{lake}.logs",
    }
    log = Path(f"{lake}.out")
    with (
        log.open("a", encoding="utf-8") as output,
        subprocess.Popen(
            arguments,
            cwd=PROJECT,
            env=os.environ | places,
            stdin=subprocess.PIPE,
            stdout=output,
            stderr=output,
            start_new_session=True,
            text=True,
        ) as process,
    ):
        yield process
    if process.returncode:
        sys.exit(f"{lake.name} failed: see {log}")


def measured(
    scenario: str, process: subprocess.Popen[str], lake: Path, is_done: Callable[[], bool] = lambda: False
) -> Run:
    """Watch the processes of a session until they are done, or have ended; a lake is called as its contestant."""
    there = content(lake)
    cpu, peak = usage(process.pid)
    before = sum(cpu.values())
    begun = time.monotonic()
    while process.poll() is None and not is_done():
        used, memory = usage(process.pid)
        cpu |= used
        peak = max(peak, memory)
        with suppress(subprocess.TimeoutExpired):
            process.wait(0.1)
    seconds = time.monotonic() - begun
    sizes = content(lake)
    new = [sizes[name] for name in sizes.keys() - there.keys()]
    return Run(scenario, lake.name, seconds, sum(cpu.values()) - before, peak, sum(new), len(new))


def usage(session: int) -> tuple[dict[int, float], int]:
    """Give the CPU seconds of each process of a session, and the memory of all, what they share counted once."""
    cpu: dict[int, float] = {}
    memory = 0
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            fields = (folder / "stat").read_text(errors="replace").rpartition(")")[2].split()
            if int(fields[3]) == session:
                cpu[int(folder.name)] = (int(fields[11]) + int(fields[12])) / TICKS
                memory += proportional_bytes(folder)
        except OSError:
            continue
    return cpu, memory


def proportional_bytes(process: Path) -> int:
    """Give the memory of a process, with its part of what it shares with others."""
    lines = (process / "smaps_rollup").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith("Pss:"))


def content(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_size for path in folder.rglob("*") if path.is_file()}
