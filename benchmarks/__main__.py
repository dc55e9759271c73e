"""`make bench`: measure our pipeline and its peers on the same files, interleaved, and write docs/performance.md."""

from __future__ import annotations

import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks.data import write_companies, write_day

PROJECT = Path(__file__).resolve().parent.parent
PEERS = PROJECT / "benchmarks" / "peers"
PAGE = PROJECT / "docs" / "performance.md"
WORK = PROJECT / "target" / "benchmarks"
SIZES = {"10k": 10_000, "100k": 100_000, "1m": 1_000_000, "10m": 10_000_000}
ROUNDS = {"10k": 1, "100k": 5, "1m": 3, "10m": 2}
UNTESTED = ("--exclude-resource-type", "unit_test", "--exclude-resource-type", "test")
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True)
class Run:
    """What one run of one contestant cost; bytes and files are what it added to its lake."""

    contestant: str
    scenario: str
    seconds: float
    cpu_seconds: float
    peak_bytes: int
    written_bytes: int
    written_files: int
    verdict: str = ""


@dataclass(frozen=True)
class Contestant:
    """A way to get from raw files to a table of enriched events."""

    name: str
    command: tuple[str, ...]
    gold: str

    def arguments(self, raw: Path, lake: Path) -> list[str]:
        values = {"python": environment(self.name), "peer": PEERS / self.name, "raw": raw, "lake": lake}
        return [part.format(**values) for part in self.command]


def contestants() -> dict[str, Contestant]:
    """Name all contestants; a peer's environment is made when it takes part."""
    ours = ("{python}", "-m", "ingest", "build", "--settle", "0", "--", *UNTESTED)
    dbt = ("{python}", "-m", "dbt.cli.main", "run", "--project-dir", "{peer}", "--profiles-dir", "{peer}")
    script = ("{python}", "{peer}/run.py", "{raw}", "{lake}")
    return {
        contestant.name: contestant
        for contestant in (
            Contestant("ours", ours, "gold/enriched_driver_events"),
            Contestant("stock_dbt", dbt, "gold"),
            Contestant("pyspark_script", script, "gold"),
            Contestant("duckrun", dbt, "main/gold"),
            Contestant("polars_script", script, "gold"),
        )
    }


def environment(peer: str) -> Path:
    """Give a contestant's Python: that of its lock file, made once, or ours if it has none."""
    folder = WORK / "environments" / peer
    python = folder / "bin" / "python"
    lock = PEERS / peer / "requirements.lock"
    if not lock.exists():
        return Path(sys.executable)
    made = folder / "pyvenv.cfg"
    if not made.exists() or made.stat().st_mtime < lock.stat().st_mtime:
        shutil.rmtree(folder, ignore_errors=True)
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        pip = [str(python), "-m", "pip", "--quiet", "install", "--require-hashes", "--requirement", str(lock)]
        subprocess.run(pip, check=True)
        if (PEERS / peer / "set_up.py").exists():
            subprocess.run([python, PEERS / peer / "set_up.py"], check=True)
    return python


def main(size: str, scenarios: list[str], names: list[str]) -> None:
    events = SIZES[size]
    shutil.rmtree(WORK / size, ignore_errors=True)
    runs: list[Run] = []
    chosen = [contestant for name, contestant in contestants().items() if name in names]
    for number in range(ROUNDS[size]):
        order = chosen if number % 2 == 0 else chosen[::-1]
        runs += round_of(order, WORK / size, events, scenarios)
    (WORK / f"{size}.json").write_text(json.dumps([asdict(run) for run in runs], indent=1), encoding="utf-8")
    publish(size, table(runs, chosen[0].name))


def publish(size: str, measured_now: str) -> None:
    """Put a table in its place in the documentation, and print it."""
    start, end = f"<!-- {size} -->", f"<!-- end of {size} -->"
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(start)
    _, _, after = rest.partition(end)
    PAGE.write_text(f"{before}{start}\n{measured_now}\n{end}{after}", encoding="utf-8")
    print(measured_now)


def round_of(order: list[Contestant], folder: Path, events: int, scenarios: list[str]) -> list[Run]:
    """Take all contestants through the same days, each step by all of them before the next."""
    raw = folder / "raw"
    shutil.rmtree(folder, ignore_errors=True)
    lakes = {contestant.name: folder / contestant.name for contestant in order}
    for lake in lakes.values():
        lake.mkdir(mode=0o700, parents=True)
    runs: list[Run] = []
    expected = [write_day(raw, 0, events)]

    def step(scenario: str) -> None:
        taken = [measured(contestant, scenario, raw, lakes[contestant.name]) for contestant in order]
        told = verdicts(order, lakes, sum(day.events for day in expected), sum(day.matched for day in expected))
        if scenario in scenarios:
            runs.extend(replace(run, verdict=told[run.contestant]) for run in taken)

    step("S1")
    expected.append(write_day(raw, 1, events))
    step("S2")
    step("S4")
    write_companies(raw, 2)
    step("S5")
    return runs


def measured(contestant: Contestant, scenario: str, raw: Path, lake: Path) -> Run:
    """Run a contestant once in a session of its own, and watch the processes of that session."""
    before = content(lake)
    command = contestant.arguments(raw, lake)
    logs = {"DBT_TARGET_PATH": f"{lake}.target", "DBT_LOG_PATH": f"{lake}.logs"}
    places = {"RAW_ROOT": str(raw), "LAKE_ROOT": str(lake), "VIRTUAL_ENV": str(Path(command[0]).parent.parent)}
    with Path(f"{lake}.out").open("ab") as output:
        started = time.monotonic()
        process = subprocess.Popen(
            command,
            cwd=PROJECT,
            env=os.environ | places | logs,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
        cpu: dict[int, float] = {}
        peak = 0
        while process.poll() is None:
            used, memory = usage(process.pid)
            cpu |= used
            peak = max(peak, memory)
            time.sleep(0.05)
        seconds = time.monotonic() - started
    if process.returncode:
        sys.exit(f"{contestant.name} failed in {scenario}: see {lake}.out")
    after = content(lake)
    new = {name: after[name] for name in after.keys() - before.keys()}
    return Run(contestant.name, scenario, seconds, sum(cpu.values()), peak, sum(new.values()), len(new))


def usage(session: int) -> tuple[dict[int, float], int]:
    """Give the CPU seconds of each process of a session, and the memory of all of them."""
    cpu: dict[int, float] = {}
    memory = 0
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session:
            cpu[int(path.parent.name)] = (int(fields[11]) + int(fields[12])) / TICKS
            memory += int(fields[21]) * os.sysconf("SC_PAGE_SIZE")
    return cpu, memory


def content(folder: Path) -> dict[str, int]:
    return {str(path): path.stat().st_size for path in folder.rglob("*") if path.is_file()}


def verdicts(order: list[Contestant], lakes: dict[str, Path], events: int, matched: int) -> dict[str, str]:
    """Hold every contestant's gold to what was written and, by a hash of its rows, to the first that has as many."""
    checker = [str(environment("polars_script")), str(PEERS / "polars_script" / "check.py")]
    told: dict[str, str] = {}
    hashes: list[str] = []
    for contestant in order:
        gold = lakes[contestant.name] / contestant.gold
        answer = subprocess.run([*checker, gold], check=True, capture_output=True, text=True).stdout
        found = json.loads(answer)
        if (found["events"], found["matched"]) != (events, matched):
            told[contestant.name] = f"wrong: {found['events']:,} of {events:,} events"
        else:
            hashes.append(found["hash"])
            told[contestant.name] = "right" if found["hash"] == hashes[0] else "wrong: other rows"
    return told


def table(runs: list[Run], base: str) -> str:
    """Give the medians as Markdown, with ratios to our own."""
    lines = [
        "| scenario | contestant | wall s (min to max) | ratio | CPU s | memory GiB | MB written | files | result |",
        "|---|---|---:|---:|---:|---:|---:|---:|---|",
    ]
    for scenario in sorted({run.scenario for run in runs}):
        medians = {}
        for name in dict.fromkeys(run.contestant for run in runs):
            of = [run for run in runs if (run.scenario, run.contestant) == (scenario, name)]
            walls = [run.seconds for run in of]
            medians[name] = statistics.median(walls)
            lines.append(
                f"| {scenario} | {name} | {medians[name]:.1f} ({min(walls):.1f} to {max(walls):.1f}) "
                f"| {medians[name] / medians.get(base, medians[name]):.2f} "
                f"| {statistics.median(run.cpu_seconds for run in of):.1f} "
                f"| {max(run.peak_bytes for run in of) / 2**30:.1f} "
                f"| {statistics.median(run.written_bytes for run in of) / 1e6:.1f} "
                f"| {statistics.median(run.written_files for run in of):.0f} | {of[-1].verdict} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    main(
        os.environ.get("SIZE", "100k"),
        os.environ.get("SCENARIO", "S1,S2,S4,S5").split(","),
        os.environ.get("PEERS", ",".join(contestants())).split(","),
    )
