"""An event loop in a thread of its own, for those who call from outside of one."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, Self, TypeVar

from hddnn._util.interrupts import let_through

T = TypeVar("T")

CLEANUP_TIMEOUT_S = 10.0


class LoopThread:
    """Run coroutines on an event loop in a thread, until closed."""

    def __init__(self, name: str) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=name, daemon=True)
        self._thread.start()

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine and return its result; Ctrl-C cancels it, waits for its cleaning up, and goes on."""
        with let_through():
            return self._wait_for(coroutine)

    def _wait_for(self, coroutine: Coroutine[Any, Any, T]) -> T:
        ended = threading.Event()

        async def run() -> T:
            try:
                return await coroutine
            finally:
                ended.set()

        future = asyncio.run_coroutine_threadsafe(run(), self._loop)
        try:
            return future.result()
        except KeyboardInterrupt:
            future.cancel()
            ended.wait(CLEANUP_TIMEOUT_S)
            raise

    @classmethod
    def opened(cls, name: str, opening: Coroutine[Any, Any, Any]) -> Self:
        """Return a loop on which a first coroutine has run; where that fails, nothing is left running."""
        made = cls(name)
        try:
            made.call(opening)
        except BaseException:
            made.close()
            raise
        return made

    def finish(self, closing: Coroutine[Any, Any, Any]) -> None:
        """Run a last coroutine, and end; within a hold Ctrl-C does not cut it short."""
        try:
            self._wait_for(closing)
        finally:
            self.close()

    def close(self) -> None:
        """End the loop and its thread."""
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()
