"""`make bench SCENARIO=load`: bring raw files into bronze, cold, by turns with what the project did before and polars.

`before` is the load of the last commit that used Spark for it, in this environment. `polars` reads the same files into
a Delta table without raw text and line numbers. `LOADS` names the arrivals to measure, `ROUNDS` how often, 3 if unset.
"""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from functools import partial
from statistics import median
from typing import TYPE_CHECKING

from deltalake import DeltaTable

from benchmarks.contestants import PEERS, PROJECT, WORK, environment
from benchmarks.data import write_day
from benchmarks.measuring import Run, measured, started

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

BEFORE = "ed112e6"
OURS = ("-m", "ingest", "--settle", "0")
AS_BEFORE = "import sys; sys.path.insert(0, {before!r}); from ingest.cli import main; sys.argv[0] = 'ingest'; main()"


def lines(folder: Path, events: int, files: int) -> None:
    write_day(folder, 0, events, files=files)


def document(folder: Path, events: int) -> None:
    """Write one array, of the events that are whole."""
    write_day(folder / "lines", 0, events, files=1)
    (path,) = (folder / "lines").rglob("*.jsonl")
    whole = [line for line in path.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
    (folder / "events").mkdir()
    (folder / "events" / "all.json").write_text("[\n" + ",\n".join(whole) + "\n]\n", encoding="utf-8")
    shutil.rmtree(folder / "lines")


ARRIVALS: dict[str, tuple[Callable[[Path], None], tuple[str, ...]]] = {
    "1k": (partial(lines, events=1_000, files=1), ("ours", "before")),
    "1m": (partial(lines, events=1_000_000, files=20), ("ours", "before", "polars")),
    "10k files": (partial(lines, events=1_000_000, files=10_000), ("ours", "before")),
    "array": (partial(document, events=430_000), ("ours", "before")),
    "10m": (partial(lines, events=10_000_000, files=20), ("ours",)),
}


def command(name: str, raw: Path, lake: Path) -> list[str]:
    if name == "polars":
        return [str(environment("polars_script")), str(PEERS / "polars_script" / "bronze.py"), str(raw), str(lake)]
    python = str(environment("ours"))
    return [python, *OURS] if name == "ours" else [python, "-c", AS_BEFORE.format(before=str(before())), *OURS[2:]]


def before() -> Path:
    """Give the project as it was, taken from its history once."""
    folder = WORK / "before"
    if not folder.exists():
        folder.mkdir(parents=True)
        git = str(shutil.which("git"))
        archive = subprocess.run([git, "archive", BEFORE], cwd=PROJECT, check=True, capture_output=True).stdout
        with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
            tar.extractall(folder, filter="data")
    return folder


def load(arrival: str, name: str, raw: Path) -> Run:
    """Load into a new lake in a process of its own."""
    lake = WORK / "load" / name
    shutil.rmtree(lake, ignore_errors=True)
    lake.mkdir(mode=0o700, parents=True)
    with started(command(name, raw, lake), raw, lake) as process:
        run = measured(arrival, process, lake)
    table = lake if name == "polars" else lake / "bronze" / "driver_events"
    return Run(**{**vars(run), "verdict": f"{DeltaTable(table).count():,} rows"})


def measure(arrivals: list[str], rounds: int) -> None:
    """Print a row for each arrival and contestant: medians, and the medians of the ratios of ours to it."""
    print("| arrival | by | wall s | ratio | CPU s | ratio | memory GiB | MB of text a s and core | result |")
    print("|---|---|---:|---:|---:|---:|---:|---:|---|", flush=True)
    for arrival in arrivals:
        write, names = ARRIVALS[arrival]
        raw = WORK / "arrivals" / arrival.replace(" ", "_")
        if not raw.exists():
            raw.mkdir(parents=True)
            write(raw)
        runs = [load(arrival, name, raw) for _ in range(rounds) for name in names]
        size = sum(path.stat().st_size for path in raw.rglob("*") if path.is_file())
        base = [run for run in runs if run.contestant == "ours"]
        for name in names:
            of = [run for run in runs if run.contestant == name]
            wall, cpu = (median(getattr(run, what) for run in of) for what in ("seconds", "cpu_seconds"))
            ratios = [
                median(getattr(one, what) / getattr(run, what) for one, run in zip(base, of, strict=True))
                for what in ("seconds", "cpu_seconds")
            ]
            print(
                f"| {arrival} | {name} | {wall:.1f} | {ratios[0]:.2f} | {cpu:.1f} | {ratios[1]:.2f} "
                f"| {max(run.peak_bytes for run in of) / 2**30:.2f} | {size / 1e6 / cpu:.0f} | {of[-1].verdict} |",
                flush=True,
            )
