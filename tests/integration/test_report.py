"""The report on a lake is one page that loads nothing, shows in a browser, and has the tables' numbers."""

from __future__ import annotations

import re
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest
from deltalake import DeltaTable

from ingest.lake import Lake
from ingest.lake_report import write_report
from tests.integration.lakes import read_table
from tests.integration.worker import run_process

if TYPE_CHECKING:
    from pathlib import Path

BROWSER = shutil.which("chromium") or shutil.which("google-chrome")


@pytest.fixture(scope="module")
def page(built: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(Lake(built[1]), path)
    return path


def test_its_numbers_are_those_of_the_tables(page: Path, built: tuple[Path, Path]) -> None:
    text = page.read_text(encoding="utf-8")
    tiles = dict(re.findall(r'<div class="tile" id="(\w+)"><b[^>]*>([^<]+)</b>', text))
    accepted = read_table(built[1], "silver.driver_events")
    rejected = read_table(built[1], "silver.rejected_driver_events")
    counted = sum(row["reject_reason"] != "duplicate" for row in rejected)
    matched = sum(row["is_company_matched"] for row in read_table(built[1], "gold.enriched_driver_events"))
    files = len(read_table(built[1], "bronze.source_files"))
    assert tiles == {
        "accepted": f"{len(accepted):,}",
        "rejected": f"{counted / (len(accepted) + len(rejected)):.2%}",
        "matched": f"{matched / len(accepted):.2%}",
        "files": f"{files} of {files}",
    }
    unmatched = {row["company_id"]: row["events"] for row in read_table(built[1], "audit.unmatched_companies")}
    shown = re.findall(r'<tr><td>([^<]+)</td><td class="number">([\d,]+)</td><td class="number">[\d,]+</td>', text)
    assert {company: int(events.replace(",", "")) for company, events in shown} == unmatched


def test_its_commands_work(page: Path, built: tuple[Path, Path]) -> None:
    command = re.search(r"<code>python (-m ingest trace [^<]+)</code>", page.read_text(encoding="utf-8"))
    assert command
    result = run_process("python", *command[1].split(), LAKE_ROOT=str(built[1]), RAW_ROOT=str(built[0]))
    assert (result.returncode, "rejected: " in result.stdout) == (0, True)


def test_it_loads_nothing(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    assert "default-src 'none'" in text
    assert re.findall(r"""(?:src|href)=["'](?!#)""", text) == []
    assert "<script" not in text


@pytest.mark.skipif(BROWSER is None, reason="there is no Chromium on this machine")
def test_a_browser_shows_it_without_complaint(page: Path) -> None:
    shown = subprocess.run(
        [str(BROWSER), "--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--dump-dom",
         page.as_uri()],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "CONSOLE" not in shown.stderr
    assert shown.stdout.count("<svg") == 4
    assert "State of the lake</h1>" in shown.stdout


def test_names_cannot_become_markup(built: tuple[Path, Path], tmp_path: Path) -> None:
    shutil.copytree(built[1], tmp_path / "lake")
    audit = tmp_path / "lake" / "audit" / "source_file_audit"
    DeltaTable(audit).update(updates={"_source_file": "'<script>alert(1)</script> && rm -rf'"})
    write_report(Lake(tmp_path / "lake"), tmp_path / "report.html")
    text = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script" not in text
    assert "&lt;script&gt;" in text


def test_an_empty_lake_has_a_report_too(tmp_path: Path) -> None:
    (tmp_path / "lake").mkdir()
    (tmp_path / "lake" / "ingest.lock").touch()
    result = run_process("python", "-m", "ingest", "report", "--out", str(tmp_path / "r.html"),
                         LAKE_ROOT=str(tmp_path / "lake"))  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert "No build has read this lake yet" in (tmp_path / "r.html").read_text(encoding="utf-8")
