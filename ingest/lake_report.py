"""One page on the state of a lake: a single HTML file that loads nothing, made without a JVM."""

from __future__ import annotations

import shlex
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import jinja2

from ingest.charts import bars, line, stacked_bars
from ingest.lake import check_is_lake, has_table, literal, query, query_if_there
from ingest.load import learn
from ingest.status import findings, last_run

if TYPE_CHECKING:
    from ingest.lake import Lake

TEMPLATE = Path(__file__).with_name("lake_report.html.jinja")
MOST_ROWS = 10
MOST_LOADS = MOST_DAYS = 60
Row = dict[str, Any]


def write_report(lake: Lake, path: Path) -> None:
    """Write the report on a lake. Raises IngestError if there is no lake, or the file cannot be written."""
    check_is_lake(lake)
    template = jinja2.Environment(autoescape=True).from_string(TEMPLATE.read_text(encoding="utf-8"))
    files = query_if_there(lake, "audit.source_file_audit", "select * from t")
    enrichment = _enrichment(lake)
    page = template.render(**facts(lake, files, enrichment), charts=charts(lake, files, enrichment))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(page, encoding="utf-8", errors="backslashreplace")


def facts(lake: Lake, files: list[Row], enrichment: list[Row]) -> Row:
    """Give the numbers and texts of the page from the audit of files, that of enrichment, and the lake."""
    counts = {
        feed: {name: sum(row[name] for row in files if row["feed"] == feed)
               for name in ("records", "accepted", "duplicates", "rejected", "conflicting")}
        for feed in ("driver_events", "companies")
    }  # fmt: skip
    return {
        "made_at": f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC",
        "counts": counts,
        "files": len(files),
        "unreconciled": sum(not row["is_reconciled"] for row in files),
        "loads": len({row["_load_id"] for row in files}),
        "build": last_run(lake),
        "match": enrichment[-1] if enrichment else None,
        "needs": findings(lake, learn(lake)),
        "reasons": _reasons(files),
        "unmatched": query_if_there(
            lake, "audit.unmatched_companies", f"select * from t order by events desc, company_id limit {MOST_ROWS}"
        ),
        "attention": _attention(lake, files),
    }


def charts(lake: Lake, files: list[Row], enrichment: list[Row]) -> Row:
    """Give the page's charts as SVG; one that has nothing to show yet is missing."""
    drawn = {}
    loads = sorted({row["_load_id"] for row in files})[-MOST_LOADS:]
    rejected: Counter[tuple[int, str]] = Counter()
    for row in files:
        rejected.update({(row["_load_id"], reason["reason"]): reason["records"] for reason in row["reject_reasons"]})
    reasons = {reason for _, reason in rejected}
    if reasons:
        series = {reason: [rejected[load, reason] for load in loads] for reason in sorted(reasons)}
        drawn["rejects"] = stacked_bars([f"load {load}" for load in loads], series, unit="records")
    if builds := enrichment[-MOST_LOADS:]:
        labels = [f"{row['started_at']:%m-%d %H:%M}" for row in builds]
        rates = [100 * row["match_rate"] for row in builds]
        drawn["match"] = line(labels, rates, threshold=[100 * row["threshold"] for row in builds], unit="% matched")
    if days := _days(lake):
        types = ("start_driving", "stop_driving", "delivered")
        drawn["days"] = stacked_bars(
            [f"{day['event_date']:%Y-%m-%d}" for day in days],
            {name: [day[name] for day in days] for name in types},
            unit="events",
        )
    if steps := _steps(lake):
        drawn["steps"] = bars({row["step"].rpartition(".")[2]: row["seconds"] for row in steps}, unit="seconds")
    return drawn


def _enrichment(lake: Lake) -> list[Row]:
    if not has_table(lake, "audit.enrichment_audit"):
        return []
    sql = (
        "select audit.*, runs.started_at from audit inner join runs on audit.run_id = runs.run_id"
        " order by runs.started_at"
    )
    return query(lake, sql, audit="audit.enrichment_audit", runs="audit.pipeline_runs")


def _days(lake: Lake) -> list[Row]:
    sql = (
        "select event_date, sum(start_driving_events) as start_driving, sum(stop_driving_events) as stop_driving,"
        " sum(delivered_events) as delivered from t group by event_date order by event_date desc"
        f" limit {MOST_DAYS}"
    )
    return query_if_there(lake, "gold.daily_driver_activity", sql)[::-1]


def _steps(lake: Lake) -> list[Row]:
    """Give the steps of the newest build that has any, the slowest first."""
    if not has_table(lake, "audit.pipeline_steps"):
        return []
    sql = """
        select step, seconds from steps inner join runs on steps.run_id = runs.run_id
        where step not like 'test.%' and seconds is not null and started_at = (
            select max(started_at) from steps inner join runs on steps.run_id = runs.run_id where seconds is not null
        )
        order by seconds desc, step
    """
    return query(lake, sql, steps="audit.pipeline_steps", runs="audit.pipeline_runs")


def _reasons(files: list[Row]) -> list[Row]:
    total = Counter[tuple[str, str]]()
    for row in files:
        total.update({(row["feed"], reason["reason"]): reason["records"] for reason in row["reject_reasons"]})
    records = Counter[str]()
    for row in files:
        records[row["feed"]] += row["records"]
    return [
        {"feed": feed, "reason": reason, "records": count, "share": count / records[feed]}
        for (feed, reason), count in sorted(total.items(), key=lambda item: (-item[1], item[0]))
    ]


def _attention(lake: Lake, files: list[Row]) -> list[Row]:
    """Give the files that are of no use, do not add up, or have the most rejected records; each with a command."""
    wrong = [row for row in files if row["status"] != "ok" or not row["is_reconciled"] or row["rejected"]]
    wrong.sort(key=lambda row: (row["is_reconciled"], row["status"] == "ok", -row["rejected"], row["_source_file"]))
    return [row | {"command": _command(lake, row)} for row in wrong[:MOST_ROWS]]


def _command(lake: Lake, file: Row) -> str | None:
    sql = (
        f"select min(_source_line) as line from t where _load_id = {file['_load_id']}"
        f" and _source_file = {literal(file['_source_file'])} and reject_reason not in ('duplicate', 'unchanged')"
    )
    for row in query_if_there(lake, f"silver.rejected_{file['feed']}", sql):
        if row["line"] is not None:
            return f"python -m ingest trace --source-file {shlex.quote(file['_source_file'])} --line {row['line']}"
    return None
