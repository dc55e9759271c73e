"""Who takes part: our pipeline, and what its users might use instead."""

from __future__ import annotations

import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
PEERS = PROJECT / "benchmarks" / "peers"
WORK = PROJECT / "target" / "benchmarks"
UNTESTED = ("--exclude-resource-type", "unit_test", "--exclude-resource-type", "test")


@dataclass(frozen=True)
class Contestant:
    """A way to get from raw files to a table of enriched events: what its Python runs, and where the table is."""

    name: str
    command: tuple[str, ...]
    gold: str
    # What only this one can do, by scenario.
    others: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def arguments(self, command: tuple[str, ...], raw: Path, lake: Path) -> list[str]:
        values = {"peer": PEERS / self.name, "raw": raw, "lake": lake}
        return [str(environment(self.name)), *(part.format(**values) for part in command)]


def contestants() -> dict[str, Contestant]:
    """Name all contestants; a peer's environment is made when it takes part."""
    dbt = ("-m", "dbt.cli.main", "run", "--project-dir", "{peer}", "--profiles-dir", "{peer}")
    script = ("{peer}/run.py", "{raw}", "{lake}")
    build = ("-m", "ingest", "build", "--settle", "0", "--", *UNTESTED)
    gold = "gold/enriched_driver_events"
    ours = Contestant(
        "ours",
        build,
        gold,
        {
            "S5 gold anew": ("-m", "dbt.cli.main", "run", "--full-refresh", "--select", "enriched_driver_events+"),
            "S8": ("-m", "dbt.cli.main", "test", "--exclude-resource-type", "unit_test"),
        },
    )
    others = (
        Contestant("ours_gold", (*build, "--select", "+enriched_driver_events"), gold),
        Contestant("stock_dbt", dbt, "gold"),
        Contestant("pyspark_script", script, "gold"),
        Contestant("duckrun", dbt, "main/gold"),
        Contestant("polars_script", script, "gold"),
    )
    return {contestant.name: contestant for contestant in (ours, *others)}


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
