"""Modules run as programs of their own: with this interpreter, and nothing from the folder where the user stands.

    python -P PATH/hddnn/_util/children.py MODULE [WORD]...

`-m` alone would have Python look for every module in the current folder first, and run a queue.py of the user's.
"""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Mapping
from pathlib import Path

#: Keeps the current folder out for Python programs that a child starts in its turn.
SAFE = {"PYTHONSAFEPATH": "1"}


def command(module: str, *words: str) -> list[str]:
    """Return the command that runs a module, of hddnn or of what is installed."""
    return [sys.executable, "-P", __file__, module, *words]


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return this process's environment, with more, for a child."""
    return {**os.environ, **SAFE, **(more or {})}


def main() -> None:
    """Be the module that is named first."""
    home = str(Path(__file__).parents[2])
    if home not in sys.path:  # not installed, but found by who started this; last, so that it hides nothing
        sys.path.append(home)
    del sys.argv[0]
    runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
