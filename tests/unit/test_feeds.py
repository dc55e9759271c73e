"""What the sources YAML may say, and which names a feed matches."""

from __future__ import annotations

from pathlib import Path

import pytest

from ingest.errors import IngestError
from ingest.feeds import Feed, read_feeds

PROJECT = Path(__file__).parents[2]
TABLE = """
      - name: {name}
        config: {{meta: {{feed: {feed}}}}}
        columns: {columns}
"""
COLUMNS = "[{name: event_id, data_type: string}, {name: _load_id, data_type: bigint}]"


def sources(*tables: str) -> str:
    return "sources:\n  - name: bronze\n    tables:" + "".join(tables)


def table(name: str = "trips", feed: str = "{paths: ['trips/**']}", columns: str = COLUMNS) -> str:
    return TABLE.format(name=name, feed=feed, columns=columns)


def read(folder: Path, text: str | bytes) -> tuple[Feed, ...]:
    path = folder / "_sources.yml"
    path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_feeds(path)


def test_the_projects_own_sources_declare_both_feeds() -> None:
    events, companies = read_feeds(PROJECT / "models/bronze/_sources.yml")
    assert events == Feed(
        name="driver_events",
        paths=("events/**",),
        exclude=("batch_meta.json",),
        repeated_content="skip",
        keys=(
            "event_id",
            "driver_id",
            "event_timestamp",
            "timestamp",
            "event_type",
            "company_id",
            "truck_id",
            "payload",
        ),
        topics=("driver-events",),
    )
    assert (companies.name, companies.paths, companies.repeated_content) == ("companies", ("companies*",), "load")


def test_a_table_without_a_feed_is_none(tmp_path: Path) -> None:
    text = sources(table(), "\n      - name: source_files")
    assert read(tmp_path, text) == (Feed("trips", ("trips/**",), (), "load", ("event_id",)),)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("sources: [", "this is not YAML"),
        (b"\xff", "cannot be read"),
        ("models: []", "the top level must have `sources:`"),
        ("sources: [{name: bronze, tables: 1}]", "source 'bronze' must have `tables:`"),
        (sources(table(feed="{paths: [x], paths: [y]}")), "the key 'paths' is given twice in line 5"),
        (sources("\n      - description: x"), "a table of source 'bronze' has no name"),
        (sources("\n      - name: source_files"), "no table has `config: {meta: {feed:"),
        (sources(table(), table("Trips")), "table 'Trips' is declared twice"),
        (
            sources(table(feed="{paths: [x], topics: [t]}"), table("others", feed="{paths: [y], topics: [t]}")),
            "tables 'trips' and 'others' both have the topic 't'",
        ),
        (sources(table("a-b")), "table 'a-b': a feed's name must be lower-case letters"),
        (sources(table(feed="[x]")), "table 'trips': `feed` must be a mapping with `paths`, found ['x']"),
        (sources(table(feed="{path: [x]}")), "`feed` knows paths, exclude, repeated_content and topics, found path"),
        (sources(table(feed="{paths: []}")), "paths must be one or more patterns"),
        (sources(table(feed="{paths: x}")), "paths must be a list of texts, found 'x'"),
        (sources(table(feed="{paths: [/x]}")), "relative to the raw root, found ['/x']"),
        (sources(table(feed="{paths: [../x]}")), "relative to the raw root, found ['../x']"),
        (sources(table(feed="{paths: [x], exclude: [1]}")), "exclude must be a list of texts, found [1]"),
        (sources(table(feed="{paths: [x], repeated_content: drop}")), "must be skip or load, found 'drop'"),
        (sources(table(columns="[]")), "columns must declare at least one JSON key"),
        (sources(table(columns="[{name: yes}]")), "a column needs a name that is text"),
        (sources(table(columns="[{name: a, data_type: bigint}]")), "'a' must have data_type string, found 'bigint'"),
        (
            sources(table(columns="[{name: a, data_type: string}, {name: A, data_type: string}]")),
            "columns 'a' and 'A' are one name to Spark",
        ),
        (
            sources(table("a", "{paths: ['x/**']}"), table("b", "{paths: ['x/y*']}")),
            "tables 'a' and 'b': a file could match both 'x/**' and 'x/y*'",
        ),
    ],
)
def test_what_is_wrong_is_said_with_the_file_and_the_place(tmp_path: Path, text: str, found: str) -> None:
    with pytest.raises(IngestError) as error:
        read(tmp_path, text)
    assert str(error.value).startswith(f"{tmp_path / '_sources.yml'}: ")
    assert found in str(error.value)


def test_a_missing_file_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(IngestError, match="declared in this file, but it cannot be read"):
        read_feeds(tmp_path / "_sources.yml")


@pytest.mark.parametrize(
    ("one", "other", "is_apart"),
    [
        ("events/**", "companies*", True),
        ("events/*", "events/x/*", True),
        ("*.json", "a*", False),
        ("a*c*e", "ab*de", False),
        ("a/**/b", "a/b", False),
        ("a/**/b", "a/xb", True),
        ("**", "x/y", False),
        ("**/b", "*/b", False),
        ("events/**", "events/**/batch_meta.json", True),
    ],
)
def test_patterns_of_two_feeds_may_not_overlap(tmp_path: Path, one: str, other: str, *, is_apart: bool) -> None:
    text = sources(
        table("one", f"{{paths: ['{one}'], exclude: [batch_meta.json]}}"), table("other", f"{{paths: ['{other}']}}")
    )
    if is_apart:
        assert len(read(tmp_path, text)) == 2
    else:
        with pytest.raises(IngestError, match="a file could match both"):
            read(tmp_path, text)


@pytest.mark.parametrize(
    ("pattern", "name", "is_match"),
    [
        ("events/**", "events/a.jsonl", True),
        ("events/**", "events/x/y/.z/_a.JSON.Gz", True),
        ("events/**", "events/new\nline.ndjson", True),
        ("events/**", "Events/a.jsonl", False),
        ("events/**", "events.jsonl", False),
        ("events/**", "x/events/a.jsonl", False),
        ("events/**", "events/a.json.zip", False),
        ("events/**", "events/a.csv", False),
        ("events/**", "events/a.j\u017fon", False),
        ("events/**", "events/a.jsonl ", False),
        ("events/**", "events/x/batch_meta.json", False),
        ("events/**", "events/batch_meta.json/a.json", True),
        ("events/**", "events/Batch_meta.json", True),
        ("events/**", "events/batch_meta.json.gz", True),
        ("companies*", "companies.json", True),
        ("companies*", "companies_2.ndjson.gz", True),
        ("companies*", "companies/a.json", False),
        ("companies*", "companies", False),
        ("a/**/b.json", "a/b.json", True),
        ("a/**/b.json", "a/x/y/b.json", True),
        ("a/**/b.json", "a/xb.json", False),
        ("[x].json", "[x].json", True),
        ("a?.json", "ab.json", False),
    ],
)
def test_a_feed_matches_names(pattern: str, name: str, *, is_match: bool) -> None:
    assert Feed("trips", (pattern,), ("batch_meta.json",), "load", ("a",)).matches(name) == is_match
