"""Files that change under the hands of a load: each record is read once, whole, and by the right clock."""

from __future__ import annotations

import os
import random
from collections import Counter
from datetime import UTC, datetime
from itertools import pairwise
from threading import Thread
from typing import TYPE_CHECKING, Any

import pytest

from ingest import load as ingest_load
from tests.integration.lakes import read_table
from tests.integration.worker import run_process

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

LINES = [b'{"event_id":"%d","payload":"%b"}' % (number, b"x" * (number % 90)) for number in range(120)]
LOADS = 3


@pytest.mark.parametrize("settle_seconds", [60.0, 0.0])
def test_a_producer_that_writes_slowly_is_read_once_and_whole(
    raw: Path, lake: Path, load: Callable[..., Any], settle_seconds: float
) -> None:
    path = raw / "events" / "a.jsonl"
    text = b"\n".join(LINES) + b"\n"
    cuts = [0, *sorted(random.Random(1).sample(range(len(text)), LOADS - 1)), len(text)]

    def write(begin: int, end: int) -> None:
        for at in range(begin, end, 7):
            with path.open("ab") as file:
                file.write(text[at : min(at + 7, end)])

    for begin, end in pairwise(cuts):
        writer = Thread(target=write, args=(begin, end))
        writer.start()
        load(settle_seconds=settle_seconds)
        writer.join()
    os.utime(path, (0, 0))
    load(settle_seconds=settle_seconds)
    rows = read_table(lake, "bronze.driver_events")
    whole = Counter(row["_raw"].encode() for row in rows if row["_defect"] is None)
    assert whole == dict.fromkeys(LINES, 1)
    halves = [row["_raw"].encode() for row in rows if row["_defect"] is not None]
    assert all(any(line.startswith(half) for line in LINES) for half in halves)
    assert settle_seconds == 0 or not halves
    result = run_process("python", "-m", "ingest", "verify", "--lake", str(lake), "--raw", str(raw))
    assert result.returncode == 0, result.stdout


def test_loads_stay_in_order_when_the_clock_goes_back(
    raw: Path, lake: Path, load: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Earlier(datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Earlier:
            return cls(2001, 1, 1, tzinfo=tz)

    (raw / "events" / "a.jsonl").write_bytes(b'{"event_id":"1"}\n')
    load()
    with (raw / "events" / "a.jsonl").open("ab") as file:
        file.write(b'{"event_id":"2"}\n')
    monkeypatch.setattr(ingest_load, "datetime", Earlier)
    load()
    rows = sorted(read_table(lake, "bronze.driver_events"), key=lambda row: row["_load_id"])
    assert [row["event_id"] for row in rows] == ["1", "2"]
    assert rows[0]["_loaded_at"] < rows[1]["_loaded_at"] < datetime.now(UTC)
