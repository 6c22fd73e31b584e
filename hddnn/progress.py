"""Show a run's course in the terminal."""

from __future__ import annotations

from types import TracebackType
from typing import Literal, Self

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from hddnn.api import Observer
from hddnn.engines.base import Engine


class TerminalProgress(Observer):
    """One bar for the start of the devices, and one for each scheme's batches; enter it around the run."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._progress = Progress(
            TextColumn("{task.description:<24}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}"),
            console=console,
        )
        self._bars: dict[str, TaskID] = {}
        self._coarse: dict[str, int] = {}
        self._done: dict[str, int] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def preparing(self, network: str, done: int, total: int) -> None:
        self._bar(f"answers of {network}", total)
        self._progress.update(self._bars[f"answers of {network}"], completed=done)

    def starting(self, n_devices: int) -> None:
        self._bar("devices", n_devices)

    def device_ready(self, name: str) -> None:
        self._progress.advance(self._bars["devices"])

    def started(self, engine: Engine) -> None:
        bar = self._bars["devices"]
        self._progress.update(bar, completed=len(engine.topology.devices), note="ready")
        self._progress.stop_task(bar)
        link = getattr(engine, "dashboard_link", None)
        if link:
            self._console.print(f"dashboard: {link}", soft_wrap=True)

    def scheme_started(self, scheme: str, n_batches: int) -> None:
        self._bar(scheme, n_batches)
        self._coarse[scheme] = self._done[scheme] = 0

    def answered(self, scheme: str, stage: Literal["coarse", "fine", "failed"], batch: int) -> None:
        bar = self._bars[scheme]
        self._coarse[scheme] += stage == "coarse"
        self._done[scheme] += stage != "coarse"
        # Under a scheme without an upper tier the coarse answer is the last one.
        done = self._done[scheme] or (self._coarse[scheme] if scheme == "end" else 0)
        self._progress.update(bar, completed=done, note=f"{self._coarse[scheme]} coarse answers")
        if done == self._progress.tasks[bar].total:
            self._progress.stop_task(bar)

    def _bar(self, name: str, total: int) -> None:
        if name not in self._bars:
            self._bars[name] = self._progress.add_task(name, total=total, note="")
