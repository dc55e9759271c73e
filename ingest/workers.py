"""Where the text of files is read: in this process, in one for each core, or by the workers of a Spark cluster."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import contextmanager
from functools import cache
from multiprocessing import forkserver, get_context, parent_process
from threading import Thread
from typing import TYPE_CHECKING, Protocol, TypeVar

from ingest.errors import IngestError
from ingest.places import is_on_disk

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence
    from multiprocessing.context import ForkServerContext
    from pathlib import Path

    from pyspark.sql import SparkSession

T = TypeVar("T")
R = TypeVar("R")

CORES = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
WORTH_A_PROCESS_BYTES = 8 << 20
LOOKS = 64  # so many small tasks meet every worker of a cluster, and likely more than once


class Run(Protocol):
    """Calls a function of a module with each task, and yields what it returns, in order."""

    def __call__(self, function: Callable[[T], R], tasks: Sequence[T], size: int, /) -> Iterable[R]:
        """Take the tasks, and the bytes that they have to read in all."""


def prepare(size: int) -> None:
    """Let the server of processes import what they will need to read so many bytes, while this process goes on."""
    if size >= WORTH_A_PROCESS_BYTES:
        _fork_server().set_forkserver_preload(["ingest.parts", "ingest.scanning"])
        forkserver.ensure_running()


def _fork_server() -> ForkServerContext:
    """Processes of the fork server have none of this one's threads, which deltalake and Spark have started."""
    return get_context("forkserver")


@contextmanager
def workers(cluster: Callable[[], SparkSession | None], places: Sequence[Path]) -> Iterator[Run]:
    """Read here what is little, and more on the cluster, if there is one whose workers see these places.

    Where there is none, a process for each core reads it.
    """
    pool: ProcessPoolExecutor | None = None

    @cache
    def session_that_sees() -> SparkSession | None:
        session = cluster()
        return session if session and _sees(session, places) else None

    def run(function: Callable[[T], R], tasks: Sequence[T], size: int, /) -> Iterable[R]:
        nonlocal pool
        if size < WORTH_A_PROCESS_BYTES:
            return map(function, tasks)
        if session := session_that_sees():
            return session.sparkContext.parallelize(tasks, len(tasks)).map(function).collect()
        if pool is None:
            prepare(size)
            pool = ProcessPoolExecutor(CORES, _fork_server(), initializer=_end_with_parent)
        return _told(pool, function, tasks)

    try:
        yield run
    finally:
        if pool is not None:
            pool.shutdown(cancel_futures=True)


def _end_with_parent() -> None:
    """Have a worker end when its parent does, however that ends, and leave signals of the terminal to the parent."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    parent = parent_process()

    def wait() -> None:
        if parent is not None:
            parent.join()
        os._exit(1)

    Thread(target=wait, daemon=True).start()


def _told(pool: ProcessPoolExecutor, function: Callable[[T], R], tasks: Sequence[T]) -> Iterator[R]:
    try:
        yield from pool.map(function, tasks)
    except BrokenProcessPool as error:
        message = "a process that was reading files has ended, perhaps for want of memory; nothing is lost: run again."
        raise IngestError(message) from error


def _sees(session: SparkSession, places: Sequence[Path]) -> bool:
    """Tell whether all workers of a cluster have these folders, and not others of the same names."""
    folders = [str(place) for place in places if is_on_disk(place)]
    looks = session.sparkContext.parallelize(range(LOOKS), LOOKS).map(lambda _: times_of(folders)).collect()
    return all(look == times_of(folders) for look in looks)


def times_of(folders: Sequence[str]) -> list[int | None]:
    """Give when each folder was last modified, in nanoseconds since 1970, None for one that is not there."""
    return [os.stat(folder).st_mtime_ns if os.path.isdir(folder) else None for folder in folders]  # noqa: PTH112, PTH116
