"""Show a bench's course: a bar with what is measured and the time left; without a terminal, a line a network."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from hddnn._util.bars import Bars
from hddnn.bench.measure import BenchObserver


class BenchBar(Bars, BenchObserver):
    """One bar for all steps; enter it around the bench."""

    def __init__(self, console: Console) -> None:
        super().__init__(
            console,
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.description}", markup=False),
        )
        self._bar: TaskID | None = None
        self._begun = 0  # steps

    def began(self, steps: int) -> None:
        self._bar = self._progress.add_task("", total=steps)

    def network(self, name: str) -> None:
        self.say(f"measuring {name}")

    def step(self, text: str) -> None:
        if self._bar is not None:
            self._progress.update(self._bar, completed=self._begun, description=text)
        self._begun += 1

    def left_out(self, network: str, runtime: str, reason: str) -> None:
        self._console.print(f"{network} in {runtime} is left out: {reason}", soft_wrap=True, markup=False)
