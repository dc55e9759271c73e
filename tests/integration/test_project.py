"""The dbt project as a whole: what dbt's manifest says of it, and how its commands behave."""

from __future__ import annotations

import json
import shutil
from collections import Counter
from typing import TYPE_CHECKING, Any

import pytest
from deltalake import DeltaTable

from ingest.describe import LINEAGE_FILE
from ingest.lineage import column_lineage
from tests.integration.lakes import SILVER_AND_GOLD, read_table, table_versions
from tests.integration.worker import Worker, copy_project, run_process

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a copy of the dbt project that a test may change, with one seed more."""
    folder = copy_project(tmp_path_factory.mktemp("project") / "copy")
    (folder / "seeds" / "odd_values.csv").write_text(
        'id,text,number\n1,O\'Brien,9007199254740993\n2,,\n3,"back\\slash\nnew line; ""quoted""",-1\n', encoding="utf-8"
    )
    (folder / "seeds" / "odd_values.yml").write_text(
        "seeds:\n  - {name: odd_values, config: {column_types: {id: int, text: string, number: bigint}}}\n",
        encoding="utf-8",
    )
    return folder


@pytest.fixture(scope="module")
def empty_lake(project: Path, tmp_path_factory: pytest.TempPathFactory) -> Worker:
    """Give a worker whose lake was built before any load."""
    folder = tmp_path_factory.mktemp("empty")
    worker = Worker(folder / "lake", folder / "raw", project=project)
    assert worker.dbt("docs", "generate") == 0
    shutil.copy(folder / "target" / "manifest.json", folder / "documented.json")
    assert worker.dbt("build", "--warn-error") == 0
    return worker


def manifest(worker: Worker) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((worker.lake.parent / "target" / "manifest.json").read_text(encoding="utf-8"))
    return content


def test_a_build_of_an_empty_lake_gives_empty_delta_tables(empty_lake: Worker) -> None:
    for table in (*SILVER_AND_GOLD, "bronze.driver_events", "bronze.companies", "bronze.source_files"):
        assert read_table(empty_lake.lake, table) == []


def test_every_model_that_is_a_table_is_a_delta_table(empty_lake: Worker) -> None:
    for node in manifest(empty_lake)["nodes"].values():
        if node["resource_type"] in {"model", "seed"} and node["config"]["materialized"] != "view":
            columns = DeltaTable(empty_lake.lake / node["schema"] / node["alias"]).schema().fields
            assert {column.name for column in columns} == set(node["columns"]) or node["name"] == "odd_values"


def test_no_two_models_share_an_alias(empty_lake: Worker) -> None:
    nodes = manifest(empty_lake)["nodes"].values()
    aliases = Counter(node["alias"] for node in nodes if node["resource_type"] in {"model", "seed"})
    assert [alias for alias, count in aliases.items() if count > 1] == []


def test_every_model_source_and_column_is_described_in_words_of_its_own(empty_lake: Worker) -> None:
    content = manifest(empty_lake)
    models = [node for node in content["nodes"].values() if node["resource_type"] == "model"]
    for node in (*models, *content["sources"].values()):
        assert node["description"], node["unique_id"]
        for column in node["columns"].values():
            assert column["description"], f"{node['unique_id']}.{column['name']}"
    descriptions = Counter(node["description"] for node in models)
    assert [text for text, count in descriptions.items() if count > 1] == []


def test_every_column_is_traced_to_where_it_comes_from(empty_lake: Worker) -> None:
    documented = json.loads((empty_lake.lake.parent / "documented.json").read_text(encoding="utf-8"))
    written = json.loads(LINEAGE_FILE.read_text(encoding="utf-8"))
    assert column_lineage(documented) == written, "run python -m ingest.lineage after dbt compile"
    column = documented["nodes"]["model.medallion.driver_events"]["columns"]["event_timestamp"]
    assert "From `bronze.driver_events.event_timestamp`, `bronze.driver_events.timestamp`." in column["description"]


def test_every_table_has_a_test_of_its_key(empty_lake: Worker) -> None:
    content = manifest(empty_lake)
    tested = {
        node["attached_node"]
        for node in content["nodes"].values()
        if node.get("test_metadata", {}).get("name") == "primary_key"
    }
    for node in content["nodes"].values():
        if node["resource_type"] == "model" and node["config"]["materialized"] != "view":
            assert node["unique_id"] in tested


def test_a_model_lies_in_the_folder_that_its_schema_is_called(empty_lake: Worker) -> None:
    for node in manifest(empty_lake)["nodes"].values():
        if node["resource_type"] == "model":
            assert node["path"].split("/")[0] == node["schema"]


def test_a_seed_arrives_exactly_and_is_written_only_when_it_differs(empty_lake: Worker) -> None:
    rows = sorted(read_table(empty_lake.lake, "silver.odd_values"), key=lambda row: row["id"])
    assert rows == [
        {"id": 1, "text": "O'Brien", "number": 9007199254740993},
        {"id": 2, "text": None, "number": None},
        {"id": 3, "text": 'back\\slash\nnew line; "quoted"', "number": -1},
    ]
    before = table_versions(empty_lake.lake)
    assert empty_lake.dbt("seed") == 0
    assert table_versions(empty_lake.lake) == before
    seed = empty_lake.project / "seeds" / "odd_values.csv"
    for commits in (1, 2):  # a row more, and that row once more
        seed.write_text(seed.read_text(encoding="utf-8") + "3,again,0\n", encoding="utf-8")
        assert empty_lake.dbt("seed", "--select", "odd_values") == 0
        assert table_versions(empty_lake.lake)["silver/odd_values"] == before["silver/odd_values"] + commits


def test_a_view_is_created_again_only_when_its_text_differs(empty_lake: Worker) -> None:
    view = empty_lake.project / "models" / "silver" / "staged_companies.sql"
    for text_added, message in (("", "UNCHANGED"), ("-- another text\n", "OK")):
        view.write_text(view.read_text(encoding="utf-8") + text_added, encoding="utf-8")
        assert empty_lake.dbt("run", "--select", "staged_companies") == 0
        results = json.loads((empty_lake.lake.parent / "target" / "run_results.json").read_text(encoding="utf-8"))
        messages = {result["unique_id"]: result["message"] for result in results["results"]}
        assert messages["model.medallion.staged_companies"] == message


def test_a_full_refresh_of_a_part_is_refused(empty_lake: Worker) -> None:
    before = table_versions(empty_lake.lake)
    assert empty_lake.dbt("run", "--full-refresh", "--select", "driver_events") == 1
    assert table_versions(empty_lake.lake) == before


def test_a_build_of_empty_inputs_is_refused(empty_lake: Worker) -> None:
    before = table_versions(empty_lake.lake)
    assert empty_lake.dbt("run", "--empty") == 1
    assert table_versions(empty_lake.lake) == before


def test_a_table_without_the_columns_that_its_model_declares_is_not_written(empty_lake: Worker) -> None:
    declared = empty_lake.project / "models" / "gold" / "daily_driver_activity.yml"
    text = declared.read_text(encoding="utf-8")
    before = table_versions(empty_lake.lake)["gold/daily_driver_activity"]
    declared.write_text(text.replace("events, data_type: bigint", "events, data_type: int", 1), encoding="utf-8")
    assert empty_lake.dbt("run", "--select", "daily_driver_activity") == 1
    results = (empty_lake.lake.parent / "target" / "run_results.json").read_text(encoding="utf-8")
    assert "gold.daily_driver_activity has the columns" in results
    assert table_versions(empty_lake.lake)["gold/daily_driver_activity"] == before
    declared.write_text(text, encoding="utf-8")
    assert empty_lake.dbt("run", "--select", "daily_driver_activity") == 0


def test_an_emptied_seed_stops_a_build(empty_lake: Worker) -> None:
    table = DeltaTable(empty_lake.lake / "silver" / "event_types")
    table.delete()
    assert empty_lake.dbt("run") == 1
    assert empty_lake.dbt("build", "--select", "event_types+", "--exclude-resource-type", "unit_test") == 0
    assert len(read_table(empty_lake.lake, "silver.event_types")) == 13


def test_a_lake_that_was_copied_is_not_mistaken_for_the_one_it_came_from(empty_lake: Worker, tmp_path: Path) -> None:
    empty_lake.kill()
    shutil.copytree(empty_lake.lake, tmp_path / "lake")
    copy = Worker(tmp_path / "lake", tmp_path / "raw", project=empty_lake.project)
    before = table_versions(empty_lake.lake)
    assert copy.dbt("run") == 1
    assert table_versions(empty_lake.lake) == table_versions(tmp_path / "lake") == before


def test_dbt_called_from_elsewhere_starts_no_second_lake(project: Path, tmp_path: Path) -> None:
    where = ["--project-dir", str(project), "--profiles-dir", str(project), "--target-path", str(tmp_path / "target")]
    result = run_process("dbt", "run", *where, "--log-path", str(tmp_path / "logs"), folder=tmp_path / "elsewhere")
    assert result.returncode != 0
    assert "set LAKE_ROOT" in result.stdout
    assert list((tmp_path / "elsewhere").iterdir()) == []
