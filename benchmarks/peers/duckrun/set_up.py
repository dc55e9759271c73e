"""Lay DuckDB's Delta extension, which is a package, where DuckDB looks for it in this environment."""

from __future__ import annotations

import sys
from pathlib import Path

import duckdb
import duckdb_extension_delta

(extension,) = Path(duckdb_extension_delta.__file__).parent.glob("extensions/*/delta.duckdb_extension")
duckdb.connect(config={"extension_directory": f"{sys.prefix}/extensions"}).install_extension(str(extension))
