"""The benchmarks run, and hold what they measure to what the files should give; how fast it was is not judged here."""

from __future__ import annotations

from tests.integration.test_faults import for_a_long_run
from tests.integration.worker import run_process


@for_a_long_run
def test_all_contestants_give_what_the_files_should_give() -> None:
    result = run_process("python", "-m", "benchmarks", SIZE="1k", SCENARIO="S1,S2,S3,S4,S6", PEERS="ours,polars_script")
    assert result.returncode == 0, result.stderr
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in result.stdout.splitlines()[2:]]
    assert [(row[0], row[1], row[-1]) for row in rows] == [
        (scenario, name, "right")
        for scenario in ("S1", "S2", "S4", "S3", "S6 after 01 days")
        for name in ("ours", "polars_script")
    ]
