"""Show a profile's course in the terminal."""

from __future__ import annotations

from hddnn.cli.progress import TerminalProgress
from hddnn.profiling.measuring import ProfileObserver


class ProfileProgress(TerminalProgress, ProfileObserver):
    """A run's bars, and one each for the networks and the links that are measured."""

    def measured(self, what: str, done: int, total: int) -> None:
        self._bar(what, total)
        self._progress.update(self._bars[what], completed=done)
        if done == total:
            self._end(what, f"{total} measured")
