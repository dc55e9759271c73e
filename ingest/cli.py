"""The commands of `python -m ingest`; without the name of one, load."""

from __future__ import annotations

import json
import sys
import time
from dataclasses import astuple
from datetime import timedelta
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import click
from pytimeparse.timeparse import timeparse
from rich.console import Console
from rich.table import Table

from ingest.build import is_built, run_dbt_build, start_engine
from ingest.discovery import list_raw
from ingest.errors import IngestError, explained
from ingest.experiment import show_experiment
from ingest.export import export as export_table
from ingest.lake import Lake, only_builder
from ingest.load import Settings, preview_load, run_load
from ingest.maintain import MOST_DAYS, versions_at
from ingest.maintain import maintain as maintain_tables
from ingest.places import place
from ingest.report import Report, printable
from ingest.sample import write_sample
from ingest.scanning import Limits
from ingest.status import show_status
from ingest.verify import Checked, violations_of

if TYPE_CHECKING:
    from collections.abc import Callable

PROJECT = Path(__file__).resolve().parent.parent
FAILED = 1
LONGEST_SECONDS = 24 * 60 * 60
MOST_VIOLATIONS = 20
WIDE = 200  # columns of a table that a narrower terminal wraps itself, and a log need not


def main() -> None:
    """Run a command; without the name of one, load. A user's mistake ends in one sentence and exit code 2."""
    arguments = sys.argv[1:]
    if not arguments or (arguments[0].startswith("-") and arguments[0] != "--help"):
        arguments = ["load", *arguments]
    with explained():
        commands(arguments, prog_name="python -m ingest")


@click.group()
def commands() -> None:
    """Bring raw JSON files into the bronze tables of a Delta lake: every record once, with its file and line.

    \b
      python -m ingest                  load what is new (the same as 'load')
      python -m ingest --dry-run        say what a load would do
      python -m ingest build            load what is new, then run 'dbt build'
      python -m ingest watch            load as files arrive; with --build, build too
      python -m ingest sample           write sample files to load
      python -m ingest status           say what the lake holds
      python -m ingest trace            tell the whole life of a record
      python -m ingest report           write a page on the state of the lake
      python -m ingest experiment       compare the variants of silver
      python -m ingest maintain         compact the tables, and remove files that nobody needs
      python -m ingest as-of            say how to read the tables as they were after a build
      python -m ingest export           write a table as Parquet or CSV files
      python -m ingest verify           check that the lake holds every record once

    Exit codes: 0 done; 1 done, but a file failed or there is something to see to (a line says what); 2 not done.
    """  # noqa: D301 - click asks for the character itself


def resolved(context: click.Context, option: click.Parameter, path: Path | None) -> Path | None:
    """Take a typed path from the working folder, any other from the project's: there is one lake, wherever one is."""
    if path is None or path.is_absolute():
        return path
    return (Path.cwd() if is_typed(context, str(option.name)) else PROJECT) / path


def is_typed(context: click.Context, option: str) -> bool:
    """Tell whether an option was given on the command line."""
    return context.get_parameter_source(option) is click.core.ParameterSource.COMMANDLINE


raw_option = click.option(
    "--raw", envvar="RAW_ROOT", type=place, callback=resolved, metavar="PATH", default="data/raw",
    show_default=True, show_envvar=True, help="Folder of the raw files, or s3a://bucket/name.",
)  # fmt: skip
lake_option = click.option(
    "--lake", envvar="LAKE_ROOT", type=place, callback=resolved, metavar="PATH", default="data/processed/medallion",
    show_default=True, show_envvar=True, help="Folder of the lake, or s3a://...; dbt finds it by the variable.",
)  # fmt: skip


def duration(text: str) -> float:
    """Give the seconds of a time like `0.5s`, `10s`, `10` or `5m`. Raises click's BadParameter."""
    seconds = timeparse(f"{text}s" if text.replace(".", "").isdigit() else text)
    if seconds is None or not 0 <= seconds <= LONGEST_SECONDS:
        message = f"wanted a time of at most a day, such as 0.5s, 10s or 5m; found {text!r}"
        raise click.BadParameter(message)
    return float(seconds)


def pause(text: str) -> float:
    """Give the seconds of such a time above zero. Raises click's BadParameter."""
    seconds = duration(text)
    if not seconds:
        message = f"wanted a time above zero, such as 0.5s, 10s or 5m; found {text!r}"
        raise click.BadParameter(message)
    return seconds


def load_options(command: Callable[..., None]) -> Callable[..., None]:
    options = [
        raw_option,
        lake_option,
        click.option("--settle", type=duration, default=f"{Limits.settle_seconds}s", show_default=True,
                     metavar="TIME", help="Hold back an unfinished last line while its file is younger than this."),
        click.option("--max-record-bytes", type=click.IntRange(1, 1 << 30), default=Limits.max_record_bytes,
                     show_default=True, help="A longer record is kept as the defect too_long."),
        click.option("--max-file-bytes", type=click.IntRange(min=1), default=Limits.max_file_bytes,
                     show_default=True, help="A file with more uncompressed bytes fails."),
        click.option("--kafka", envvar="KAFKA_CONFIG", show_envvar=True, metavar="FILE",
                     type=click.Path(path_type=Path), callback=resolved,
                     help="Also load the feeds' topics; properties of Kafka's client, such as bootstrap.servers."),
        click.option("--target", envvar="DBT_TARGET", show_envvar=True,
                     help="Target in profiles/profiles.yml: where Spark works; a cluster's workers read."),
        click.option("--log-format", type=click.Choice(["text", "json"]), default="text", show_default=True,
                     help="Lines for people, or one JSON object a line."),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


@commands.command()
@load_options
@click.option("--dry-run", is_flag=True, help="Only say which file would be what; nothing is written.")
def load(*, dry_run: bool, **options: Any) -> None:
    """Load the records of new and changed raw files into bronze.

    Files that were loaded before and have not changed cost nothing, so it can run as often as you like; killed at
    any moment, the next run finishes what it began.
    """
    settings, report = _settings(**options), Report(options["log_format"])
    sys.exit(_preview(settings, report) if dry_run else _load(settings, report))


@commands.command()
@load_options
@click.option("--force", is_flag=True, help="Build also if nothing is new.")
@click.argument("dbt_options", nargs=-1, type=click.UNPROCESSED)
def build(*, force: bool, dbt_options: tuple[str, ...], **options: Any) -> None:
    """Load what is new, then run 'dbt build', all in one process.

    dbt's own options follow after '--', for instance: python -m ingest build -- --select silver. Unit tests are
    about the code, not the data, and left to 'dbt build' and 'dbt test'. Where loads, tables, code and options are
    those of the last good build, none is run.
    """
    settings, report = _settings(**options), Report(options["log_format"])
    only_builder(settings.lake)
    failed = _load(settings, report)
    if not force and is_built(settings, dbt_options):
        report.say("nothing is new: silver and gold are as the last build left them (--force builds anyway)")
        sys.exit(failed)
    start_engine(settings)
    is_done = run_dbt_build(settings, dbt_options, output=["--log-format", options["log_format"]])
    sys.exit(failed if is_done else FAILED)


@commands.command()
@load_options
@click.option(
    "--every",
    type=pause,
    default="10s",
    show_default=True,
    metavar="TIME",
    help="Look for new files so often: 0.5s, 10s, 5m.",
)
@click.option("--build", is_flag=True, help="Build after each load, too; and every 50 loads do what 'maintain' does.")
@click.option(
    "--keep",
    type=duration,
    default="30m",
    show_default=True,
    metavar="TIME",
    help="In that upkeep, keep what the tables' versions of so long need.",
)
@click.argument("dbt_options", nargs=-1, type=click.UNPROCESSED)
def watch(*, every: float, build: bool, keep: float, dbt_options: tuple[str, ...], **options: Any) -> None:  # fmt: skip
    """Load as files arrive, until SIGTERM or SIGINT, in one process whose Java stays warm.

    One line for each cycle that had something to do. After a cycle that failed it says why, and begins anew after a
    pause that grows to five minutes. The lake's file watch.json has the time of the last good cycle.
    """
    from ingest.watch import Watch

    if not build and (dbt_options or is_typed(click.get_current_context(), "keep")):
        given = "options for dbt were" if dbt_options else "--keep was"
        message = f"{given} given without --build, which alone has a use for it; add that, or leave it out."
        raise IngestError(message)
    settings, report = _settings(**options), Report(options["log_format"])
    watcher = Watch(settings, report, timedelta(seconds=keep), dbt_options if build else None)
    is_good = watcher.run(every=every)
    sys.exit(0 if is_good else FAILED)


@commands.command()
@click.option("--out", type=click.Path(path_type=Path), callback=resolved, default=Path("data/raw"), show_default=True)
@click.option("--batches", type=click.IntRange(min=1), default=8, show_default=True, help="Event files to write.")
@click.option("--events-per-batch", type=click.IntRange(min=1), default=2500, show_default=True)
@click.option("--companies", type=click.IntRange(min=1), default=300, show_default=True)
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed writes the same bytes.")
@click.option("--grow", is_flag=True, help="Add the next day to a sample that is there.")
def sample(*, out: Path, batches: int, events_per_batch: int, companies: int, seed: int, grow: bool) -> None:
    """Write raw files as a real producer's, with a known share of every defect.

    A file beside the folder, <out>.truth.jsonl, says of each line what should become of it.
    """
    written = write_sample(
        out, batches=batches, events_per_batch=events_per_batch, companies=companies, seed=seed, grow=grow
    )
    click.echo(
        f"{out}: {written.events:,} events and {written.companies:,} companies in {written.files:,} files, "
        f"{written.bytes:,} bytes; {written.truth} says what should become of each line"
    )


@commands.command()
@lake_option
@click.option(
    "--raw", type=place, callback=resolved, metavar="FOLDER", help="Also count the raw files that wait for a load."
)
def status(*, lake: Path, raw: Path | None) -> None:
    """Say what the lake holds, what is waiting, and what needs a person.

    Exit code 1 if something does.
    """
    settings = Settings(PROJECT, raw or Path(), Lake(lake), Limits())
    listing = list_raw(settings.raw, settings.feeds) if raw else None
    needs = show_status(settings.lake, Console(highlight=False), settings.feeds, listing, settings.limits)
    for sentence in needs:
        click.echo(f"needs a person: {printable(sentence)}")
    sys.exit(FAILED if needs else 0)


@commands.command()
@lake_option
@raw_option
@click.option("--driver-id", metavar="ID", help="With --event-timestamp: the event of this driver and time.")
@click.option("--event-timestamp", metavar="TIME", help="In any spelling that silver takes.")
@click.option("--source-file", metavar="FILE", help="With --line: the record there; as in _source_file.")
@click.option("--line", type=click.IntRange(min=0), help="Line, element of an array document, or offset of a message.")
@click.option("--company-id", metavar="ID", help="All records of this company.")
@click.option("--event-id", metavar="ID", help="All records with this event_id.")
@click.option("--json", "as_json", is_flag=True, help="One JSON array, for machines.")
def trace(*, lake: Path, raw: Path, as_json: bool, **question: Any) -> None:
    """Tell the life of a record: raw line, load, verdict, outcome, company, and the rows of gold it went into.

    Exit code 1 if there is no such record.
    """
    from ingest.trace import MOST_RECORDS, Question, print_lives, trace  # a load needs none of it

    lives = trace(Lake(lake), raw, Question(**question))
    if as_json:
        click.echo(json.dumps(lives, default=str, indent=1))
    elif lives:
        print_lives(lives)
    if len(lives) == MOST_RECORDS:
        click.echo(f"these are the first {MOST_RECORDS}; there may be more", err=True)
    if not lives:
        click.echo("no record of bronze is that one; 'python -m ingest status' says what is loaded", err=True)
        sys.exit(FAILED)


@commands.command()
@lake_option
@click.option(
    "--raw",
    type=place,
    callback=resolved,
    metavar="FOLDER",
    help="Also hold bronze to the raw files here that are still as they were when they were loaded.",
)
def verify(*, lake: Path, raw: Path | None) -> None:  # fmt: skip
    """Check that the lake holds every byte, line and record of every load, once; needs no raw files.

    Exit code 1 if not, with the first violations by file and line.
    """
    settings = Settings(PROJECT, raw or Path(), Lake(lake), Limits())
    listing = list_raw(settings.raw, settings.feeds) if raw else None
    checked = Checked()
    found = 0
    for sentence in islice(violations_of(settings.lake, settings.feeds, listing, checked), MOST_VIOLATIONS):
        found += 1
        click.echo(f"violation: {printable(sentence)}")
    click.echo("checked " + ", ".join(f"{count:,} {what}" for what, count in checked.counts.items()))
    if found:
        sys.exit(FAILED)
    click.echo("every byte, line and record is accounted for")


@commands.command()
@lake_option
@click.option("--out", type=click.Path(path_type=Path), callback=resolved, default=Path("target/report.html"),
              show_default=True)  # fmt: skip
def report(*, lake: Path, out: Path) -> None:
    """Write a page on the state of the lake: one HTML file that loads nothing and opens in any browser."""
    from ingest.lake_report import write_report  # half a second of imports that no other command needs

    write_report(Lake(lake), out)
    shown = out.relative_to(Path.cwd()) if out.is_relative_to(Path.cwd()) else out
    click.echo(f"{shown}: open it in a browser")


@commands.command()
@lake_option
def experiment(*, lake: Path) -> None:
    """Compare the variants of silver that 'make experiment' has built."""
    show_experiment(Lake(lake), Console(highlight=False, soft_wrap=True))


@commands.command()
@lake_option
@click.option("--days", type=click.IntRange(0, MOST_DAYS), default=MOST_DAYS, show_default=True,
              help="Keep what the tables' versions of so many days need.")  # fmt: skip
@click.option("--dry-run", is_flag=True, help="Only say what could be removed now.")
def maintain(*, lake: Path, days: int, dry_run: bool) -> None:
    """Compact small files, and remove files and logs that no version of the last days needs; no row, no manifest.

    Refused while a load or a build is in progress.
    """
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("table")
    for name in ("files read", "after", "files kept", "after", "bytes kept", "after"):
        table.add_column(name, justify="right")
    for done in maintain_tables(Lake(lake), keep=timedelta(days=days), dry_run=dry_run):
        _, *counts = astuple(done)
        table.add_row(done.table, *(f"{count:,}" for count in counts))
    Console(highlight=False, width=WIDE).print(table)


@commands.command()
@lake_option
@click.option("--table", required=True, help="Table to write, such as gold.enriched_driver_events.")
@click.option("--to", "folder", required=True, type=click.Path(path_type=Path), help="Folder to make for its files.")
@click.option("--format", "file_format", type=click.Choice(["parquet", "csv"]), default="parquet", show_default=True,
              help="What the files are.")  # fmt: skip
def export(*, lake: Path, table: str, folder: Path, file_format: Literal["parquet", "csv"]) -> None:
    """Write a table, as it is now, as plain files for those who have no Delta reader."""
    rows = export_table(Lake(lake), table, Path.cwd() / folder, file_format)
    click.echo(f"{rows:,} rows of {table} in {folder}")


@commands.command()
@lake_option
@click.option("--run", "run_id", required=True, metavar="RUN_ID", help="A build's run_id, as in audit.pipeline_runs.")
def as_of(*, lake: Path, run_id: str) -> None:
    """Say which version each table had after a build, with a line of SQL to read it; of the last 30 days."""
    up_to, versions = versions_at(Lake(lake), run_id)
    for table, version in versions.items():
        click.echo(f"select * from {table} version as of {version}")
    for feed in ("driver_events", "companies", "source_files"):
        click.echo(f"select * from bronze.{feed} where _load_id <= {up_to}")


def _settings(
    *,
    raw: Path,
    lake: Path,
    kafka: Path | None,
    target: str | None,
    settle: float,
    max_record_bytes: int,
    max_file_bytes: int,
    **_: Any,
) -> Settings:
    if target:
        from ingest.profile import read_profile  # jinja takes its time, and most have no need to name one

        read_profile(PROJECT, Lake(lake), target)
    limits = Limits(settle_seconds=settle, max_record_bytes=max_record_bytes, max_file_bytes=max_file_bytes)
    config = {}
    if kafka:
        from ingest.topics import read_config  # needs Kafka's client, which not everybody has

        config = read_config(kafka)
    return Settings(PROJECT, raw, Lake(lake), limits, target, config)


def _load(settings: Settings, report: Report) -> int:
    started = time.monotonic()
    manifests = run_load(settings, report)
    for manifest in manifests:
        report.unreadable(manifest)
    feeds = [feed.name for feed in settings.feeds]
    report.summary(feeds, manifests, time.monotonic() - started)
    return FAILED if any(manifest.has_failures for manifest in manifests) else 0


def _preview(settings: Settings, report: Report) -> int:
    manifests = preview_load(settings, report)
    for manifest in manifests:
        report.preview(manifest)
        report.unreadable(manifest)
    return FAILED if any(manifest.has_failures for manifest in manifests) else 0
