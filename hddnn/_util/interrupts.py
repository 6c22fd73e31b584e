"""Ctrl-C and its like where they cost nothing that is finished: held back, and let through while one waits.

    with held() as hold:
        with let_through():
            wait()            # a signal ends this at once, as ever
        results = assemble()  # one that comes here waits until the block's end
        stopped = hold.taken()

Whoever has no hold around what it does sees no difference. Only signals whose handler is a Python function are
held: what the system does on its own (killing the process) is none of ours.
"""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from types import FrameType

#: Ctrl-C, being told to end, and the terminal's end.
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

Handler = Callable[[int, FrameType | None], object]


class Hold:
    """What holds signals back in the main thread, for as long as `held` lasts."""

    def __init__(self, say: str) -> None:
        self._say, self._open = say, 0
        self._came: int | None = None
        self._before: dict[int, Handler] = {}

    def taken(self) -> bool:
        """Tell whether a signal came that was held back, and forget it."""
        came, self._came = self._came is not None, None
        return came

    def begin(self) -> None:
        """Stand before the handlers that are there."""
        for number in SIGNALS:
            handler = signal.getsignal(number)
            if callable(handler):
                self._before[number] = handler
                signal.signal(number, self._hear)

    def end(self) -> None:
        """Put the handlers back."""
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def pass_on(self) -> None:
        """Hand on what was held back."""
        number, self._came = self._came, None
        if number is not None:
            self._before[number](number, None)

    @contextmanager
    def opened(self) -> Iterator[None]:
        """Hold nothing back in this block, and hand on first what was."""
        self._open += 1
        try:
            self.pass_on()
            yield
        finally:
            self._open -= 1

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self._open:
            self._before[number](number, frame)
            return
        self._came = number
        with suppress(OSError):  # nobody may be there to read it
            os.write(2, self._say.encode())


_holds: list[Hold] = []  # the one that is there: signals are the process's, and so is this


@contextmanager
def held(say: str = "") -> Iterator[Hold]:
    """Hold signals back in this block; one that is not `taken` by its end is handed on then.

    Within another hold it is that one. say: what is written to standard error when a signal has to wait.
    """
    if _holds or threading.current_thread() is not threading.main_thread():
        yield _holds[0] if _holds else Hold(say)
        return
    hold = Hold(say)
    _holds.append(hold)
    hold.begin()
    try:
        yield hold
    finally:
        hold.end()
        _holds.clear()
    hold.pass_on()


@contextmanager
def let_through() -> Iterator[None]:
    """Let signals end this block at once, within a hold, too: around what takes long or waits for others."""
    if not _holds or threading.current_thread() is not threading.main_thread():
        yield
        return
    with _holds[0].opened():
        yield
