"""The consoles that commands write to, made in one place: wide enough for what they show."""

from __future__ import annotations

from rich.console import Console

#: Every table fits into so many columns. In fewer, columns would lose their words, or vanish; as it is, a narrower
#: terminal breaks the lines.
LEAST_WIDTH = 80


def tables() -> Console:
    """Return the console for what a command answers with, on standard output."""
    console = Console()
    return console if console.width >= LEAST_WIDTH else Console(width=LEAST_WIDTH)


def bars(*, quiet: bool = False) -> Console:
    """Return the console for bars, which have to fit the terminal, on standard error."""
    console = Console(stderr=True, quiet=quiet)
    # COLUMNS=0 is how some say that they do not know it.
    return console if console.width > 0 else Console(stderr=True, quiet=quiet, width=LEAST_WIDTH)
