"""When a device counts as gone: by its heartbeats, in the Dask engine and in the simulation alike."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from hddnn.errors import InputError

#: Wall seconds between two heartbeats of a device, unless said otherwise; in a simulation, seconds of its time.
HEARTBEAT_S = 0.25
#: Intervals without a heartbeat after which a device counts as gone, at the least. One is the sender's, and may be
#: whole when it falls silent; the rest is for a hiccup of its machine. With the checks' own interval, at most 4.
PATIENCE = 3.25
CHECKS = 4  # looks at the list in each interval

#: How many of a machine's heartbeats are remembered: those of 13 devices for 2 s, of a single one for 25 s.
REMEMBERED = 100
#: Which of these, the latest first, says how late they are now: the first may be a hiccup of its own.
RANK = 2
#: So many times as late a heartbeat may be before its device counts as gone.
MARGIN = 3.0
#: No device is waited for any longer, s, however late heartbeats are, unless PATIENCE intervals are more.
LONGEST_S = 10.0


def check_heartbeat(heartbeat_s: float) -> None:
    """Raise InputError for an interval between heartbeats, s, that is too short, or none."""
    if not 0.01 <= heartbeat_s < float("inf"):
        raise InputError(f"heartbeat is {heartbeat_s:g} s; give 0.01 s or more")


class LatenessHistory:
    """How late a machine's last heartbeats came, and so how long one of its devices may be silent.

    It adapts, as the failure detectors of Chen, Toueg and Aguilera (2002) and Hayashibara et al. (2004) do: a
    heartbeat is expected an interval after the last one, and the margin on top follows what has come in. Two
    things let it know of a load before the first heartbeat that is very late: the devices of a machine share one
    history, for what else the machine does makes all of them late; and each heartbeat tells how long its sender
    was starved of a processor, which is more than it was late by. While all come in time, a device may be silent
    for PATIENCE intervals.

    Example:
        >>> quiet, loaded = LatenessHistory(), LatenessHistory()
        >>> for _ in range(20):
        ...     quiet.note(0.02)
        ...     loaded.note(0.3)
        >>> quiet.allowed_s(0.25), loaded.allowed_s(0.25)
        (0.8125, 1.15)
    """

    def __init__(self) -> None:
        self._late_s: deque[float] = deque(maxlen=REMEMBERED)
        self._usual_s = 0.0

    def note(self, late_s: float) -> None:
        """Take note of a heartbeat that came, or might have come, so many seconds later than expected."""
        self._late_s.append(late_s)
        if len(self._late_s) >= RANK:  # here, and not when asked: heartbeats are fewer than looks
            self._usual_s = sorted(self._late_s)[-RANK]

    def allowed_s(self, interval_s: float) -> float:
        """Return how many seconds a device may be silent that sends a heartbeat every interval_s seconds."""
        return max(PATIENCE * interval_s, min(interval_s + MARGIN * self._usual_s, LONGEST_S))


@dataclass
class Listed:
    """What is known of a device's heartbeats.

    machine: equal for devices of one machine. seen_s: when it was last heard, s; later by what the keeper of the
    list was absent itself since. live: whether it does not count as gone.
    """

    machine: str
    interval_s: float
    seen_s: float
    live: bool = True


class FailureDetector:
    """Tell which devices count as gone, by when their heartbeats came and how late those usually are.

    It reads no clock: who keeps the list tells it the time, s on any one clock, looks at the list CHECKS times an
    interval, and publishes who is gone.

    Attributes:
        listed: What is known, by device.
        interval_s: The shortest interval between a device's heartbeats, by which to look.
    """

    def __init__(self, now_s: float) -> None:
        self.listed: dict[str, Listed] = {}
        self.interval_s = HEARTBEAT_S
        self._lateness: dict[str, LatenessHistory] = {}  # by machine
        self._looked_s = now_s

    def expect(self, device: str, interval_s: float, now_s: float) -> None:
        """Take a device for live that is known to be, and was never heard: it is missed if it stays silent."""
        self._list(device, Listed(device, interval_s, now_s))

    def beat(
        self, device: str, machine: str, interval_s: float, now_s: float, *, starved_s: float = 0.0
    ) -> bool:
        """Note a heartbeat, and return whether it is news: the device was not known, or counted as gone.

        starved_s: for how long its sender was ready to send and had no processor, since the last one.
        """
        known = self.listed.get(device)
        news = known is None or not known.live
        late_s = starved_s
        # One that ends a silence for which its device counted as gone was not late, but stopped or cut off: to
        # learn from that would be to miss the next such failure for long. If it was starved, that teaches.
        if known is not None and known.live:
            late_s = max(late_s, now_s - self._absent_s(now_s) - known.seen_s - interval_s)
        self._list(device, Listed(machine, interval_s, now_s))
        self._lateness.setdefault(machine, LatenessHistory()).note(late_s)
        return news

    def look(self, now_s: float) -> list[str]:
        """Return the devices that count as gone from now on, because they have been silent for too long."""
        absent_s, gone = self._absent_s(now_s), []
        self._looked_s = now_s
        for device, known in self.listed.items():
            known.seen_s += absent_s
            if known.live and now_s - known.seen_s > self.allowed_s(device):
                known.live = False
                gone.append(device)
        return gone

    def allowed_s(self, device: str) -> float:
        """Return how many seconds a device may be silent now."""
        known = self.listed[device]
        lateness = self._lateness.get(known.machine)  # None before its first heartbeat
        return (LatenessHistory() if lateness is None else lateness).allowed_s(known.interval_s)

    def forget(self, device: str) -> bool:
        """Take a device off the list, and return whether it was there and live."""
        known = self.listed.pop(device, None)
        if known is None:
            return False
        if all(other.machine != known.machine for other in self.listed.values()):
            self._lateness.pop(known.machine, None)
        return known.live

    def _list(self, device: str, known: Listed) -> None:
        self.listed[device] = known
        if known.interval_s < self.interval_s or len(self.listed) == 1:
            self.interval_s = known.interval_s

    def _absent_s(self, now_s: float) -> float:
        """Return for how long nobody looked who should have: what devices sent meanwhile waits to be read."""
        look_s = self.interval_s / CHECKS
        late_s = now_s - self._looked_s - look_s
        return late_s if late_s >= look_s else 0.0  # less is a timer's jitter, which would add up
