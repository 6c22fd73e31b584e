"""Monitor: a list of live devices, kept by heartbeats, decides who gets work (paper, section 3.6)."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np

from hddnn.planning.plan import NO_DEVICE
from hddnn.policies.actions import Action, Attempt, Cancel
from hddnn.policies.base import Policy, Style
from hddnn.policies.book import Work
from hddnn.results.records import COARSE_ONLY


class Pool:
    """Batches that wait for a device, the earliest first."""

    def __init__(self) -> None:
        self._heap: list[int] = []
        self._members: set[int] = set()

    def add(self, batch: int) -> None:
        """Put a batch in, once."""
        if batch not in self._members:
            self._members.add(batch)
            heapq.heappush(self._heap, batch)

    def first(self) -> int | None:
        """Return the earliest batch, None when there is none."""
        return self._heap[0] if self._heap else None

    def pop(self) -> int:
        """Take the earliest batch out."""
        batch = heapq.heappop(self._heap)
        self._members.discard(batch)
        return batch


@dataclass(eq=False, kw_only=True)
class Monitor(Policy):
    """Only live devices get work; what a device has in flight when it leaves is sent to others at once.

    Batches without a live device wait in one pool, the earliest first; every end device with room takes from it,
    so that what is left spreads by itself over those that are left, and a device that comes back shares in it. A
    batch whose upper device left goes to the live one of the same tier with the least to do, and from its source:
    the payload is made anew by the end device that takes it, without a second coarse answer when there is one.
    """

    name = "monitor"
    caption = "what a device had that left, to live ones at once (the paper's)"
    style = Style("#0072B2", "-", "o")
    resends = True

    def begin(self, work: Work) -> None:
        super().begin(work)
        self.live = set(range(len(self.devices)))
        self._pool = Pool()
        self._shy: dict[int, float] = {}  # devices that took nothing -> when to try them again
        tiers = {self.devices[upper].tier for upper in np.unique(work.plan.upper) if upper != NO_DEVICE}
        self._fed = [index for index, device in enumerate(self.devices) if device.tier in tiers]
        self._away_s: dict[str, float] = {}  # by tier without a live device: since when
        self._parked: dict[str, list[int]] = {}  # batches that wait for one to come back
        self._pending: list[Action] = []  # ends of batches found out while feeding

    # ---- events

    def left(self, device: int, now_s: float) -> list[Action]:
        """Take the device off the list, and what it had in flight to the others."""
        if device not in self.live:
            return []
        self.live.discard(device)
        actions = self._withdraw(device, now_s)
        tier = self.devices[device].tier
        if not self.live.intersection(self.of_tier(tier)):
            self._away_s.setdefault(tier, now_s)
        return actions + self.feed(now_s)

    def refused(self, number: int, now_s: float) -> list[Action]:
        """Leave a device alone that took nothing: it has left, which will be told, or has a moment's trouble."""
        attempt = self.under_way.get(number)
        if attempt is not None:
            self._shy[attempt.end] = now_s + self.timeout_s
        return super().refused(number, now_s)

    def joined(self, device: int, now_s: float) -> list[Action]:
        """Put the device on the list again."""
        self.live.add(device)
        self._ask_again([device])
        self._away_s.pop(self.devices[device].tier, None)
        self._unpark(self.devices[device].tier)
        return self.feed(now_s)

    def due_s(self) -> float:
        waited_for = [tier for tier in self._away_s if tier == "end" or self._parked.get(tier)]
        given_up_s = [self._away_s[tier] + self.patience_s for tier in waited_for]
        return min([super().due_s(), *given_up_s, *self._shy.values()])

    def tick(self, now_s: float) -> list[Action]:
        self._ask_again([device for device, until_s in self._shy.items() if until_s <= now_s])
        given_up = [tier for tier, at_s in self._away_s.items() if now_s >= at_s + self.patience_s]
        for tier in given_up:
            self._unpark(tier)
        actions = super().tick(now_s)
        return actions + (self.give_up("failed: no end device is left") if "end" in given_up else [])

    # ---- decisions

    def _withdraw(self, device: int, now_s: float) -> list[Action]:
        """Cancel every attempt that needs a device, and put all that was meant for it into the pool."""
        actions: list[Action] = []
        for attempt in [a for a in self.under_way.values() if device in a.devices]:
            actions.append(Cancel(attempt.number))
            actions += self.unanswered(self.close(attempt.number), now_s)
        self._unload(device)
        return actions

    def _unload(self, device: int) -> None:
        """Put what a device was to get later into the pool."""
        for queue in self._queues.get(device, {}).values():
            while queue:
                self._pool.add(queue.popleft())

    def unanswered(self, batches: Iterable[int], now_s: float) -> list[Action]:
        actions: list[Action] = []
        for batch in batches:
            if self.ended[batch]:
                continue
            if self.tries[batch] >= self.attempts:
                actions += self.end_batch(batch, f"failed: sent {self.tries[batch]} times without an answer")
            else:
                self._pool.add(batch)
        return actions

    def feed(self, now_s: float) -> list[Action]:
        actions = super().feed(now_s)
        ends, self._pending = self._pending, []
        return ends + actions

    def _asked(self, touched: set[int]) -> Iterator[int]:
        """Yield those touched, and from where on there is anything in the pool, which is for all, every one."""
        last = -1
        for end in sorted(touched):
            if self._pool.first() is not None:
                break
            yield end
            last = end
        if self._pool.first() is not None:
            yield from (end for end in self._in_flight if end > last)

    def _ask_again(self, devices: Iterable[int]) -> None:
        """Take devices for such as may have something to take, whatever they did before."""
        for device in devices:
            self._shy.pop(device, None)
            if device in self._in_flight:
                self._touched.add(device)

    def take(self, end: int, now_s: float) -> Attempt | None:
        if end not in self.live or end in self._shy:
            return None
        while self.room(end) > 0:
            planned = min((queue[0] for queue in self._queues[end].values() if queue), default=None)
            pooled = self._pool.first()
            if pooled is not None and (planned is None or pooled < planned):
                # With nothing planned, take what is needed next and no more: the others are to get their share.
                if planned is None and self._in_flight[end] >= self._enough(end):
                    return None
                attempt = self._take_pooled(end, now_s)
            elif planned is not None:
                attempt = self._rerouted(self.take_planned(end))
            else:
                return None
            if attempt is not None:
                return attempt
        return None

    def _enough(self, end: int) -> int:
        """Return how many batches keep an end device, and the upper devices that it may have to feed, busy."""
        group = max((n for (source, _), n in self.work.groups.items() if source == end), default=1)
        fed = sum(device in self.live for device in self._fed)
        return 2 * max(group, fed)

    def _rerouted(self, attempt: Attempt | None) -> Attempt | None:
        """Return a planned attempt as it is if its upper device is usable, else put its batches into the pool."""
        if attempt is None or attempt.upper == NO_DEVICE or self._usable(attempt.upper):
            return attempt
        # It has not been sent: it is as if it had never been made.
        for batch in attempt.batches:
            self.tries[batch] -= 1
        for batch in self.close(attempt.number):
            self._pool.add(batch)
        return None

    def _take_pooled(self, end: int, now_s: float) -> Attempt | None:
        """Take the earliest batch of the pool, and the next ones if they go the same way; None when it ended."""
        batch = self._pool.pop()
        upper = None if self.ended[batch] else self._way_up(batch, now_s)
        if upper is None:
            return None
        batches, coarse = [batch], not self.coarse_there[batch]
        most = min(self.work.groups.get((end, upper), 1), self.room(end))
        while len(batches) < most and (other := self._pool.first()) is not None:
            alike = not self.ended[other] and bool(self.coarse_there[other]) != coarse
            if not alike or self._way_up(other, now_s) != upper:
                break
            batches.append(self._pool.pop())
        return self.make_attempt(end, upper, batches, coarse=coarse)

    def _unpark(self, tier: str) -> None:
        """Put the batches that waited for a tier into the pool again."""
        for batch in self._parked.pop(tier, ()):
            self._pool.add(batch)

    def _usable(self, device: int) -> bool:
        return device in self.live

    def _way_up(self, batch: int, now_s: float) -> int | None:
        """Return the upper device for a batch by what is live now, None when it has ended or has to wait.

        Where its tier is without a live device, it goes no further than an end device for now, and waits there for
        one to come back; after patience_s, the fallback decides.
        """
        planned = int(self.work.plan.upper[batch])
        if planned == NO_DEVICE or self._usable(planned):
            self._upper[batch] = planned
            return planned
        tier = self.devices[planned].tier
        there = self._live_of(tier)
        if not there and now_s < self._away_s[tier] + self.patience_s:
            if not self.coarse_there[batch]:
                return NO_DEVICE  # it comes back here with its coarse answer
            self._parked.setdefault(tier, []).append(batch)
            return None
        if not there and self.fallback == "edge":
            there = self._live_of("edge")
        if there:
            self._upper[batch] = self._least_busy(
                [device for device in there if self._usable(device)] or there
            )
            return int(self._upper[batch])
        if self.fallback == "fail":
            self._pending += self.end_batch(batch, f"failed: no {tier} device is left")
            return None
        if self.coarse_there[batch]:
            self._pending += self.end_batch(batch, COARSE_ONLY)
            return None
        self._upper[batch] = NO_DEVICE
        return NO_DEVICE

    def encoder_of(self, batch: int) -> int:
        """Return the planned one if it is live, else another; without any, the end device encodes."""
        planned = super().encoder_of(batch)
        if planned == NO_DEVICE or self._usable(planned):
            return planned
        there = [d for d in self._live_of("edge") if self.devices[d].trusted and self._usable(d)]
        return there[planned % len(there)] if there else NO_DEVICE

    def _live_of(self, tier: str) -> list[int]:
        return [device for device in self.of_tier(tier) if device in self.live]

    def _least_busy(self, devices: list[int]) -> int:
        """Return the device that would be done the earliest with what is under way to it and one more batch."""
        load = dict.fromkeys(devices, 0)
        for attempt in self.under_way.values():
            if attempt.upper in load:
                load[attempt.upper] += sum(not self.ended[batch] for batch in attempt.batches)
        size = int(np.max(self.work.plan.sizes))
        return min(devices, key=lambda d: ((load[d] + 1) * self._service_s(d, size), d))

    def _service_s(self, device: int, size: int) -> float:
        return max(self.work.costs.service_s(self.devices[device], size), 1e-9)
