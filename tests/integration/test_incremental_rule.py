"""However the same events are split into files, loads and builds, the models accept just those that come first."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import jinja2
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.integration.lakes import difference
from tests.integration.test_faults import TORTURE
from tests.integration.worker import PROJECT
from tests.reference import EVENT_KEYS, Record, bronze, silver_driver_events

if TYPE_CHECKING:
    from pyspark.sql import SparkSession

LOADED_AT = datetime(2024, 6, 1, tzinfo=UTC)
BRONZE = (
    ", ".join(f"`{key}` string" for key in EVENT_KEYS)
    + ", _raw string, _defect string, _unknown_keys array<string>, _source_file string, _source_line bigint"
    + ", _source_file_id string, _load_id bigint, _loaded_at timestamp"
)
EVENT = st.builds(
    '{{"driver_id":"{}","event_timestamp":"2024-03-{:02}T06:0{}:00Z","event_type":"{}","company_id":"{}"}}'.format,
    st.sampled_from("ab"),
    st.sampled_from([4, 5, 9]),
    st.integers(0, 1),
    st.sampled_from(["start", "stop"]),
    st.sampled_from(["c", "", "d"]),
)
ARRIVALS = st.lists(st.tuples(EVENT, st.integers(1, 3), st.sampled_from("xyz")), min_size=1, max_size=30)


@settings(max_examples=100 if TORTURE else 6, deadline=None, suppress_health_check=list(HealthCheck))
@given(arrivals=ARRIVALS, builds=st.sets(st.integers(1, 2)).map(lambda loads: [*sorted(loads), 3]))
def test_any_split_is_accepted_in_the_order_of_arrival(
    spark: SparkSession, arrivals: list[tuple[str, int, str]], builds: list[int]
) -> None:
    records = numbered(arrivals)
    rows = [tuple(bronze(record, EVENT_KEYS)[name] for name in names(BRONZE)) for record in records]
    spark.createDataFrame(rows, BRONZE).createOrReplaceTempView("bronze_driver_events")
    aliases = [("start", "start_driving"), ("stop", "stop_driving")]
    spark.createDataFrame(aliases, "alias string, event_type string").createOrReplaceTempView("event_types")
    spark.sql(rendered(spark, "staged_driver_events")).createOrReplaceTempView("staged_driver_events")
    after = 0
    for up_to in builds:
        for model in ("driver_events", "rejected_driver_events"):
            before = spark.table(model).collect() if after else []
            new = spark.sql(rendered(spark, model, after=after, up_to=up_to))
            spark.createDataFrame([*before, *new.collect()], new.schema).createOrReplaceTempView(model)
        after = up_to
    found = {
        name: [row.asDict() for row in spark.table(name).collect()]
        for name in ("driver_events", "rejected_driver_events")
    }
    for name, wanted in zip(found, silver_driver_events(records), strict=True):
        assert difference(found[name], wanted) == [], name


def numbered(arrivals: list[tuple[str, int, str]]) -> list[Record]:
    """Give each event its line: the next one of its file, which grows from load to load."""
    records: list[Record] = []
    for raw, load_id, name in sorted(arrivals, key=lambda arrival: arrival[1]):
        line = 1 + sum(record.source_file == name for record in records)
        records.append(Record(load_id, LOADED_AT, name, line, "f", raw.encode()))
    return records


def names(schema: str) -> list[str]:
    return [column.split()[0].strip("`") for column in schema.split(", ")]


def rendered(spark: SparkSession, model: str, *, after: int = 0, up_to: int = 0) -> str:
    """Render a model as dbt does, each relation being a view of its name."""
    files = [*(PROJECT / "macros" / "silver").glob("*.sql"), PROJECT / "macros" / "run" / "touched_dates.sql"]
    macros = "".join(path.read_text(encoding="utf-8") for path in files)
    text = (PROJECT / "models" / "silver" / f"{model}.sql").read_text(encoding="utf-8")
    context: dict[str, Any] = {
        "ask_once": lambda sql: spark.sql(sql).collect(),
        "config": lambda **_: "",
        "execute": True,
        "has_new_records": lambda *_: True,
        "is_incremental": lambda: after > 0,
        "plan_write": lambda **_: "",
        "loads_to_read": lambda: {"after": after, "up_to": up_to},
        "ref": str,
        "return": lambda value: value,
        "source": "{}_{}".format,
        "this": model,
    }
    return jinja2.Environment(extensions=["jinja2.ext.do"], autoescape=False).from_string(macros + text).render(context)  # noqa: S701 - it is SQL
