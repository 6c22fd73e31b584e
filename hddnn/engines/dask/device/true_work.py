"""A device's true work, its networks' runs: done when it is wanted, or ahead of the time that it is modelled for.

Either way the pipeline asks for one result after another, and is told with each when it was finished in truth.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from threading import Condition
from typing import Any, Protocol

#: Results that may lie ready and not be wanted yet: features are megabytes a batch, and memory has an end.
MOST_READY = 16

#: What a task's work is called for: its batch, and "answer" or "pack".
Name = tuple[int, str]


@dataclass(frozen=True)
class Done:
    """The result of a piece of work, or what it raised; finished_s: when that was, monotonic s."""

    value: Any
    finished_s: float
    error: BaseException | None = None


def do(call: Callable[[], Any], now_s: Callable[[], float] = time.monotonic) -> Done:
    """Do a piece of work now."""
    try:
        value = call()
    except BaseException as error:  # whoever wants the result gets it
        return Done(None, now_s(), error)
    return Done(value, now_s())


class TrueWork(Protocol):
    """Do the work of a device's tasks, each piece once."""

    def begin(self, task: Hashable, works: Mapping[Name, Callable[[], Any]]) -> None:
        """Take pieces of a task's work, in order, their inputs being in hand; pieces that are known stay."""
        ...

    def take(self, task: Hashable, name: Name) -> Done:
        """Return a piece's result when it is there, and forget it. Raises KeyError for one that is not known."""
        ...

    def wait(self, task: Hashable, timeout_s: float) -> None:
        """Return when nothing more of a task is done before it is wanted, or after so many wall seconds."""
        ...

    def forget(self, task: Hashable) -> None:
        """Forget a task: it is over, or will not run."""
        ...


class InTurn:
    """Do each piece when it is wanted, in the thread that wants it, as a device does at its own speed."""

    def __init__(self) -> None:
        self._works: dict[Hashable, dict[Name, Callable[[], Any]]] = {}

    def begin(self, task: Hashable, works: Mapping[Name, Callable[[], Any]]) -> None:
        """Take pieces of a task's work."""
        known = self._works.setdefault(task, {})
        known.update({name: call for name, call in works.items() if name not in known})

    def take(self, task: Hashable, name: Name) -> Done:
        """Do a piece."""
        return do(self._works[task][name])

    def wait(self, task: Hashable, timeout_s: float) -> None:
        """Return: nothing is done before it is wanted."""

    def forget(self, task: Hashable) -> None:
        """Forget a task."""
        self._works.pop(task, None)


class Ahead:
    """Do all pieces in a thread of its own, as soon as their inputs are in hand, one after another.

    So everything that the modelled system leaves as time serves the true work: the emulated link's, the modelled
    service's beyond the true one, and those of all that the device has queued before. A piece that is wanted goes
    before the others; the others stop while MOST_READY results lie ready.
    """

    def __init__(self, most_ready: int = MOST_READY) -> None:
        self._most_ready = most_ready
        self._known: dict[Hashable, set[Name]] = {}
        self._waiting: dict[tuple[Hashable, Name], Callable[[], Any]] = {}  # not begun, in order
        self._ready: dict[tuple[Hashable, Name], Done] = {}  # not taken
        self._wanted: tuple[Hashable, Name] | None = None
        self._busy = False
        self._change = Condition()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="hddnn-ahead")

    def begin(self, task: Hashable, works: Mapping[Name, Callable[[], Any]]) -> None:
        """Take pieces of a task's work, and begin."""
        with self._change:
            known = self._known.setdefault(task, set())
            self._waiting.update({(task, name): call for name, call in works.items() if name not in known})
            known.update(works)
            self._go_on()

    def take(self, task: Hashable, name: Name) -> Done:
        """Return a piece's result when it is there."""
        place = (task, name)
        with self._change:
            self._wanted = place
            self._go_on()
            self._change.wait_for(lambda: place in self._ready or name not in self._known.get(task, ()))
            self._wanted = None
            done = self._ready.pop(place)
            self._go_on()
        return done

    def wait(self, task: Hashable, timeout_s: float) -> None:
        """Return when all pieces of a task lie ready, or no more may."""

        def over() -> bool:
            left = self._known.get(task, set()) - {name for known, name in self._ready if known == task}
            return not left or len(self._ready) >= self._most_ready

        with self._change:
            self._change.wait_for(over, timeout_s)

    def forget(self, task: Hashable) -> None:
        """Forget a task; a piece of it that is being done has no result."""
        with self._change:
            self._known.pop(task, None)
            for places in (self._waiting, self._ready):
                for place in [place for place in places if place[0] == task]:
                    del places[place]
            self._change.notify_all()
            self._go_on()

    def _go_on(self) -> None:
        """Begin the next piece, if there is one to begin; with the lock."""
        if self._busy or not self._waiting:
            return
        if self._wanted in self._waiting:
            place = self._wanted
        elif len(self._ready) < self._most_ready:
            place = next(iter(self._waiting))
        else:
            return
        self._busy = True
        self._thread.submit(self._do, place, self._waiting.pop(place))

    def _do(self, place: tuple[Hashable, Name], call: Callable[[], Any]) -> None:
        done = do(call)
        with self._change:
            self._busy = False
            if place[0] in self._known:
                self._ready[place] = done
            self._change.notify_all()
            self._go_on()
