"""Clocks of emulated links and devices: when a modelled step starts and ends. Nothing here waits.

All times in and out are wall seconds of one clock. Modelled times enter in model time, s, and are
multiplied by the time scale (0.2: the system runs five times as fast as it would).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hddnn.errors import InputError
from hddnn.system.topology import Link


def check_time_scale(time_scale: float) -> float:
    """Return the time scale. Raises InputError when it is negative or not finite."""
    if not 0 <= time_scale < float("inf"):
        raise InputError(
            f"time scale is {time_scale}: give wall seconds for a second of model time, 0 or more"
        )
    return time_scale


@dataclass(frozen=True)
class Arrival:
    """One payload's way over a link, in wall seconds.

    start_s: the link takes it; arrived_s: the receiver may use it; queued_s: it waited to start;
    modelled_s: transfer, latency and jitter, without the queue.
    """

    start_s: float
    arrived_s: float
    queued_s: float
    modelled_s: float


class LinkClock:
    """Keep the time of one link: from one source tier to one receiving device, first in, first out."""

    def __init__(self, link: Link, time_scale: float, rng: np.random.Generator) -> None:
        self.link = link
        self.time_scale = check_time_scale(time_scale)
        self.free_s = -np.inf  # from then on the link can take another payload
        self._last_arrived_s = -np.inf
        self._rng = rng

    def receive(self, sent_s: float, n_bytes: int, receiver_free_s: float, in_hand_s: float) -> Arrival:
        """Return when a payload passes, and hold the link for it.

        sent_s: the sender let it go; receiver_free_s: the receiving device is free from then on (counts for a
        serial link only: there, receiving occupies the device); in_hand_s: the payload really was there. Real
        movement counts towards the modelled delay, and a payload is never used before it is in hand.
        A serial link is held until the arrival, an overlapped one for 8 bytes / bandwidth. Jitter, uniform
        in 0..jitter_s, never lets a payload overtake an earlier one.
        """
        link = self.link
        serial = link.mode == "serial"
        transfer_s = 0.0 if link.bandwidth_bps is None else 8 * n_bytes / link.bandwidth_bps
        transfer_s *= self.time_scale
        jitter_s = self._rng.uniform(0, link.jitter_s) if link.jitter_s else 0.0
        modelled_s = transfer_s + (link.latency_s + jitter_s) * self.time_scale

        start_s = max(sent_s, self.free_s, receiver_free_s if serial else -np.inf)
        arrived_s = max(start_s + modelled_s, self._last_arrived_s, in_hand_s)
        # An overlapped link goes by its model alone: a late look at a payload must not delay the next one.
        self.free_s = arrived_s if serial else start_s + transfer_s
        self._last_arrived_s = arrived_s
        return Arrival(start_s, arrived_s, start_s - sent_s, modelled_s)


@dataclass(frozen=True)
class Finish:
    """The end of one step on a device.

    done_s: wall seconds; overrun_s: by so many the true work ended after the modelled time had passed.
    """

    done_s: float
    overrun_s: float


class DeviceClock:
    """Keep the time of one device, which does one step at a time.

    The clock goes on from when the device could have started, not from when Python got to it: a late wake-up
    is made up for by the next step's shorter wait, and never adds up.
    """

    def __init__(self, time_scale: float = 1.0, free_s: float = -np.inf) -> None:
        self.time_scale = check_time_scale(time_scale)
        self.free_s = free_s  # from then on the device can start another step

    def begin(self, ready_s: float) -> float:
        """Return when a step that is ready at ready_s starts: at once, or when the device is free."""
        return max(ready_s, self.free_s)

    def finish(self, start_s: float, modelled_s: float | None, real_finish_s: float) -> Finish:
        """Return when a step ends, and hold the device until then.

        start_s: from begin; modelled_s: model time, s, None when the device has no modelled time (it then
        takes as long as it takes, and is never overrun); real_finish_s: the true work was finished.
        """
        planned_s = real_finish_s if modelled_s is None else start_s + modelled_s * self.time_scale
        self.free_s = max(planned_s, real_finish_s)
        return Finish(self.free_s, overrun_s=max(0.0, real_finish_s - planned_s))
