"""Hedge: Monitor, and a second copy of what is late (Dean and Barroso 2013, "hedged requests")."""

from __future__ import annotations

import heapq
from dataclasses import dataclass

from hddnn.planning.plan import NO_DEVICE
from hddnn.policies.actions import Action, Attempt, Cancel
from hddnn.policies.base import NEVER_S, Style
from hddnn.policies.book import Work
from hddnn.policies.monitor import Monitor
from hddnn.results.records import Stage


@dataclass(eq=False, kw_only=True)
class Hedge(Monitor):
    """A device that has taken `late_factor` times the predicted time for what it works on is late.

    The batch it works on is sent to another device of the same tier as well, and the first answer counts. What
    waits behind that batch has not been begun: it is taken back and sent to others. From then on the device gets
    one attempt at a time, until it has answered one in time; so that a slow device costs little twice-done work,
    and one that was slow for a while is soon in full use again.

    Args:
        late_factor: A device is late after so many times the predicted time, 1 or more.
    """

    late_factor: float = 2.0

    name = "hedge"
    caption = "monitor, and a second copy of what is late"
    style = Style("#009E73", "-.", "^")

    def __post_init__(self) -> None:
        super().__post_init__()
        self._check_least("late_factor", 1.0)

    def begin(self, work: Work) -> None:
        super().begin(work)
        # device -> batches that it owes an answer, in order -> attempt
        self._waiting: dict[int, dict[int, int]] = {}
        self._since_s: dict[int, float] = {}  # device -> its last answer, or when it got work
        # (when a device is late, device), the earliest first; one that is not so any more is left where it is
        self._alarms: list[tuple[float, int]] = []
        self._late: set[int] = set()
        self._copied: set[tuple[int, int]] = set()  # (device, batch) that were copied already

    # ---- events

    def accepted(self, number: int, now_s: float) -> list[Action]:
        attempt = self.under_way.get(number)
        if attempt is not None and attempt.coarse:
            self._owe(attempt.end, attempt, now_s)
        elif attempt is not None:
            self._owe(attempt.upper, attempt, now_s)
        return super().accepted(number, now_s)

    def answered(self, stage: Stage, batch: int, device: int, now_s: float) -> list[Action]:
        number = self._waiting.get(device, {}).get(batch)
        if number is not None:
            begun_s, allowed_s = self._since_s[device], self._allowed_s(device, batch)
            if now_s - begun_s <= allowed_s and device in self._late:
                self._late.discard(device)
                self._ask_again([device])
            self._paid(device, batch, now_s)
            attempt = self.under_way.get(number)
            if stage == "coarse" and attempt is not None and attempt.upper != NO_DEVICE:
                self._owe(attempt.upper, attempt, now_s, (batch,))
        return super().answered(stage, batch, device, now_s)

    def joined(self, device: int, now_s: float) -> list[Action]:
        actions = super().joined(device, now_s)
        self._set_alarm(device)
        return actions

    def due_s(self) -> float:
        return min(super().due_s(), self._alarm_s())

    def tick(self, now_s: float) -> list[Action]:
        due = set()
        while self._alarm_s() <= now_s:
            due.add(heapq.heappop(self._alarms)[1])
        actions: list[Action] = []
        for device in [device for device in self._waiting if device in due] if due else ():
            if self._late_at_s(device) <= now_s:  # asked of each anew: one's hedging empties another's queue
                actions += self._hedge(device, now_s)
        return actions + super().tick(now_s)

    # ---- decisions

    def _hedge(self, device: int, now_s: float) -> list[Action]:
        """Copy what a late device works on, and take back what waits behind it."""
        self._late.add(device)
        waiting = self._waiting[device]
        head = next(iter(waiting))
        # Where all are late it is not the device: nothing is gained by sending things back and forth.
        tier = self.devices[device].tier
        others = [d for d in self._live_of(tier) if d != device and d not in self._late]
        self._copied.add((device, head))
        if not others:
            return []
        actions: list[Action] = []
        for number in dict.fromkeys(waiting.values()):
            if number == waiting[head]:
                continue
            actions.append(Cancel(number))
            actions += self.unanswered(self.close(number), now_s)
        self._unload(device)
        carried = self.under_way.get(waiting.get(head, -1))
        for batch in carried.batches if carried is not None else ():
            if batch in waiting and not self.ended[batch]:
                self._copied.add((device, batch))
                self._pool.add(batch)
        return actions

    def _set_alarm(self, device: int) -> None:
        """Note when a device is late, after each change of that."""
        at_s = self._late_at_s(device)
        if at_s < NEVER_S:
            heapq.heappush(self._alarms, (at_s, device))

    def _alarm_s(self) -> float:
        """Return when the next device is late."""
        while self._alarms and self._alarms[0][0] != self._late_at_s(self._alarms[0][1]):
            heapq.heappop(self._alarms)
        return self._alarms[0][0] if self._alarms else NEVER_S

    def _late_at_s(self, device: int) -> float:
        waiting = self._waiting.get(device)
        if not waiting or device not in self.live:
            return NEVER_S
        head = next(iter(waiting))
        if (device, head) in self._copied:
            return NEVER_S
        return self._since_s[device] + self._allowed_s(device, head)

    def _allowed_s(self, device: int, batch: int) -> float:
        """Return the time in s after which a device's answer to a batch is late."""
        costs, size, own = self.work.costs, int(self.work.plan.sizes[batch]), self.devices[device]
        predicted_s = costs.service_s(own, size)
        if own.tier != "end":
            # The fallback's edge device answers in the cloud's place, and needs nobody to encode for it.
            encoding = int(self.work.plan.encoder[batch]) if self._must_encode(device) else NO_DEVICE
            predicted_s += self._way_s(next(iter(self._in_flight)), device, size, encoding)
        return self.late_factor * predicted_s + self.work.slack_s

    def _usable(self, device: int) -> bool:
        return super()._usable(device) and not (device in self._late and self._waiting.get(device))

    def room(self, end: int) -> int:
        room = super().room(end)
        if end in self._late:
            return 0 if self._in_flight[end] else min(room, 1)
        return room

    # ---- who owes what

    def _owe(self, device: int, attempt: Attempt, now_s: float, batches: tuple[int, ...] = ()) -> None:
        """Note that a device is now to answer an attempt's batches."""
        waiting = self._waiting.setdefault(device, {})
        if not waiting:
            self._since_s[device] = now_s
        for batch in batches or attempt.batches:
            if not self.ended[batch]:
                waiting[batch] = attempt.number
        self._set_alarm(device)

    def _paid(self, device: int, batch: int, now_s: float) -> None:
        self._waiting.get(device, {}).pop(batch, None)
        self._copied.discard((device, batch))
        self._since_s[device] = now_s
        self._set_alarm(device)

    def close(self, number: int) -> list[int]:
        if number in self.under_way:
            attempt = self.under_way[number]
            for device in attempt.devices:
                waiting = self._waiting.get(device, {})
                for batch in [batch for batch in attempt.batches if waiting.get(batch) == number]:
                    del waiting[batch]
                self._set_alarm(device)
        return super().close(number)
