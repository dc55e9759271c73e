"""What the documentation says of this lake and of each column's origin, beside what the YAML says."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ingest.lake import has_table
from ingest.status import reject_reasons

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ingest.lake import Lake

LINEAGE_FILE = Path(__file__).resolve().parent.parent / "docs" / "column_lineage.json"
REJECTED = ("silver.rejected_driver_events", "silver.rejected_companies")


def describe(nodes: Mapping[str, Any], lake: Lake) -> None:
    """Add to the descriptions of dbt's nodes: origins to the columns, shares of the reasons to the rejected tables."""
    lineage = json.loads(LINEAGE_FILE.read_text(encoding="utf-8"))
    for node in nodes.values():
        name = f"{node.schema}.{node.alias}"
        if node.resource_type != "model":
            continue
        for column in node.columns.values():
            origins = lineage.get(name, {}).get(column.name)
            if origins:
                column.description += f" From {', '.join(f'`{origin}`' for origin in origins)}."
        if name in REJECTED and has_table(lake, name):
            node.description += f"\n\n{shares(lake, name)}"


def shares(lake: Lake, name: str) -> str:
    """Give the reasons of a rejected table and their shares as a table in Markdown."""
    rows = reject_reasons(lake, name)
    total = sum(row["n"] for row in rows)
    lines = [f"| {row['reject_reason']} | {row['n']:,} | {row['n'] / total:.1%} |" for row in rows]
    return "\n".join(["| reason | records | share |", "|---|---:|---:|", *lines])
