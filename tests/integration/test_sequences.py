"""Whatever is loaded, selected, broken, killed, lost and refreshed: the tables end as one build makes them."""

from __future__ import annotations

import json
import os
import random
import shutil
import sys
from collections import Counter
from typing import TYPE_CHECKING

from tests.integration.lakes import SILVER_AND_GOLD, difference, read_known, read_table, records_of_bronze, snapshot
from tests.integration.test_faults import for_a_long_run
from tests.integration.worker import BUILD, PROJECT, Worker, copy_project
from tests.reference import audits, run

if TYPE_CHECKING:
    from pathlib import Path

STEPS = int(os.environ.get("SEQUENCE_STEPS", "30"))
SEED = int(os.environ.get("SEQUENCE_SEED", "33"))
MODELS = sorted(path.stem for folder in ("silver", "gold") for path in (PROJECT / "models" / folder).glob("*.sql"))


@for_a_long_run
def test_a_random_sequence_ends_as_one_build_of_all_of_it(tmp_path: Path) -> None:
    project = copy_project(tmp_path / "project")
    producer = Producer(tmp_path / "raw", random.Random(SEED))
    producer.write()
    worker = Worker(tmp_path / "lake", tmp_path / "raw", project=project)
    choose = random.Random(SEED)
    for step in [load, build, *choose.choices(list(CHANCES), weights=list(CHANCES.values()), k=STEPS), load]:
        sys.stdout.write(f"step: {step.__name__}\n")
        step(worker, producer, choose)
    assert worker.dbt(*BUILD) == 0
    check_bronze(worker)
    tables = snapshot(worker.lake)
    bronze = [records_of_bronze(worker.lake)]
    for table, wanted in (run(bronze) | audits(bronze)).items():
        assert difference(read_known(worker.lake, table), wanted) == [], table
    assert worker.dbt(*BUILD, "--full-refresh") == 0
    for table in SILVER_AND_GOLD:
        assert difference(read_table(worker.lake, table), tables[table]) == [], table


def load(worker: Worker, producer: Producer, choose: random.Random) -> None:
    for _ in range(choose.randint(1, 3)):
        producer.write()
    assert worker.load() == 0


def build(worker: Worker, _: Producer, __: random.Random) -> None:
    assert worker.dbt(*BUILD) == 0


def build_some(worker: Worker, _: Producer, choose: random.Random) -> None:
    names = choose.sample(MODELS, choose.randint(1, 3))
    worker.dbt(*BUILD, choose.choice(["--select", "--exclude"]), *names)


def retry_after_a_failure(worker: Worker, producer: Producer, choose: random.Random) -> None:
    model = next(worker.project.glob(f"models/*/{choose.choice(MODELS)}.sql"))
    text = model.read_text(encoding="utf-8")
    broken = "{% if execute %}{{ exceptions.raise_compiler_error('broken on purpose') }}{% endif %}"
    model.write_text(text + broken, encoding="utf-8")
    assert worker.dbt(*BUILD) == 1
    model.write_text(text, encoding="utf-8")
    if choose.random() < 0.5:
        load(worker, producer, choose)
    assert worker.dbt("retry") == 0


def kill_a_build(worker: Worker, _: Producer, choose: random.Random) -> None:
    worker.send(["dbt", *BUILD])
    worker.is_done(choose.uniform(1, 15))
    worker.kill()


def kill_a_load(worker: Worker, producer: Producer, choose: random.Random) -> None:
    producer.write()
    worker.send(["load"])
    worker.is_done(choose.uniform(0.2, 4))
    worker.kill()


def lose_the_metastore(worker: Worker, _: Producer, __: random.Random) -> None:
    worker.kill()
    shutil.rmtree(worker.lake / "metastore", ignore_errors=True)


def refresh_all(worker: Worker, _: Producer, __: random.Random) -> None:
    assert worker.dbt(*BUILD, "--full-refresh") == 0


def refresh_a_branch(worker: Worker, _: Producer, choose: random.Random) -> None:
    worker.dbt(*BUILD, "--full-refresh", "--select", f"{choose.choice(MODELS)}+")


CHANCES = {
    load: 6, build: 4, build_some: 5, retry_after_a_failure: 2, kill_a_build: 3, kill_a_load: 2,
    lose_the_metastore: 2, refresh_all: 1, refresh_a_branch: 1,
}  # fmt: skip


class Producer:
    """Writes few drivers, times and companies, so that late, repeated, changed and conflicting records abound."""

    def __init__(self, raw: Path, choose: random.Random) -> None:
        self.raw, self.choose, self.written = raw, choose, 0
        (raw / "events").mkdir(parents=True)

    def write(self) -> None:
        self.choose.choice(
            [self.new_file, self.new_file, self.grow, self.replace, self.repeat, self.change_companies]
        )()

    def new_file(self) -> None:
        self.written += 1
        (self.raw / "events" / f"{self.written:03}.jsonl").write_text(self.events(), encoding="utf-8")

    def grow(self) -> None:
        with self.any_file().open("a", encoding="utf-8") as file:
            file.write(self.events())

    def replace(self) -> None:
        self.any_file().write_text(self.events(), encoding="utf-8")

    def repeat(self) -> None:
        repeated = self.any_file()
        self.written += 1
        shutil.copy(repeated, self.raw / "events" / f"{self.written:03}.jsonl")

    def change_companies(self) -> None:
        path = self.raw / "companies.jsonl"
        with path.open(self.choose.choice("aaw"), encoding="utf-8") as file:
            for _ in range(4):
                company = {"company_id": f"c{self.choose.randrange(5)}", "name": self.choose.choice("xy")}
                company["active"] = self.choose.choice(["true", "true", "FALSE", "perhaps"])
                file.write(json.dumps(company) + "\n")

    def any_file(self) -> Path:
        files = sorted((self.raw / "events").iterdir())
        if not files:
            self.new_file()
            return self.any_file()
        return self.choose.choice(files)

    def events(self) -> str:
        return "".join(self.event() + "\n" for _ in range(20))

    def event(self) -> str:
        if self.choose.random() < 0.1:
            return self.choose.choice(["{", "[]", '{"driver_id":"d0"}', '{"a":1,"a":2}'])
        minute = self.choose.randrange(240)
        day = self.choose.choice([4, 4, 5, 7])
        event = {
            "driver_id": f"d{self.choose.randrange(4)}",
            "event_timestamp": f"2024-03-{day:02}T{6 + minute // 60:02}:{minute % 60:02}:00Z",
            "event_type": self.choose.choice(["start", "stop", "start", "stop", "delivered", "lunch"]),
            "company_id": f"c{self.choose.randrange(7)}",
        }
        return json.dumps(event)


def check_bronze(worker: Worker) -> None:
    """Hold bronze to the manifest and to the raw files: every record once, every line of today somewhere."""
    manifest = read_table(worker.lake, "bronze.source_files")
    for feed in ("driver_events", "companies"):
        rows = read_table(worker.lake, f"bronze.{feed}")
        identities = Counter((row["_load_id"], row["_source_file"], row["_source_line"]) for row in rows)
        assert max(identities.values(), default=1) == 1
        assert len(rows) == sum(row["records"] for row in manifest if row["feed"] == feed)
        texts = {row["_raw"] for row in rows}
        pattern = "events/*" if feed == "driver_events" else "companies*"
        for path in worker.raw.glob(pattern):
            assert set(path.read_text(encoding="utf-8").splitlines()) <= texts
