"""The rule for timestamps, as SQL, agrees with the contract's as plain Python on whatever text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import jinja2
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from ingest import times
from tests.integration.worker import PROJECT
from tests.reference import EPOCH, parse_time, trimmed

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

MICROSECOND = timedelta(microseconds=1)
FIRST, LAST = ((end.replace(tzinfo=UTC) - EPOCH) // MICROSECOND for end in (datetime.min, datetime.max))  # noqa: DTZ901
TWO = st.integers(0, 99).map("{:02}".format)
NEAR = st.sampled_from(["00", "01", "12", "13", "23", "24", "29", "30", "31", "59", "60"])
DATE = st.tuples(st.sampled_from(["2024", "2023", "1900", "2000", "0000", "9999", "24", "20240"]), NEAR, NEAR).map(
    "-".join
)
TIME = st.lists(NEAR | TWO, min_size=1, max_size=3).map(":".join)
FRACTION = st.sampled_from(["", "."]) | st.text("0123456789", min_size=1, max_size=11).map(".{}".format)
ZONE = st.sampled_from(["", "Z", "z", "+00", "-18", "+18:01", "+1800", "-00:00", "+5:30", "+05:60", " UTC", "+0530x"])
ISO = st.tuples(DATE, st.sampled_from(["T", " ", "t", "", "  "]), TIME, FRACTION, ZONE).map("".join)
UNIX = st.tuples(
    st.sampled_from(["", "-", "+", "0"]),
    st.sampled_from(["999999999", "1000000000", "9999999999", "10000000000", "1700000000000", "9999999999999", "1e9",
                     "1.7e12", "1E+13", "17e8", "1700000000.123456789", "0.17e10", "1e309", "1e99999999999", "1_0"]),
    st.sampled_from(["", ".", ".5", ".0000019", "e0", "e1", "e-1", "L"]),
).map("".join)  # fmt: skip
ODD = [
    "1e-2147483647", "1e2147483647", "1e-400000000", "1709532000e0000", "1" * 2_000, "1709532000." + "0" * 1_000,
    "+1709532000", "01709532000", "1709532000.", "2024-03-04T06:00:00+05:", "2024-03-04T06:00:00Z\u2028",
    "1709532000\u0085", "999999999.99999999", "9999999999.9999999",
]  # fmt: skip
TEXT = ISO | UNIX | st.text("0123456789-:TZ.+eE \u0660\n", max_size=30)


def macro(name: str) -> str:
    source = (PROJECT / "macros" / "silver" / f"{name}.sql").read_text(encoding="utf-8")
    sql: str = getattr(jinja2.Template(source, extensions=["jinja2.ext.do"]).module, name)("text")
    return sql


@settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
@given(texts=st.lists(TEXT, min_size=60, max_size=60, unique=True))
@example(texts=ODD)
def test_sql_and_python_read_the_same_time_in_every_text(spark: SparkSession, texts: list[str]) -> None:
    given_texts = {number: trimmed(text) or "-" for number, text in enumerate(texts)}
    frame = spark.createDataFrame(list(given_texts.items()), "number int, text string")
    micros, is_broken = f"unix_micros({macro('parse_timestamp')})", macro("breaks_timestamp_rule")
    rows = frame.selectExpr("number", f"{micros} as micros", f"{is_broken} as is_broken").collect()
    wanted = {text: parse_time(text) for text in given_texts.values()}
    assert {given_texts[row["number"]]: row["micros"] for row in rows} == wanted
    assert {given_texts[row["number"]]: row["is_broken"] for row in rows} == {
        text: time is None for text, time in wanted.items()
    }


@settings(max_examples=2_000, deadline=None)
@given(text=TEXT)
@example("0000-01-01T00:00")
@example("9999-12-31 23:00-18")
def test_questions_read_times_as_silver_does_from_the_year_1_to_9999(text: str) -> None:
    wanted = parse_time(trimmed(text))
    if wanted is not None and not FIRST <= wanted <= LAST:
        wanted = None
    found = times.parse_time(text)
    assert (None if found is None else (found - EPOCH) // MICROSECOND) == wanted


def test_java_reckons_in_utc_whatever_the_zone_of_the_machine(spark: SparkSession) -> None:
    jvm: Any = spark._jvm
    assert jvm.java.util.TimeZone.getDefault().getID() == "UTC"
