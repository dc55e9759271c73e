"""`make bench`: measure our pipeline and its peers on the same files, interleaved, and write docs/performance.md.

`SCENARIO=load` measures the way into bronze alone.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks import load
from benchmarks.contestants import PEERS, WORK, contestants, environment
from benchmarks.data import add_day, write_companies
from benchmarks.measuring import measured, started
from benchmarks.page import PUBLISHED, publish, table

if TYPE_CHECKING:
    from benchmarks.contestants import Contestant
    from benchmarks.data import Expected
    from benchmarks.measuring import Run


@dataclass(frozen=True)
class Size:
    """Events of the first and second day, and how often all is measured; for S6 a day's events, and the days before."""

    events: int
    second_day: int
    rounds: int
    growth_events: int = 100_000
    days_before: tuple[int, ...] = (1, 3, 10, 30)


SIZES = {
    "1k": Size(1_000, 1_000, 1, 1_000, (1,)),
    "100k": Size(100_000, 100_000, 1),
    "1m": Size(1_000_000, 1_000_000, 2),
    "10m": Size(10_000_000, 1_000_000, 1),
}
WARM = Path(__file__).parent / "warm.py"
TRACE = ("-m", "ingest", "trace", "--source-file", "events/20240304/000.jsonl", "--line", "1")


@dataclass
class Course:
    """Raw files that grow by the day, and a lake for each contestant, which all take a step before the next.

    Raw files are written once for all courses whose first day has as many events.
    """

    folder: Path
    first_day: int
    order: list[Contestant]
    expected: list[Expected] = field(default_factory=list)

    def __post_init__(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        for contestant in self.order:
            self.lake(contestant).mkdir(mode=0o700, parents=True)

    @property
    def raw(self) -> Path:
        return self.folder / "raw"

    def lake(self, contestant: Contestant) -> Path:
        return self.folder / contestant.name

    def add_day(self, events: int, *, companies_change: bool = True) -> None:
        day = len(self.expected)
        self.expected.append(add_day(self.raw, WORK / "data" / str(self.first_day), day, events))
        write_companies(self.raw, day if companies_change else 0)

    def step(self, scenario: str) -> list[Run]:
        """Let each contestant bring its lake up to date, in a process of its own."""
        return self.judged([self.run(scenario, contestant, contestant.command) for contestant in self.order])

    def run(self, scenario: str, contestant: Contestant, command: tuple[str, ...]) -> Run:
        lake = self.lake(contestant)
        with started(contestant.arguments(command, self.raw, lake), self.raw, lake) as process:
            return measured(scenario, process, lake)

    def judged(self, runs: list[Run]) -> list[Run]:
        """Hold every gold to what was written and, by a hash of its rows, to the first that has as many."""
        checker = [str(environment("polars_script")), str(PEERS / "polars_script" / "check.py")]
        wanted = [sum(day.events for day in self.expected), sum(day.matched for day in self.expected)]
        told: dict[str, str] = {}
        hashes: list[str] = []
        for contestant in self.order:
            answer = subprocess.run(
                [*checker, self.lake(contestant) / contestant.gold], check=True, capture_output=True, text=True
            ).stdout
            found = json.loads(answer)
            if [found["events"], found["matched"]] != wanted:
                told[contestant.name] = f"wrong: {found['events']:,} of {wanted[0]:,} events"
            else:
                hashes.append(found["hash"])
                told[contestant.name] = "right" if found["hash"] == hashes[0] else "wrong: other rows"
        return [replace(run, verdict=told[run.contestant]) for run in runs]


def days(folder: Path, order: list[Contestant], size: Size, scenarios: set[str]) -> list[Run]:
    """Take two days, then nothing, then companies that have changed; then what only we can do."""
    course = Course(folder, size.events, order)
    course.add_day(size.events)
    runs = course.step("S1")
    course.add_day(size.second_day)
    runs += course.step("S2")
    if "S4" in scenarios:
        runs += course.step("S4")
    if "S5" in scenarios:
        write_companies(course.raw, len(course.expected))
        runs += course.step("S5")
    others = [
        course.run(scenario, one, command)
        for one in order
        for scenario, command in one.others.items()
        if scenario.split()[0] in scenarios
    ]
    return runs + course.judged(others)


def warm(folder: Path, order: list[Contestant], size: Size, _scenarios: set[str]) -> list[Run]:
    """Take the second day in the process that has just taken the first; each contestant has files of its own."""
    return [run for one in order for run in warm_alone(Course(folder, size.events, [one]), one, size)]


def warm_alone(course: Course, contestant: Contestant, size: Size) -> list[Run]:
    lake = course.lake(contestant)
    done = Path(f"{lake}.done")
    done.touch()
    python, *command = contestant.arguments(contestant.command, course.raw, lake)
    with started([python, str(WARM), str(done), *command], course.raw, lake) as process:
        for times, events in enumerate((size.events, size.second_day), 1):
            course.add_day(events)
            print(file=process.stdin, flush=True)
            run = measured("S3", process, lake, partial(has_done, done, times))
    return course.judged([run])


def has_done(done: Path, times: int) -> bool:
    return done.stat().st_size >= times


def growth(folder: Path, order: list[Contestant], size: Size, _scenarios: set[str]) -> list[Run]:
    """Take a day of the same size after more and more days; the companies stay as they are."""
    course = Course(folder, size.growth_events, order)
    runs: list[Run] = []
    for before in size.days_before:
        while len(course.expected) < before:
            course.add_day(size.growth_events, companies_change=False)
        course.step("history")
        course.add_day(size.growth_events, companies_change=False)
        runs += course.step(f"S6 after {before:02} days")
        traces = [course.run(f"S7 after {before:02} days", one, TRACE) for one in order if one.name == "ours"]
        runs += course.judged(traces)
    return runs


FLOWS = {days: {"S1", "S2", "S4", "S5", "S8"}, warm: {"S3"}, growth: {"S6", "S7"}}


def main(size: str, scenarios: set[str], names: list[str]) -> None:
    known = contestants()
    chosen = [known[name] for name in names]
    runs: list[Run] = []
    for number in range(SIZES[size].rounds):
        order = chosen if number % 2 == 0 else chosen[::-1]
        for flow, of in FLOWS.items():
            if of & scenarios:
                taken = flow(WORK / size, order, SIZES[size], scenarios)
                runs += [run for run in taken if run.scenario.split()[0] in scenarios]
    print(publish(size, runs) if size in PUBLISHED else table(runs))


if __name__ == "__main__":
    if os.environ.get("SCENARIO") == "load":
        load.measure(os.environ.get("LOADS", ",".join(load.ARRIVALS)).split(","), int(os.environ.get("ROUNDS", "3")))
        sys.exit()
    main(
        os.environ.get("SIZE", "100k"),
        set(os.environ.get("SCENARIO", "S1,S2,S3,S4,S5,S6,S7,S8").split(",")),
        os.environ.get("PEERS", ",".join(contestants())).split(","),
    )
