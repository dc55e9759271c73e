"""Run dbt in this process, on the lake that was just loaded and in the Spark session that loaded it."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from dbt.cli.main import dbtRunner

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ingest.load import Settings


def run_dbt_build(settings: Settings, options: Sequence[str], *, log_format: str) -> bool:
    """Run `dbt build` with these options and without unit tests; tell whether it succeeded."""
    os.chdir(settings.project)
    os.environ["LAKE_ROOT"] = str(settings.lake.root)
    colors = "--use-colors" if sys.stdout.isatty() else "--no-use-colors"
    logging = [colors, "--log-format", log_format]
    return dbtRunner().invoke([*logging, "build", "--exclude-resource-type", "unit_test", *options]).success
