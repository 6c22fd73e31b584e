"""Show a training's course: a bar with loss, accuracy and time left; without a terminal, a line an epoch."""

from __future__ import annotations

from rich.console import Console
from rich.progress import BarColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from hddnn._util.bars import Bars
from hddnn.training.train import TrainingObserver


class TrainingBars(Bars, TrainingObserver):
    """One bar for each teacher's answers and one for all epochs; enter it around the training."""

    def __init__(self, console: Console) -> None:
        super().__init__(
            console,
            TextColumn("{task.description:<18}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:>3.0f} %"),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            speed_s=600,
        )
        self._teacher: TaskID | None = None
        self._bar: TaskID | None = None
        self._epochs = 0
        self._held_out = ""
        self.done = 0  # epochs

    def teacher(self, name: str, done: int, total: int) -> None:
        if self._teacher is None:
            self._teacher = self._progress.add_task(f"answers of {name}", total=total, note="")
        self._progress.update(self._teacher, completed=done)
        if done == total:
            self.say(f"answers of {name}: {total} images")
            self._teacher = None  # another one, of whatever name, has a bar of its own

    def began(self, epoch: int, epochs: int, batches: int) -> None:
        self._epochs, self.done = epochs, epoch
        self._bar = self._progress.add_task("", total=epochs * batches, completed=epoch * batches, note="")

    def batch(self, epoch: int, batch: int, batches: int, loss: float, accuracy: float) -> None:
        if self._bar is not None:
            self._progress.update(
                self._bar,
                completed=(epoch - 1) * batches + batch,
                description=f"epoch {epoch} of {self._epochs}",
                note=f"loss {loss:.3f}  training {accuracy:.3f}{self._held_out}",
            )

    def epoch(self, epoch: int, epochs: int, loss: float, accuracy: float) -> None:
        self.done = epoch
        self._held_out = f"  held out {accuracy:.3f}"
        self.say(f"epoch {epoch} of {epochs}: loss {loss:.3f}{self._held_out}")

    def bundling(self) -> None:
        if self._bar is not None:
            self._progress.update(self._bar, description="measuring")
        self.say("making and measuring the bundle")
