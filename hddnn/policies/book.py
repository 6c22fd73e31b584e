"""The book of a job: which batches wait where, what is under way, and what has ended."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from hddnn.planning.costs import CostTable
from hddnn.planning.plan import NO_DEVICE, Plan
from hddnn.policies.actions import Action, Attempt, Cancel, End
from hddnn.system.topology import Device


@dataclass(frozen=True)
class Work:
    """A job as a policy sees it; devices are indices into plan.topology.devices.

    Args:
        plan: The way that each batch is to go, and the images in it.
        costs: What each step should take, s.
        groups: (end, upper) -> batches sent at once on that way.
        windows: End device -> batches that it may have under way.
        predicted_s: The plan's finish time without failures, s.
        slack_s: What a step may be late by without anything being wrong, s.
    """

    plan: Plan
    costs: CostTable
    groups: Mapping[tuple[int, int], int]
    windows: Mapping[int, int]
    predicted_s: float
    slack_s: float = 0.0


class Bookkeeping:
    """What every policy keeps of its plan; devices and batches are numbers.

    Attributes:
        work: The plan, and what its steps should take.
        devices: The topology's devices, by index.
        open: How many batches have not ended.
        ended: bool (N,), batches that have ended, answered or not.
        coarse_there: bool (N,), batches with a coarse answer.
        tries: int32 (N,), how often each batch was sent.
        under_way: Number -> attempt, of those that are not over.
    """

    work: Work
    devices: tuple[Device, ...]
    open: int
    ended: np.ndarray
    coarse_there: np.ndarray
    tries: np.ndarray
    under_way: dict[int, Attempt]

    def begin(self, work: Work) -> None:
        """Open the book of a plan: all batches in the queues of their end devices.

        Args:
            work: The plan, and what its steps should take.
        """
        plan, self.work = work.plan, work
        self.devices = plan.topology.devices
        n = plan.n_batches
        self.coarse_there = np.zeros(n, bool)
        self.ended = np.zeros(n, bool)
        self.open = n
        self._upper = plan.upper.copy()  # where each batch is to go now
        self.tries = np.zeros(n, np.int32)
        self.under_way = {}
        self._carriers: dict[int, set[int]] = {}  # batch -> numbers of the attempts that carry it
        self._silent: dict[int, float] = {}  # batch -> when its sender notices that it was lost
        self._in_flight = dict.fromkeys(self.of_tier("end"), 0)
        self._queues: dict[int, dict[int, deque[int]]] = {end: {} for end in self._in_flight}
        for (end, upper), batches in plan.routes().items():
            self._queues[end][upper] = deque(batches.tolist())
        # End devices that may take something, though they took nothing last.
        self._touched = set(self._in_flight)
        self._number = 0

    def of_tier(self, tier: str) -> list[int]:
        """Return the devices of a tier.

        Args:
            tier: "end", "edge" or "cloud".
        """
        return [index for index, device in enumerate(self.devices) if device.tier == tier]

    def _must_encode(self, upper: int) -> bool:
        """Tell whether a batch on its way to an upper device may be encoded by an edge device."""
        return upper != NO_DEVICE and self.devices[upper].tier == "cloud" and not self.devices[upper].trusted

    def _way_s(self, end: int, upper: int, images: int, encoding: int) -> float:
        """Return the delay in s of some images on their way up, by what the topology says."""
        encoder = None if encoding == NO_DEVICE else self.devices[encoding]
        return self.work.costs.way_s(self.devices[end], self.devices[upper], images, encoder)

    def room(self, end: int) -> int:
        """Return how many more batches an end device may have under way.

        Args:
            end: The end device.
        """
        return self.work.windows.get(end, 1) - self._in_flight[end]

    def encoder_of(self, batch: int) -> int:
        """Return the trusted edge device that encodes a batch for a cloud, NO_DEVICE for its end device.

        Args:
            batch: The batch's number.
        """
        return int(self.work.plan.encoder[batch])

    def take_planned(self, end: int) -> Attempt | None:
        """Take the next group of an end device's own queues: the way whose first batch is the earliest.

        A group is of batches that all have their coarse answer, or of such that have none.

        Args:
            end: The end device.

        Returns:
            The attempt, entered into the book; None when there is no room, or nothing in the queues.
        """
        room = self.room(end)
        for queue in self._queues[end].values():
            while queue and self.ended[queue[0]]:  # answered late, by a device that had been given up
                queue.popleft()
        waiting = {upper: queue[0] for upper, queue in self._queues[end].items() if queue}
        if room < 1 or not waiting:
            return None
        upper = min(waiting, key=lambda way: waiting[way])
        queue = self._queues[end][upper]
        most = min(self.work.groups.get((end, upper), 1), room)
        batches = [queue.popleft()]
        there = bool(self.coarse_there[batches[0]])
        while queue and len(batches) < most and bool(self.coarse_there[queue[0]]) == there:
            batch = queue.popleft()
            if not self.ended[batch]:
                batches.append(batch)
        return self.make_attempt(end, upper, batches, coarse=not there)

    def requeue(self, batch: int, end: int | None = None, upper: int | None = None) -> None:
        """Put a batch that nobody is working on into an end device's queue; `feed` sends it from there.

        Args:
            batch: Its number.
            end: The end device that is to take it; None: the planned one.
            upper: Where it goes on to, NO_DEVICE for no further; None: the planned one.
        """
        plan = self.work.plan
        end = int(plan.end[batch]) if end is None else end
        self._upper[batch] = plan.upper[batch] if upper is None else upper
        self._queues[end].setdefault(int(self._upper[batch]), deque()).append(batch)
        self._touched.add(end)

    def make_attempt(self, end: int, upper: int, batches: list[int], *, coarse: bool = True) -> Attempt:
        """Return a new attempt, entered into the book; who calls it sends it.

        Args:
            end: The end device.
            upper: Where the batches go on to, NO_DEVICE for no further.
            batches: Their numbers; as many as the end device has room for, at most.
            coarse: Whether the end device is to answer them; not, where all have their coarse answer.
        """
        self._number += 1
        encoding = self.encoder_of(batches[0]) if self._must_encode(upper) else NO_DEVICE
        attempt = Attempt(self._number, end, upper, tuple(batches), coarse, encoding)
        self.under_way[attempt.number] = attempt
        self._in_flight[end] += len(batches)
        for batch in batches:
            self._carriers.setdefault(batch, set()).add(attempt.number)
            self.tries[batch] += 1
        return attempt

    def close(self, number: int) -> list[int]:
        """Strike an attempt from the book; return its batches that nothing carries any more and have not ended.

        Args:
            number: The attempt's; one that is not in the book is none.
        """
        attempt = self.under_way.pop(number, None)
        if attempt is None:
            return []
        self._in_flight[attempt.end] -= len(attempt.batches)
        self._touched.add(attempt.end)
        orphans = []
        for batch in attempt.batches:
            carriers = self._carriers[batch]
            carriers.discard(number)
            if not carriers:
                del self._carriers[batch]
                if not self.ended[batch] and batch not in self._silent:
                    orphans.append(batch)
        return orphans

    def end_batch(self, batch: int, outcome: str | None, device: int | None = None) -> list[Action]:
        """End a batch, with an outcome of its own unless it is answered in full.

        Args:
            batch: Its number.
            outcome: "lost", "coarse-only", or "failed: " and why; None: it is answered in full.
            device: The one that answered; attempts at this batch alone by way of others are taken back.
        """
        self.ended[batch] = True
        self.open -= 1
        self._silent.pop(batch, None)
        actions: list[Action] = [] if outcome is None else [End(batch, outcome)]
        for number in list(self._carriers.get(batch, ())) if device is not None else ():
            attempt = self.under_way[number]
            if device not in attempt.devices and all(self.ended[other] for other in attempt.batches):
                self.close(number)
                actions.append(Cancel(number))
        return actions
