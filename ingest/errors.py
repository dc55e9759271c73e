"""What ingest says when it cannot go on."""

from __future__ import annotations


class IngestError(Exception):
    """A user's mistake, or a state that needs a person: one clear sentence, shown without a traceback."""
