"""Runs a command as a user does and kills it, Java and all, at a named place: `python -m ... PLACE COMMAND...`.

A place is `module:function:before` or `:after`, with the number of the call if not the first, or, for dbt,
`sql:pattern:before` or `:after` a statement that has the pattern.
"""

from __future__ import annotations

import importlib
import os
import re
import signal
import sys
from itertools import count
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable


def main(place: str, command: str, *arguments: str) -> None:
    arm(*place.split(":"))
    sys.argv = [command, *arguments]
    if command == "ingest":
        from ingest.cli import main as run
    else:
        from dbt.cli.main import cli as run
    run()


def arm(owner: str, name: str, moment: str, call: str = "1") -> None:
    if owner == "sql":
        from dbt.adapters.spark import session

        wrap(session.Cursor, "execute", moment, lambda _, sql, *__: re.search(name, sql) is not None)
        return
    calls = count(1)
    wrap(importlib.import_module(owner), name, moment, lambda *_, **__: next(calls) == int(call))


def wrap(owner: Any, name: str, moment: str, is_time: Callable[..., bool]) -> None:
    function = getattr(owner, name)

    def dying(*arguments: Any, **keywords: Any) -> Any:
        dies = is_time(*arguments, **keywords)
        if dies and moment == "before":
            os.killpg(0, signal.SIGKILL)
        result = function(*arguments, **keywords)
        if dies:
            os.killpg(0, signal.SIGKILL)
        return result

    setattr(owner, name, dying)


if __name__ == "__main__":
    main(*sys.argv[1:])
