"""Run a command of Python in this process once for every line on standard input, and write a byte when it is done."""

from __future__ import annotations

import runpy
import sys
from pathlib import Path


def main(done: Path, arguments: list[str]) -> None:
    """Run `-m module arguments` or `script arguments`, as Python itself would."""
    run = runpy.run_path
    if arguments[0] == "-m":
        run, arguments = runpy.run_module, arguments[1:]
    for _ in sys.stdin:
        sys.argv = list(arguments)
        try:
            run(arguments[0], run_name="__main__")
        except SystemExit as end:
            if end.code:
                raise
        with done.open("a") as file:
            file.write(".")


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
