"""What a lake holds, told without a JVM."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.table import Table

from ingest.lake import has_table, query

if TYPE_CHECKING:
    from rich.console import Console

    from ingest.lake import Lake

ONE_ROW = {
    "bronze.driver_events": "record of an events file",
    "bronze.companies": "record of a companies file",
    "bronze.source_files": "file version that a load found",
    "silver.driver_events": "accepted event",
    "silver.rejected_driver_events": "record not accepted, and why",
    "silver.company_history": "version of a company",
    "silver.companies": "company, as it is now",
    "silver.rejected_companies": "record that made no version, and why",
    "gold.enriched_driver_events": "accepted event with its company",
    "gold.daily_driver_activity": "day and driver",
    "gold.daily_company_activity": "day and company",
    "gold.driving_sessions": "start of driving with its stop",
}


def show_status(lake: Lake, console: Console) -> None:
    """Print the tables with their rows, and what was rejected and left unmatched."""
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("table")
    table.add_column("rows", justify="right")
    table.add_column("each row is one")
    for name, meaning in ONE_ROW.items():
        table.add_row(name, f"{_count(lake, name):,}" if has_table(lake, name) else "-", meaning)
    console.print(table)
    for name in ("silver.rejected_driver_events", "silver.rejected_companies"):
        if has_table(lake, name):
            console.print(f"\n[bold]{name}[/bold] by reason")
            console.print(_reasons(lake, name))
    if has_table(lake, "gold.enriched_driver_events"):
        console.print(f"\n{_unmatched(lake)}")


def _count(lake: Lake, name: str) -> int:
    return int(query(lake, "select count(*) as n from t", t=name)[0]["n"])


def _reasons(lake: Lake, name: str) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(justify="right")
    table.add_column()
    sql = "select reject_reason, count(*) as n from t group by reject_reason order by n desc, reject_reason"
    for row in query(lake, sql, t=name):
        table.add_row(f"{row['n']:,}", row["reject_reason"])
    return table


def _unmatched(lake: Lake) -> str:
    sql = "select count(*) as events, count(*) filter (where is_company_matched) as matched from t"
    counts = query(lake, sql, t="gold.enriched_driver_events")[0]
    share = counts["matched"] / counts["events"] if counts["events"] else 1
    return f"{counts['matched']:,} of {counts['events']:,} events ({share:.1%}) have a known company"
