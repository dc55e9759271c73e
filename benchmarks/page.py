"""The results as docs/performance.json, and as tables and a plot in docs/performance.md."""

from __future__ import annotations

import json
from dataclasses import asdict
from statistics import median

from matplotlib import rc_context
from matplotlib.figure import Figure

from benchmarks.contestants import PROJECT
from benchmarks.measuring import Run

PAGE = PROJECT / "docs" / "performance.md"
RESULTS = PAGE.with_suffix(".json")
PLOT = PAGE.with_name("growth.svg")
PUBLISHED = ("100k", "1m", "10m")
HEAD = """| scenario | contestant | wall s (min to max) | ratio | CPU s | memory GiB | MB written | files | result |
|---|---|---:|---:|---:|---:|---:|---:|---|"""


def publish(size: str, runs: list[Run]) -> str:
    """Put results in place of those of the same contestants and scenarios; give the table of this size."""
    results = json.loads(RESULTS.read_text(encoding="utf-8")) if RESULTS.exists() else {}
    measured = {(run.scenario, run.contestant) for run in runs}
    kept = [Run(**old) for old in results.get(size, []) if (old["scenario"], old["contestant"]) not in measured]
    all_runs = sorted([*kept, *runs], key=lambda run: run.scenario)
    results[size] = [asdict(run) for run in all_runs]
    RESULTS.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")
    told = table(all_runs)
    start, end = f"<!-- {size} -->", f"<!-- end of {size} -->"
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(start)
    PAGE.write_text(f"{before}{start}\n{told}\n{end}{rest.partition(end)[2]}", encoding="utf-8")
    plot([run for run in all_runs if run.scenario.startswith("S6")])
    return told


def table(runs: list[Run]) -> str:
    """Give the medians as Markdown, with ratios to our own."""
    lines = [HEAD]
    for scenario in dict.fromkeys(run.scenario for run in runs):
        of = [run for run in runs if run.scenario == scenario]
        base = median(run.seconds for run in [run for run in of if run.contestant == "ours"] or of)
        lines += [
            row([run for run in of if run.contestant == name], base)
            for name in dict.fromkeys(run.contestant for run in of)
        ]
    return "\n".join(lines)


def row(runs: list[Run], base: float) -> str:
    walls = [run.seconds for run in runs]
    digits = 1 if base >= 1 else 2
    cells = (
        runs[0].scenario,
        runs[0].contestant,
        f"{median(walls):.{digits}f} ({min(walls):.{digits}f} to {max(walls):.{digits}f})",
        f"{median(walls) / base:.2f}",
        f"{median(run.cpu_seconds for run in runs):.1f}",
        f"{max(run.peak_bytes for run in runs) / 2**30:.1f}",
        f"{median(run.written_bytes for run in runs) / 1e6:.1f}",
        f"{median(run.written_files for run in runs):.0f}",
        runs[-1].verdict,
    )
    return f"| {' | '.join(cells)} |"


def plot(runs: list[Run]) -> None:
    """Draw what a day costs against the days that were there before."""
    if not runs:
        return
    with rc_context({"svg.fonttype": "none", "svg.hashsalt": "growth"}):
        figure = Figure(figsize=(7, 3.5), layout="constrained")
        axes = figure.subplots()
        for name in dict.fromkeys(run.contestant for run in runs):
            seconds: dict[int, list[float]] = {}
            for run in runs:
                if run.contestant == name:
                    seconds.setdefault(int(run.scenario.split()[2]), []).append(run.seconds)
            axes.plot(list(seconds), [median(of) for of in seconds.values()], marker="o", label=name)
        axes.set(xlabel="days before", ylabel="seconds for one more day", ylim=(0, None))
        axes.grid(alpha=0.3)
        axes.legend()
        figure.savefig(PLOT, metadata={"Date": None, "Creator": None})
