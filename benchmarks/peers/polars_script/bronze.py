"""The script's first step alone: read the files, write what can be read of them as one Delta table."""

from __future__ import annotations

import sys
from pathlib import Path

import polars as pl
from run import read

raw, lake = Path(sys.argv[1]), sys.argv[2]
names = sorted(str(path.relative_to(raw)) for path in raw.glob("events/**/*.jsonl"))
pl.concat([read(raw, name) for name in names]).write_delta(lake, mode="append")
