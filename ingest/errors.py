"""What ingest says when it cannot go on."""

from __future__ import annotations

import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from collections.abc import Iterator

NOT_DONE = 2
_OF_STORES = ("_internal", "aiohttp.", "botocore.")  # the first is deltalake's
_LONGEST_CAUSE = 300


class IngestError(Exception):
    """A user's mistake, or a state that needs a person: one clear sentence, shown without a traceback."""


class BusyError(IngestError):
    """Another process holds a lock of the lake."""


@contextmanager
def explained() -> Iterator[None]:
    """Let a command's user see a mistake of theirs as one sentence, with exit code 2, and never as a traceback."""
    try:
        yield
    except Exception as error:
        sentence = explain(error)
        if sentence is None:
            raise
        click.echo(f"error: {sentence}", err=True)
        sys.exit(NOT_DONE)


def explain(error: Exception) -> str | None:
    """Say in one sentence what a user, the system or Spark has caused; None if it can only be our own mistake."""
    if isinstance(error, IngestError):
        return str(error)
    is_sparks = type(error).__module__.partition(".")[0] in {"py4j", "pyspark"}
    if isinstance(error, ConnectionRefusedError | ConnectionResetError) or (
        is_sparks and "Java" in str(error) and not _java_cause(error)
    ):
        cause = "Spark's Java process has ended, perhaps for want of memory (SPARK_DRIVER_MEMORY sets its heap)"
    elif isinstance(error, OSError) or type(error).__module__.startswith(_OF_STORES):
        cause = str(error) or type(error).__name__
    elif is_sparks:
        cause = f"Spark could not do its part: {_java_cause(error) or error}"
    else:
        return None
    return (
        f"{' '.join(cause.split())[:_LONGEST_CAUSE]}; nothing is lost: mend that and run again, it goes on from there."
    )


def _java_cause(error: Exception) -> str:
    """Give the first line of the innermost Java exception; what follows may quote data."""
    exception: Any = getattr(error, "java_exception", None) or getattr(error, "_origin", None)
    while exception is not None and exception.getCause() is not None:
        exception = exception.getCause()
    return str(exception.toString()).partition("\n")[0] if exception is not None else ""
