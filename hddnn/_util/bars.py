"""Bars in the terminal for what takes long; what is shown elsewhere is its user's to say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from types import TracebackType
from typing import Self, TypeVar

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
)

T = TypeVar("T")


class Bars:
    """Bars with the given columns; enter it around the work.

    On a console that is no terminal (a file, a pipe) there are none, and `say` prints a line there instead.
    """

    def __init__(self, console: Console, *columns: ProgressColumn, speed_s: float = 30.0) -> None:
        """Make bars; speed_s: how far back, in seconds, the time left is estimated from."""
        self._console = console
        self._progress = Progress(
            *columns, console=console, disable=not console.is_terminal, speed_estimate_period=speed_s
        )

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def say(self, text: str) -> None:
        """Print a line where there are no bars."""
        if self._progress.disable:
            self._console.print(text, soft_wrap=True, markup=False)


def track(items: Sequence[T], what: str, console: Console) -> Iterator[T]:
    """Yield the items, with a bar of how many are done and the time left; without a terminal, ten lines in all."""
    columns = TextColumn(what), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
    with Bars(console, *columns, speed_s=600.0) as bars:
        bar = bars._progress.add_task(what, total=len(items))
        for done, item in enumerate(items, 1):
            yield item
            bars._progress.advance(bar)
            if done % max(1, len(items) // 10) == 0:
                bars.say(f"{what}: {done} of {len(items)}")
