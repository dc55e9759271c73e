"""An S3 store for tests."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from deploy.services import Supervisor
from deploy.store import ENVIRONMENT, store

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@contextmanager
def running_store(folder: Path) -> Iterator[None]:
    """Run a store, with its log in a folder, and let this process and what it starts find it."""
    supervisor = Supervisor(folder)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        try:
            supervisor.start([store()])
            yield
        finally:
            supervisor.stop()
