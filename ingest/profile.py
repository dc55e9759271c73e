"""The dbt profile: where Spark works, and with which settings."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import jinja2
import yaml

from ingest.errors import IngestError
from ingest.provision import OPTIONAL_JARS

if TYPE_CHECKING:
    from pathlib import Path

    from ingest.lake import Lake


def read_profile(project: Path, lake: Lake, target: str | None = None) -> dict[str, Any]:
    """Read a target of the profile (its default, unless named), filled in as dbt does for this lake."""
    path = project / "profiles" / "profiles.yml"
    environment = os.environ | {"LAKE_ROOT": str(lake.root), "LAKE_HOME": str(lake.home)}
    try:
        text = jinja2.Template(path.read_text(encoding="utf-8")).render(env_var=environment.get)
        profile = yaml.safe_load(text)["medallion"]
        output: dict[str, Any] = profile["outputs"][target or profile["target"]]
    except (jinja2.TemplateError, yaml.YAMLError, KeyError, TypeError) as error:
        wanted = "medallion: with a target and, under outputs:, its settings"
        found = " ".join(str(error).split())
        message = f"{path}: wanted {wanted}; found otherwise at {found}. Mend it, or take it from the repository."
        raise IngestError(message) from error
    if not lake.is_on_disk:  # no other lake must wait for these; by spark.jars the Thrift server would lose them again
        for role in ("driver", "executor"):
            output["server_side_parameters"][f"spark.{role}.extraClassPath"] = f"{OPTIONAL_JARS}/*"
    return output
