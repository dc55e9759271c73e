"""What a lake holds and what it needs, told without a JVM."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rich.table import Table

from ingest.changes import changed_files
from ingest.lake import BUILD_LOCK, has_table, is_held, is_lake, query, query_if_there
from ingest.load import learn
from ingest.manifest import read_seen

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rich.console import Console

    from ingest.discovery import Listing
    from ingest.feeds import Feed
    from ingest.lake import Lake
    from ingest.load import Knowledge
    from ingest.scanning import Limits

MOST_FILES = 10
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
MODELS = {name.partition(".")[2]: name for name in ONE_ROW if not name.startswith("bronze.")}


def show_status(
    lake: Lake, console: Console, feeds: Sequence[Feed], listing: Listing | None, limits: Limits
) -> list[str]:
    """Print what the lake holds and what is waiting; give what needs a person, a sentence each.

    `listing` has the raw files, if those that no load has read are to be counted too.
    """
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
    knowledge = learn(lake)
    for line in _progress(lake, knowledge, listing, limits):
        console.print(line, soft_wrap=True)
    for line in _undeclared_keys(lake, feeds):
        console.print(line, soft_wrap=True, markup=False)
    return findings(lake, knowledge, listing) if is_lake(lake) else []


def findings(lake: Lake, knowledge: Knowledge, listing: Listing | None = None) -> list[str]:
    """Say what of a lake needs a person, a sentence each; with a listing, only of failed files that are still there."""
    return [*_failed_files(knowledge, listing), *_audit_findings(lake, knowledge)]


def _count(lake: Lake, name: str) -> int:
    return int(query(lake, "select count(*) as n from t", t=name)[0]["n"])


def reject_reasons(lake: Lake, name: str) -> list[dict[str, Any]]:
    """Count the rows `n` of a rejected table by `reject_reason`, the most frequent first."""
    sql = "select reject_reason, count(*) as n from t group by reject_reason order by n desc, reject_reason"
    return query(lake, sql, t=name)


def _reasons(lake: Lake, name: str) -> Table:
    table = Table(box=None, show_header=False, pad_edge=False)
    table.add_column(justify="right")
    table.add_column()
    for row in reject_reasons(lake, name):
        table.add_row(f"{row['n']:,}", row["reject_reason"])
    return table


def _unmatched(lake: Lake) -> str:
    sql = "select count(*) as events, count(*) filter (where is_company_matched) as matched from t"
    counts = query(lake, sql, t="gold.enriched_driver_events")[0]
    share = counts["matched"] / counts["events"] if counts["events"] else 1
    return f"{counts['matched']:,} of {counts['events']:,} events ({share:.1%}) have a known company"


def _progress(lake: Lake, knowledge: Knowledge, listing: Listing | None, limits: Limits) -> Iterator[str]:
    """Say which load and build were the last, and what the next ones would find."""
    if knowledge.load_id:
        yield f"last load: {knowledge.load_id}, of {knowledge.loaded_at:%Y-%m-%d %H:%M:%S} UTC"
    for run in last_run(lake):
        at = f"{run['started_at']:%Y-%m-%d %H:%M:%S} UTC"
        yield f"last build: {run['status']}, of {at}, up to load {run['up_to_load_id']}"
    waiting = knowledge.load_id - _built_up_to(lake)
    if waiting > 0:
        yield f"waiting: {waiting:,} loads that no build has brought to gold; run 'dbt build'"
    if listing is not None:
        files = changed_files(listing, knowledge.newest, read_seen(lake), now=datetime.now(UTC), limits=limits)
        yield f"waiting: {len(files):,} raw files that are new or may have changed" + (
            "; run 'python -m ingest'" if files else ""
        )


def last_run(lake: Lake) -> list[dict[str, Any]]:
    return query_if_there(lake, "audit.pipeline_runs", "select * from t order by started_at desc limit 1")


def _built_up_to(lake: Lake) -> int:
    """Give the load up to which every table of silver and gold is complete."""
    numbers = complete_up_to(lake)
    return min(numbers.get(model, 0) for model in MODELS)


def complete_up_to(lake: Lake) -> dict[str, int]:
    """Give, by the names of models and tests, the load up to which each is complete."""
    sql = "select step, max(complete_up_to_load_id) as load_id from t group by step"
    steps = query_if_there(lake, "audit.pipeline_steps", sql)
    return {row["step"].rpartition(".")[2]: row["load_id"] or 0 for row in steps}


def _undeclared_keys(lake: Lake, feeds: Sequence[Feed]) -> Iterator[str]:
    declared = {(feed.name, key) for feed in feeds for key in feed.keys}
    sql = "select feed, unknown_key, sum(records) as n from t group by feed, unknown_key order by n desc, unknown_key"
    found = [
        row
        for row in query_if_there(lake, "audit.unknown_keys", sql)
        if (row["feed"], row["unknown_key"]) not in declared
    ]
    for row in found[:MOST_FILES]:
        yield f"{row['feed']}: {row['n']:,} records have the key {row['unknown_key']!r}, which is not declared"
    if len(found) > MOST_FILES:
        yield f"and {len(found) - MOST_FILES:,} other keys, see audit.unknown_keys"


def _failed_files(knowledge: Knowledge, listing: Listing | None) -> Iterator[str]:
    there = None if listing is None else {file.name for file in listing.files}
    failed = [
        version
        for version in knowledge.newest.values()
        if version.status == "failed" and (there is None or version.source_file in there)
    ]
    for version in failed[:MOST_FILES]:
        yield f"{version.source_file}: failed, {version.reason}"
    if len(failed) > MOST_FILES:
        yield f"and {len(failed) - MOST_FILES:,} other failed files, see bronze.source_files"


def _audit_findings(lake: Lake, knowledge: Knowledge) -> Iterator[str]:
    """Say what the audit of the last build holds against it."""
    for run in last_run(lake):
        if run["status"] == "failed":
            yield f"the last build failed in {run['failed_step']}: see to it and run 'dbt build' again"
        elif run["status"] != "succeeded" and not is_held(lake, BUILD_LOCK):
            yield "the last build was killed: run 'dbt build' again"
        of_run = f"where run_id = '{run['run_id']}' and status = 'breached'"
        for row in query_if_there(lake, "audit.enrichment_audit", f"select * from t {of_run}"):
            yield (
                f"{row['match_rate']:.2%} of {row['events']:,} events have a known company, wanted are at least "
                f"{row['threshold']:.2%}: see audit.unmatched_companies"
            )
        for row in query_if_there(lake, "audit.rejection_audit", f"select * from t {of_run}"):
            yield (
                f"{row['rejected_share']:.2%} of {row['records']:,} records of {row['feed']} are rejected, at most "
                f"{row['threshold']:.2%} may be: see audit.source_file_audit"
            )
    sql = (
        "select _source_file, _load_id, status, reason, is_reconciled from t"
        " where status = 'unusable' or not is_reconciled order by _load_id desc, _source_file"
    )
    found = [
        row
        for row in query_if_there(lake, "audit.source_file_audit", sql)
        if not row["is_reconciled"]
        or ((newest := knowledge.newest.get(row["_source_file"])) and newest.load_id == row["_load_id"])
    ]
    for row in found[:MOST_FILES]:
        wrong = row["reason"] if row["is_reconciled"] else "manifest, bronze and silver do not agree on its records"
        yield f"{row['_source_file']}, load {row['_load_id']}: {wrong}"
    if len(found) > MOST_FILES:
        yield f"and {len(found) - MOST_FILES:,} other files, see audit.source_file_audit"
