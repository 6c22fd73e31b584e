"""The time that a device lives in: the machine's monotonic clock, and waiting for it."""

from __future__ import annotations

import time

from hddnn._util.host import starved_s

#: Longest sleep in one piece, and what it may be late by beyond what other work on the machine explains: with
#: more, the process was stopped.
NAP_S = 0.05
LATE_S = 0.1


class WallTime:
    """The machine's own time; a test hands a device another one, which need not pass."""

    def now_s(self) -> float:
        """Return the time, monotonic s."""
        return time.monotonic()

    def wait_until(self, at_s: float) -> float:
        """Wait in this thread until the clock shows at_s, and return when that was over.

        Time in which the whole process was stopped does not count: a device that hung has its step still before
        it. Time in which it was ready to run and had no processor does: a busy machine is no hang.
        """
        now_s, without_s = time.monotonic(), starved_s()
        while now_s < at_s:
            nap_s = min(at_s - now_s, NAP_S)
            time.sleep(nap_s)
            woke_s, starved_until_s = time.monotonic(), starved_s()
            stopped_s = woke_s - now_s - nap_s - (starved_until_s - without_s)
            if stopped_s > LATE_S:
                at_s += stopped_s
            now_s, without_s = woke_s, starved_until_s
        return at_s
