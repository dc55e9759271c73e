"""What `trace` and `status` say of a lake, held to the sample's ground truth."""

from __future__ import annotations

import json
import os
import random
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from ingest.describe import shares
from ingest.lake import Lake
from ingest.sample import read_truth
from ingest.trace import Question, told, trace
from tests.integration.lakes import read_table
from tests.integration.worker import run_process

if TYPE_CHECKING:
    from pathlib import Path

SAMPLE = int(os.environ.get("TRACE_SAMPLE", "60"))


def ask(built: tuple[Path, Path], *arguments: str) -> tuple[int, str, str]:
    raw, lake = built
    result = run_process("python", "-m", "ingest", *arguments, LAKE_ROOT=str(lake), RAW_ROOT=str(raw))
    assert "Traceback" not in result.stderr
    return result.returncode, result.stdout, result.stderr


def lives(built: tuple[Path, Path], **question: Any) -> list[dict[str, Any]]:
    raw, lake = built
    return trace(Lake(lake), raw, Question(**question))


def test_the_life_of_a_record_is_what_the_ground_truth_says(built: tuple[Path, Path]) -> None:
    """Takes each reason for rejection, the unmatched and the accepted alike."""
    choose = random.Random(1)
    by_outcome: dict[str, list[tuple[Any, str]]] = {}
    for file in read_truth(built[0].parent / "raw.truth.jsonl"):
        for row in read_lines(built[1], file.source_file):
            outcome = file.rejected.get(row, "unmatched" if int(row) in file.unmatched else f"accepted {file.feed}")
            by_outcome.setdefault(outcome, []).append((file, row))
    share = -(-SAMPLE // len(by_outcome))
    for outcome, places in by_outcome.items():
        for file, line in choose.sample(places, min(share, len(places))):
            (life,) = lives(built, source_file=file.source_file, line=int(line))
            assert life["record"]["raw_file"] == "same"
            reason = file.rejected.get(line)
            assert life["silver"]["outcome"] == ("rejected" if reason else "accepted"), (
                outcome,
                file.source_file,
                line,
            )
            assert life["silver"].get("reject_reason") == reason
            if reason == "duplicate":
                winner, number, is_conflicting = file.duplicate_of[line]
                found = life["silver"]["duplicate_of"]
                assert (found["source_file"], found["source_line"]) == (winner, number)
                assert life["silver"]["is_conflicting"] == is_conflicting
                (first,) = lives(built, source_file=winner, line=number)
                assert (file.source_file, int(line)) in [
                    (repeat["source_file"], repeat["source_line"]) for repeat in first["duplicates"]
                ]
            elif file.feed == "driver_events" and not reason:
                assert life["company"]["is_matched"] == (int(line) not in file.unmatched)
                assert {row["table"] for row in life["gold"]} >= {
                    "gold.enriched_driver_events", "gold.daily_driver_activity", "gold.daily_company_activity"
                }  # fmt: skip


def read_lines(lake: Path, source_file: str) -> list[str]:
    rows = [row for feed in ("driver_events", "companies") for row in read_table(lake, f"bronze.{feed}")]
    return [str(row["_source_line"]) for row in rows if row["_source_file"] == source_file]


def test_an_event_is_found_by_its_key_its_id_and_its_place(built: tuple[Path, Path]) -> None:
    rows = read_table(built[1], "silver.rejected_driver_events")
    repeat = next(row for row in rows if row["reject_reason"] == "duplicate")
    (winner,) = lives(built, source_file=repeat["duplicate_of_source_file"], line=repeat["duplicate_of_source_line"])
    place = (winner["record"]["source_file"], winner["record"]["source_line"])
    events = read_table(built[1], "silver.driver_events")
    event = next(row for row in events if (row["_source_file"], row["_source_line"]) == place)
    at = f"{event['event_timestamp']:%Y-%m-%d %H:%M:%S.%f+00}"
    found = lives(built, driver_id=f" {event['driver_id']} ", event_timestamp=at)
    assert winner in found
    assert {life["silver"]["outcome"] for life in found} == {"accepted", "rejected"}
    code, output, _ = ask(built, "trace", "--driver-id", event["driver_id"], "--event-timestamp", at, "--json")
    assert code == 0
    assert [life["record"] for life in json.loads(output)] == [
        json.loads(json.dumps(life["record"], default=str)) for life in found
    ]
    assert winner in lives(built, event_id=event["event_id"])


def test_gold_is_told_as_far_as_builds_have_recorded_it(built: tuple[Path, Path], tmp_path: Path) -> None:
    raw, lake = built[0], tmp_path / "lake"
    shutil.copytree(built[1], lake)
    session = next(row for row in read_table(lake, "gold.driving_sessions") if row["started_at"] and row["stopped_at"])
    question = {"driver_id": session["driver_id"], "event_timestamp": session["started_at"].isoformat()}
    before = lives((raw, lake), **question)
    shutil.rmtree(lake / "audit" / "pipeline_steps")
    found = lives((raw, lake), **question)
    assert [life["record"] for life in found] == [life["record"] for life in before]
    assert ["version" in life["company"] for life in found if life["company"]] == [False]
    assert [row["table"] for life in found for row in life["gold"]] == ["gold.driving_sessions"]


def test_an_event_that_was_rejected_is_found_by_its_key_too(built: tuple[Path, Path]) -> None:
    rejected = {
        (row["_load_id"], row["_source_file"], row["_source_line"])
        for row in read_table(built[1], "silver.rejected_driver_events") if row["reject_reason"] == "unknown_event_type"
    }  # fmt: skip
    row = next(
        row for row in read_table(built[1], "bronze.driver_events")
        if (row["_load_id"], row["_source_file"], row["_source_line"]) in rejected
    )  # fmt: skip
    found = lives(built, driver_id=row["driver_id"], event_timestamp=row["event_timestamp"] or row["timestamp"])
    assert row["_raw"] in [life["record"]["raw"] for life in found]


def test_the_documentation_tells_the_reasons_by_share(built: tuple[Path, Path]) -> None:
    rows = read_table(built[1], "silver.rejected_companies")
    unchanged = sum(row["reject_reason"] == "unchanged" for row in rows)
    told_shares = shares(Lake(built[1]), "silver.rejected_companies")
    assert f"| unchanged | {unchanged} | {unchanged / len(rows):.1%} |" in told_shares


def test_a_companys_versions_are_told_in_order(built: tuple[Path, Path]) -> None:
    history = read_table(built[1], "silver.company_history")
    company = next(row["company_id"] for row in history if row["valid_to_load_id"] is not None)
    found = lives(built, company_id=company)
    wanted = sorted((row["_load_id"], row["_source_line"]) for row in history if row["company_id"] == company)
    accepted = [life["record"] for life in found if life["silver"]["outcome"] == "accepted"]
    assert [(record["load_id"], record["source_line"]) for record in accepted] == wanted


def test_a_life_says_whether_the_raw_file_still_has_the_record(built: tuple[Path, Path], tmp_path: Path) -> None:
    file = next(
        file for file in read_truth(built[0].parent / "raw.truth.jsonl") if file.source_file.endswith("s.jsonl")
    )
    question = {"source_file": file.source_file, "line": 2}
    assert lives((tmp_path, built[1]), **question)[0]["record"]["raw_file"] == "gone"
    (tmp_path / file.source_file).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / file.source_file).write_bytes(b"{}\n{}\n")
    life = lives((tmp_path, built[1]), **question)[0]
    assert life["record"]["raw_file"] == "changed"
    assert "the file has changed since" in next(iter(told(life)))


@pytest.mark.parametrize(
    ("arguments", "code", "sentence"),
    [
        (["--event-id", "no-such-event"], 1, "no record of bronze is that one"),
        (["--driver-id", "x"], 2, "name a record: --driver-id and --event-timestamp"),
        (["--driver-id", "x", "--event-timestamp", "noon"], 2, "--event-timestamp 'noon' is no time"),
        (["--source-file", "x'; --", "--line", "1"], 1, "no record of bronze is that one"),
        (["--source-file", "events/caf\udce9.jsonl", "--line", "1"], 1, "no record of bronze is that one"),
        (["--event-id", "caf\udce9"], 2, "is no text in UTF-8"),
        (["--driver-id", "x", "--event-timestamp", "0001-01-01T00:00:00Z"], 1, "no record of bronze is that one"),
        (["--driver-id", "x", "--event-timestamp", "9999-12-31T23:59:59Z"], 1, "no record of bronze is that one"),
    ],
)
def test_a_question_without_an_answer_says_what_to_do(
    built: tuple[Path, Path], arguments: list[str], code: int, sentence: str
) -> None:
    found, output, error = ask(built, "trace", *arguments)
    assert (found, output) == (code, "")
    assert sentence in error


def test_neither_starts_java(built: tuple[Path, Path]) -> None:
    raw, lake = built
    for arguments in (["trace", "--event-id", "x"], ["status", "--raw", str(raw)]):
        result = run_process("python", "-X", "importtime", "-m", "ingest", *arguments, LAKE_ROOT=str(lake))
        assert "deltalake" in result.stderr
        assert "pyspark" not in result.stderr


def test_status_says_what_waits_and_what_needs_a_person(built: tuple[Path, Path], tmp_path: Path) -> None:
    code, output, _ = ask(built, "status", "--raw", str(built[0]))
    assert (code, "needs a person" in output) == (0, False)
    assert "last build: succeeded" in output
    assert "records have the key 'Event_Id', which is not declared" in output
    (tmp_path / "events").mkdir()
    (tmp_path / "events" / "new.jsonl").write_bytes(b"{}\n")
    assert "waiting: 1 raw files that are new" in ask(built, "status", "--raw", str(tmp_path))[1]
