"""A script as a polars user would write it: read the new files, drop known keys, append, join, append."""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl
from deltalake import DeltaTable

EVENT = {
    "event_id": pl.String,
    "driver_id": pl.String,
    "event_timestamp": pl.String,
    "event_type": pl.String,
    "company_id": pl.String,
    "truck_id": pl.String,
    "payload": pl.Struct({"odometer": pl.Int64, "fuel": pl.Float64}),
}
KEY = ["driver_id", "event_timestamp"]


def main(raw: Path, lake: Path) -> None:
    bronze, silver, gold = (lake / name for name in ("bronze", "silver", "gold"))
    names = sorted(str(path.relative_to(raw)) for path in raw.glob("events/**/*.jsonl"))
    if bronze.exists():
        loaded = pl.scan_delta(str(bronze)).select("source_file").unique().collect()["source_file"]
        names = sorted(set(names) - set(loaded))
    companies = pl.read_ndjson(raw / "companies.jsonl").unique("company_id", keep="last")
    if names:
        new = pl.concat([read(raw, name) for name in names])
        new.write_delta(str(bronze), mode="append")
        events = (
            new.drop_nulls(KEY)
            .with_columns(pl.col("event_timestamp").str.to_datetime("%Y-%m-%dT%H:%M:%S%.6fZ", time_zone="UTC"))
            .unique(KEY, keep="first", maintain_order=True)
        )
        if silver.exists():
            known = pl.scan_delta(str(silver)).select(KEY).collect()
            events = events.join(known, on=KEY, how="anti")
        events.write_delta(str(silver), mode="append")
    write_gold(silver, gold, companies)


def read(raw: Path, name: str) -> pl.DataFrame:
    """Read a file line by line, since one that is cut off would end the NDJSON reader."""
    lines = pl.read_csv(raw / name, has_header=False, separator="\x01", quote_char=None, new_columns=["line"])
    events = lines.filter(pl.col("line").str.ends_with("}")).select(pl.col("line").str.json_decode(pl.Struct(EVENT)))
    return events.unnest("line").with_columns(source_file=pl.lit(name))


def write_gold(silver: Path, gold: Path, companies: pl.DataFrame) -> None:
    """Join all events again whenever something is new, as companies may have changed."""
    state = gold / "_state"
    now = f"{DeltaTable(silver).version()} {companies.hash_rows().sum()}"
    if state.exists() and state.read_text() == now:
        return
    joined = pl.read_delta(str(silver)).join(companies, on="company_id", how="left")
    joined = joined.with_columns(is_company_matched=pl.col("name").is_not_null())
    joined.write_delta(str(gold), mode="overwrite")
    state.write_text(now)


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
