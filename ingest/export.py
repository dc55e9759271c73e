"""Write a table as plain files, for those who have neither Spark nor a Delta reader."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from ingest.errors import IngestError
from ingest.lake import column_types, has_table, literal, query, tables_of

if TYPE_CHECKING:
    from ingest.lake import Lake

NESTED = ("array", "map", "struct")


def export(lake: Lake, table: str, folder: Path, file_format: Literal["parquet", "csv"]) -> int:
    """Write the newest version of a table into a new folder; give the number of its rows.

    The folder is there once it is whole. Raises IngestError if it was there before, if there is no such
    table, if it does not fit the format, or if it cannot be read or written.
    """
    if not has_table(lake, table):
        message = f"{lake.root} has no table {table}, only {', '.join(tables_of(lake)) or 'none at all'}."
        raise IngestError(message)
    if folder.exists():
        message = f"{folder} is there already: name a folder that is not, as nothing is overwritten."
        raise IngestError(message)
    lists = [column for column, data_type in column_types(lake, table).items() if data_type in NESTED]
    if file_format == "csv" and lists:
        message = f"{table} has lists ({', '.join(lists)}), which CSV cannot hold: use --format parquet."
        raise IngestError(message)
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".export-") as scratch:
        files = Path(scratch) / "files"
        files.mkdir()
        try:
            (row,) = query(lake, f"copy t to {literal(f'{files.as_uri()}/')} stored as {file_format}", t=table)
        except IngestError as error:
            cause = str(error.__cause__).partition("\n")[0]
            message = (
                f"{table} could not be read, or not be written to {folder}: {cause}. Nothing was left there: see "
                "whether its disk is full; 'python -m ingest verify' tells whether the table is sound."
            )
            raise IngestError(message) from error
        files.rename(folder)
    return int(row["count"])
