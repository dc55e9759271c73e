"""`python -m benchmarks.watch`: how long after its arrival a file's rows are in gold, while a process watches.

Days of 100,000 events come in `CYCLES` files of 1,000, each `PACE` seconds after the one before and once that one is in
gold, after a pause of a random length below a second, so that files come at any moment of a cycle. Memory is that of
the watching process and its Java; with it stands the median of the last files. What follows the command is for dbt:
`--select +enriched_driver_events`.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from statistics import median, quantiles

from deltalake import DeltaTable, QueryBuilder

from benchmarks.contestants import PROJECT, UNTESTED, WORK
from benchmarks.data import write_companies, write_day

EVENTS = 1_000
FILES_PER_DAY = 100


def main(cycles: int, pace: float, dbt: list[str]) -> None:
    folder = WORK / "watch"
    shutil.rmtree(folder, ignore_errors=True)
    raw, lake, store = folder / "raw", folder / "lake", folder / "store"
    raw.mkdir(parents=True)
    write_companies(raw, 0)
    for day in range(-(-cycles // FILES_PER_DAY)):
        write_day(store, day, FILES_PER_DAY * EVENTS, files=FILES_PER_DAY)
    files = [(file, raw / file.relative_to(store)) for file in sorted(store.rglob("*.jsonl"))]
    choose = random.Random(1)
    seconds: list[float] = []
    options = ["--build", "--every", "0.5s", "--settle", "0", "--", *UNTESTED, *dbt]
    command = [sys.executable, "-m", "ingest", "watch", *options]
    places = {"RAW_ROOT": str(raw), "LAKE_ROOT": str(lake), "DBT_TARGET_PATH": str(folder / "target")}
    with (folder / "log").open("w") as log:
        arrived = arrive(*files[0])
        process = subprocess.Popen(command, cwd=PROJECT, env=os.environ | places, stdout=log, stderr=log)
        try:
            for number in range(1, cycles + 1):
                wait_until_in_gold(lake, number, process)
                seconds.append(time.monotonic() - arrived)
                if number in {10, cycles} or number % 50 == 0:
                    memory = resident(process.pid) / 2**20
                    last = seconds[-50:]
                    print(f"after {number} files: {memory:,.0f} MiB, last {len(last)} {median(last):.1f} s", flush=True)
                if number < cycles:
                    time.sleep(max(0, arrived + pace - time.monotonic()) + choose.random())
                    arrived = arrive(*files[number])
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait()
    warm = seconds[1:]
    most = quantiles(warm, n=20)[-1]
    print(f"{cycles} files: median {median(warm):.1f} s, 95 % below {most:.1f} s, first {seconds[0]:.1f} s")
    print(json.dumps([round(one, 2) for one in seconds]))


def arrive(file: Path, place: Path) -> float:
    """Put a file in its place among the raw ones; give the time."""
    place.parent.mkdir(parents=True, exist_ok=True)
    os.link(file, place)
    return time.monotonic()


def wait_until_in_gold(lake: Path, load_id: int, process: subprocess.Popen[bytes]) -> None:
    """Wait for events of this load: each file is a load of its own, the first with the companies."""
    table = lake / "gold" / "enriched_driver_events"
    seen = ""
    while True:
        if process.poll() is not None:
            sys.exit(f"the watching process has ended, see {lake.parent / 'log'}")
        if (newest := max((path.name for path in table.glob("_delta_log/*.json")), default="")) > seen:
            seen = newest
            query = QueryBuilder().register("t", DeltaTable(str(table))).execute("select max(_load_id) from t")
            if any((batch[0].to_pylist()[0] or 0) >= load_id for batch in query):
                return
        time.sleep(0.05)


def resident(process: int) -> int:
    """Give the bytes of memory of a process and all that it has started."""
    children = Path(f"/proc/{process}/task/{process}/children").read_text(encoding="utf-8").split()
    pages = int(Path(f"/proc/{process}/statm").read_text(encoding="utf-8").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") + sum(resident(int(child)) for child in children)


if __name__ == "__main__":
    main(int(os.environ.get("CYCLES", "500")), float(os.environ.get("PACE", "0")), sys.argv[1:])
