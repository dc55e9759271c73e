"""Where files are read, and what is said if that ends early."""

from __future__ import annotations

import signal

import pytest

from ingest.errors import IngestError
from ingest.workers import WORTH_A_PROCESS_BYTES, workers


def test_a_process_that_was_killed_is_told_in_a_sentence_whenever_it_is_missed() -> None:
    with workers(lambda: None, []) as run:
        for _ in range(2):
            with pytest.raises(IngestError, match="a process that was reading files has ended"):
                list(run(signal.raise_signal, [signal.SIGKILL] * 2, WORTH_A_PROCESS_BYTES))
