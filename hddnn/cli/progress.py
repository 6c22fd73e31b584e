"""Show a run's course in the terminal: bars where there is one, else a line for each step that has ended."""

from __future__ import annotations

from collections.abc import Sequence
from time import monotonic

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn

from hddnn._util import terminal
from hddnn._util.bars import Bars
from hddnn.engines.base import Engine
from hddnn.engines.observer import Observer
from hddnn.results.records import Stage


class TerminalProgress(Bars, Observer):
    """One bar for the start of the devices, and one for each scheme's batches; enter it around the run.

    On a console that is no terminal (a file, a pipe) there are no bars, but one line when a step has ended.
    """

    def __init__(self, console: Console) -> None:
        super().__init__(
            console,
            TextColumn("{task.description:<26}", markup=False),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[note]}", markup=False),
        )
        self._bars: dict[str, TaskID] = {}
        self._schemes: list[str] = []
        self._began_s: dict[str, float] = {}
        self._coarse: dict[str, int] = {}
        self._ended: dict[str, int] = {}
        self._failed: dict[str, int] = {}

    def chosen(self, schemes: Sequence[str]) -> None:
        self._schemes = list(schemes)

    def preparing(self, network: str, done: int, total: int) -> None:
        name = f"answers of {network}"
        self._bar(name, total)
        self._progress.update(self._bars[name], completed=done)
        if done == total:
            self._end(name, f"{total} images")

    def starting(self, n_devices: int) -> None:
        self._bar("devices", n_devices, shown="starting devices")

    def noted(self, text: str) -> None:
        # Who shows no bars wants to know of this all the same.
        console = terminal.bars() if self._console.quiet else self._console
        console.print(text, soft_wrap=True, markup=False, highlight=False)

    def awaiting(self, missing: Sequence[str]) -> None:
        note = f"waiting for {', '.join(missing)}"
        done = self._progress.tasks[self._bars["devices"]].total or 0
        self._progress.update(self._bars["devices"], completed=done - len(missing), note=note)
        self.say(f"devices: {note}")

    def device_ready(self, name: str) -> None:
        bar = self._bars["devices"]
        self._progress.advance(bar)
        if self._progress.tasks[bar].finished:
            self._progress.update(bar, note="trying their links")

    def started(self, engine: Engine) -> None:
        n_devices = len(engine.topology.devices)
        ready = n_devices - len(getattr(engine, "gone", ()))
        self._progress.update(self._bars["devices"], description="devices", completed=ready, note="ready")
        self._end("devices", f"{ready} ready" if ready == n_devices else f"{ready} of {n_devices} ready")
        link = getattr(engine, "dashboard_link", None)
        if link:
            self._console.print(f"dashboard: {link}", soft_wrap=True)

    def scheme_started(self, scheme: str, n_batches: int) -> None:
        of = self._schemes  # empty in a profile, which compares a single one
        self._bar(
            scheme, n_batches, shown=f"{scheme} ({of.index(scheme) + 1} of {len(of)})" if of else scheme
        )
        self._coarse[scheme] = self._ended[scheme] = self._failed[scheme] = 0

    def resumed(self, scheme: str, n_batches: int) -> None:
        self.say(f"{scheme}: {n_batches} batches from the journal")

    def device_changed(self, name: str, live: bool, why: str) -> None:
        change = "is back" if live else "left"
        self._console.print(f"{name} {change}: {why}", soft_wrap=True, markup=False, highlight=False)

    def answered(self, scheme: str, stage: Stage, batch: int, ended: bool) -> None:
        self._coarse[scheme] += stage == "coarse"
        self._failed[scheme] += stage == "failed"
        self._ended[scheme] += ended
        done, failed = self._ended[scheme], self._failed[scheme]
        note = f"{self._coarse[scheme]} coarse" + (f", {failed} failed" if failed else "")
        bar = self._bars[scheme]
        self._progress.update(bar, completed=done, note=note)
        total = int(self._progress.tasks[bar].total or 0)
        if done == total:
            self._end(scheme, f"{done - failed} of {total} batches")

    def _bar(self, name: str, total: int, *, shown: str = "") -> None:
        if name not in self._bars:
            self._bars[name] = self._progress.add_task(shown or name, total=total, note="")
            self._began_s[name] = monotonic()

    def _end(self, name: str, text: str) -> None:
        self._progress.stop_task(self._bars[name])
        self.say(f"{name}: {text}, {monotonic() - self._began_s[name]:.1f} s")
