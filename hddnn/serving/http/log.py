"""The service's log: what anybody can make it say again and again is said once a minute."""

from __future__ import annotations

import asyncio
import errno
import logging
import re
import time
from collections.abc import Callable
from typing import Any

logger = logging.getLogger(__name__)

_PAUSE_S = 60.0
_MOST = 1000  # messages that are remembered
_NUMBERS = re.compile(r"0x[0-9a-f]+|\d+")


class Sparing(logging.Filter):
    """Let each message pass once a minute, and say then how many were left out."""

    def __init__(self, now_s: Callable[[], float] = time.monotonic) -> None:
        super().__init__()
        self._now_s = now_s
        self._told: dict[tuple[object, ...], tuple[float, int]] = {}  # when, and how many more came since

    def filter(self, record: logging.LogRecord) -> bool:
        first, now_s = record.getMessage().partition("\n")[0], self._now_s()
        error = record.exc_info and record.exc_info[0]
        key = (record.pathname, record.lineno, error, _NUMBERS.sub("#", first))
        told_s, more = self._told.get(key, (-_PAUSE_S, 0))
        if now_s - told_s < _PAUSE_S:
            self._told[key] = told_s, more + 1
            return False
        if len(self._told) >= _MOST:
            self._told.clear()
        self._told[key] = now_s, 0
        if more:
            record.msg, record.args = f"{record.getMessage()} (and {more:,} times more since it was said)", ()
        return True


def keep_short() -> None:
    """Have every handler of the log that there is say each message once a minute at most."""
    # What its parser finds odd about a form is its sender's business.
    logging.getLogger("python_multipart").setLevel(logging.ERROR)
    named = logging.Logger.manager.loggerDict.values()
    loggers = [logging.getLogger(), *(one for one in named if isinstance(one, logging.Logger))]
    sparing = Sparing()
    for handler in {logging.lastResort, *(handler for one in loggers for handler in one.handlers)}:
        if handler is not None:
            handler.addFilter(sparing)


def say_in_one_line(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """Handle what an event loop cannot: that no file descriptors are left needs no traceback."""
    fault = context.get("exception")
    if isinstance(fault, OSError) and fault.errno in (errno.EMFILE, errno.ENFILE):
        logger.warning("hddnn: no file descriptors are left; new connections wait (raise it: ulimit -n)")
    else:
        loop.default_exception_handler(context)
