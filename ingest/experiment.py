"""The comparison of the variants of silver, as a short table, told without a JVM."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rich.table import Table

from ingest.errors import IngestError
from ingest.lake import has_table, open_table, query

if TYPE_CHECKING:
    from rich.console import Console

    from ingest.lake import Lake

VARIANTS = ("a", "b")
EXAMPLES = 3
_SCHEMA = "silver_experiments"


def show_experiment(lake: Lake, console: Console) -> None:
    """Print what the metrics tables say. Raises IngestError if the variants were not built."""
    if not has_table(lake, f"{_SCHEMA}.variant_differences"):
        message = f"{lake.root}: the variants are not built in this lake; run 'make experiment'."
        raise IngestError(message)
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("measure")
    for variant in VARIANTS:
        table.add_column(f"variant {variant.upper()}", justify="right")
    for measure, values in _measures(lake).items():
        table.add_row(measure, *(values.get(variant, "-") for variant in VARIANTS))
    console.print(table)
    for line in _differences(lake):
        console.print(line, markup=False)


def _measures(lake: Lake) -> dict[str, dict[str, str]]:
    """Give each measure by its name, and for each variant its value as text."""
    measures: dict[str, dict[str, str]] = {}
    outcomes = "select * from t order by outcome <> 'accepted', outcome"
    for row in _rows(lake, "variant_rejections", outcomes):
        measure = row["outcome"] if row["outcome"] == "accepted" else f"rejected: {row['outcome']}"
        told = f"{row['records']:,} ({row['outcome_share']:.2%})"
        measures.setdefault(measure, {})[row["variant_name"]] = told
    for row in _rows(lake, "variant_completeness", "select * from t order by filled_column"):
        of_variant = measures.setdefault(f"{row['filled_column']} filled", {})
        of_variant[row["variant_name"]] = f"{row['filled_share']:.2%}"
    for variant in VARIANTS:
        for measure, told in _costs(lake, f"variant_{variant}_outcomes").items():
            measures.setdefault(measure, {})[variant] = told
    return measures


def _costs(lake: Lake, model: str) -> dict[str, str]:
    actions = open_table(lake, f"{_SCHEMA}.{model}").get_add_actions(flatten=True)
    size, records = (sum(actions[name].to_pylist()) for name in ("size_bytes", "num_records"))
    costs = {"bytes": f"{size:,}"}
    sql = f"select seconds from t where step = 'model.medallion.{model}' and table_version is not null"
    steps = query(lake, f"{sql} order by table_version desc limit 1", t="audit.pipeline_steps")
    for seconds in (row["seconds"] for row in steps):
        costs |= {"seconds": f"{seconds:.1f}", "records a second": f"{records / seconds:,.0f}"}
    return costs


def _differences(lake: Lake) -> list[str]:
    lines = []
    counts = "select difference, count(*) as n from t group by difference order by difference"
    for row in _rows(lake, "variant_differences", counts):
        lines.append(f"\n{row['difference']}: {row['n']:,} events, for instance")
        examples = f"select * from t where difference = '{row['difference']}' order by driver_id, event_timestamp"
        for example in _rows(lake, "variant_differences", f"{examples} limit {EXAMPLES}"):
            places = [
                f"{variant.upper()}: {example[f'{variant}_source_file']}, line {example[f'{variant}_source_line']}"
                for variant in VARIANTS
                if example.get(f"{variant}_source_file") is not None
            ]
            lines.append(f"  {example['driver_id']} at {example['event_timestamp']}; {'; '.join(places)}")
    return lines


def _rows(lake: Lake, model: str, sql: str) -> list[dict[str, Any]]:
    return query(lake, sql, t=f"{_SCHEMA}.{model}")
