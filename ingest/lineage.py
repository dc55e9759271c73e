"""Where each column of silver, gold and audit comes from: the bronze columns, and so the raw keys, read off the SQL.

Run as `python -m ingest.lineage` after dbt has compiled the project: it writes docs/column_lineage.json, which
`dbt docs generate` shows beside each column.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlglot import exp, parse_one
from sqlglot.errors import SqlglotError
from sqlglot.lineage import lineage

from ingest.describe import LINEAGE_FILE
from ingest.errors import IngestError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

MANIFEST = LINEAGE_FILE.parent.parent / "target" / "manifest.json"
Lineage = dict[str, dict[str, list[str]]]
Direct = dict[str, dict[str, set[str]]]


def main() -> None:
    manifest = json.loads(MANIFEST.read_text(encoding="utf-8"))
    LINEAGE_FILE.write_text(json.dumps(column_lineage(manifest), indent=1) + "\n", encoding="utf-8")


def column_lineage(manifest: Mapping[str, Any]) -> Lineage:
    """Give for each model (`schema.name`) and column the columns of sources and seeds that its value is made of.

    A column that is counted or constant has none. Raises IngestError if a column cannot be resolved.
    """
    nodes = [*manifest["nodes"].values(), *manifest["sources"].values()]
    tables = {_name(node): node for node in nodes if node["resource_type"] in {"model", "seed", "source"}}
    schema: dict[str, Any] = {}
    for node in filter(lambda node: node["columns"], tables.values()):
        columns = {name: column.get("data_type") or "string" for name, column in node["columns"].items()}
        schema.setdefault(node["schema"], {})[_name(node).partition(".")[2]] = columns
    seeds = {name for name, node in tables.items() if node["resource_type"] == "seed"}
    direct: Direct = {
        name: {column: _read_columns(node["compiled_code"], column, schema, name) for column in node["columns"]}
        for name, node in tables.items()
        if node["resource_type"] == "model"
    }
    for name, model in direct.items():
        for read in model.values():
            for seed in {origin.rpartition(".")[0] for origin in read} & seeds:
                read.update(_columns_that_find(seed, tables[name]["compiled_code"], schema, name))
    return {
        name: {column: sorted(_origins(name, column, direct)) for column in direct[name]} for name in sorted(direct)
    }


def _name(node: Mapping[str, Any]) -> str:
    return f"{node['schema']}.{node.get('identifier') or node['alias']}"


def _read_columns(sql: str, column: str, schema: dict[str, Any], name: str) -> set[str]:
    """Give the columns of other tables that a model's column is computed from, as `schema.table.column`."""
    try:
        leaves = [node for node in lineage(column, sql, schema=schema, dialect="spark").walk() if not node.downstream]
    except SqlglotError as error:
        message = f"{name}.{column}: where it comes from cannot be told from the model's SQL: {error}"
        raise IngestError(message) from error
    found = set()
    for leaf in leaves:
        if isinstance(leaf.expression, exp.Table):
            table = f"{leaf.expression.db}.{leaf.expression.name}"
            found.add(f"{table}.{exp.to_column(leaf.name, dialect='spark').name}")
        elif any(leaf.expression.find_all(exp.Column)):
            message = f"{name}.{column}: {leaf.expression.sql('spark')} leads to no table."
            raise IngestError(message)
    return {origin for origin in found if origin.rpartition(".")[0] != name}


def _columns_that_find(seed: str, sql: str, schema: dict[str, Any], name: str) -> set[str]:
    """Give the columns by which a model finds the rows of a seed: its value is as much theirs."""
    tree = parse_one(sql, dialect="spark")
    found = set()
    for join in tree.find_all(exp.Join):
        for column in join.args["on"].find_all(exp.Column) if join.this.name == seed.partition(".")[2] else ():
            if column.table != join.this.name:
                asked = tree.copy()
                asked.set("expressions", [exp.column(column.name)])
                asked.args["from_"].set("this", exp.to_table(column.table))
                found |= _read_columns(asked.sql("spark"), column.name, schema, name)
    return found


def _origins(name: str, column: str, direct: Direct) -> Iterable[str]:
    """Follow a column through the models down to what no model makes."""
    origins: set[str] = set()
    for read in direct[name][column]:
        table, _, of_table = read.rpartition(".")
        origins |= set(_origins(table, of_table, direct)) if table in direct else {read}
    return origins


if __name__ == "__main__":
    main()
