"""Show an audit's course: a bar and the time left; without a terminal, a line at the begin."""

from __future__ import annotations

from collections.abc import Callable

from rich.console import Console
from rich.progress import BarColumn, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from hddnn._util.bars import Bars


class AuditBar(Bars):
    """One bar for the attack's steps; enter it around the audit."""

    def __init__(self, console: Console, text: str) -> None:
        super().__init__(
            console,
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
        )
        self._text = text

    def began(self, steps: int) -> Callable[[], object]:
        """Hear how many steps an attack takes; return what it calls after each."""
        self.say(self._text)
        bar = self._progress.add_task(self._text, total=steps)
        return lambda: self._progress.advance(bar)
