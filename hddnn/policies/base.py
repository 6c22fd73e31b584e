"""What all policies share: the queues of planned batches, the windows, and the book of what is under way."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, Self, get_args

import numpy as np

from hddnn._util.extensions import written
from hddnn._util.validation import unknown
from hddnn.errors import InputError
from hddnn.planning.costs import CostTable
from hddnn.planning.plan import NO_DEVICE, Plan
from hddnn.policies.actions import Action, Attempt, Cancel, End, Send
from hddnn.results.records import COARSE_ONLY, LOST, Stage

Fallback = Literal["edge", "coarse", "fail"]
FALLBACKS: tuple[str, ...] = get_args(Fallback)
NEVER_S = float("inf")
#: A batch that is sent again ends all the same when so many attempts at it ended with an error of its network's.
MOST_ERRORS = 3


@dataclass(frozen=True)
class Work:
    """A job as a policy sees it.

    costs: what each step should take, s; groups: (end, upper) -> batches sent at once on that way; windows: end
    device -> batches that it may have under way; predicted_s: the plan's finish time without failures; slack_s:
    what a step may be late by without anything being wrong.
    """

    plan: Plan
    costs: CostTable
    groups: Mapping[tuple[int, int], int]
    windows: Mapping[int, int]
    predicted_s: float
    slack_s: float = 0.0


@dataclass(eq=False, kw_only=True)
class Policy:
    """Policy none: send each batch as planned, once. The others override what happens when that goes wrong.

    A policy is pure: events come in as method calls that carry the time (s from job start), and what is to be done
    goes out as a list of actions. It waits for nothing and reads no clock, so that the simulator and the client
    share it. An engine takes a fresh one for each plan, and calls

        begin                       once, with the plan; all that changes from then on is set up there
        resume                      once, before all else, where an earlier run of the job has answers already
        start                       once, first
        accepted, refused           when a Send has reached its end device, or has not
        answered                    for each answer that counts
        settled                     when an attempt's last device is done with it, or failed at it
        dropped                     when a payload or a batch was lost on its way
        left, joined                when a device left the list of live ones, or came back
        tick                        when due_s() has come

    and is through when `open` is 0.
    """

    fallback: Fallback = "coarse"
    timeout_s: float = 0.5
    deadline_s: float | None = None
    attempts: int = 20
    patience_s: float = 10.0

    #: What it is called in cubes, tables and figures; a class that does not say is called as its class is.
    name: ClassVar[str] = "none"
    #: Whether the engine gives a Send up after timeout_s; if not, it waits until the device has left.
    send_timeout: ClassVar[bool] = False
    #: Whether a batch is sent again. If not, the job has a deadline, and the first error ends a batch.
    resends: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        if "name" not in vars(cls):  # else it would pass for the one that it derives from
            cls.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", cls.__name__).lower()

    def __post_init__(self) -> None:
        if self.fallback not in FALLBACKS:
            raise InputError(unknown("fallback", self.fallback, FALLBACKS))
        self._check_least("timeout_s", 0.0)
        self._check_least("patience_s", 0.0)
        if self.deadline_s is not None and not 0 < self.deadline_s < NEVER_S:
            raise InputError(f"deadline_s is {self.deadline_s}; it must be more than 0, and finite")
        if self.attempts < 1:
            raise InputError(f"attempts is {self.attempts}; it must be at least 1")

    def _check_least(self, option: str, least: float) -> None:
        value = getattr(self, option)
        if not least <= value < NEVER_S:
            raise InputError(f"{option} is {value}; it must be at least {least:g}, and finite")

    @property
    def label(self) -> str:
        """Return what a cube calls it: its name, and the options that are not the defaults."""
        return written(self.name, self)

    # ---- one plan

    def begun(self, work: Work) -> Self:
        """Return a policy with the same options for one plan; an engine asks for one for each.

        Args:
            work: The plan, and what its steps should take.
        """
        fresh = replace(self)
        fresh.begin(work)
        return fresh

    def begin(self, work: Work) -> None:
        """Set up all that changes during a plan; a class with state of its own makes it here, after the base's.

        Args:
            work: The plan, and what its steps should take.
        """
        plan, self.work = work.plan, work
        self._devices = plan.topology.devices
        n = plan.n_batches
        self.coarse_there = np.zeros(n, bool)
        self.ended = np.zeros(n, bool)
        self.open = n
        self._upper = plan.upper.copy()  # where each batch is to go now
        self._tries = np.zeros(n, np.int32)
        self._under_way: dict[int, Attempt] = {}  # by number
        self._carriers: dict[int, set[int]] = {}  # batch -> numbers of the attempts that carry it
        self._silent: dict[int, float] = {}  # batch -> when its sender notices that it was lost
        self._in_flight = dict.fromkeys(self._of_tier("end"), 0)
        self._queues: dict[int, dict[int, deque[int]]] = {end: {} for end in self._in_flight}
        for (end, upper), batches in plan.routes().items():
            self._queues[end][upper] = deque(batches.tolist())
        self._touched = set(
            self._in_flight
        )  # end devices that may take something, though they took nothing last
        self._errors: dict[int, int] = {}  # by batch
        self._number = 0
        self._deadline_s = NEVER_S if self.resends else 3 * work.predicted_s
        if self.deadline_s is not None:
            self._deadline_s = self.deadline_s

    # ---- events

    def resume(self, coarse: np.ndarray, ended: np.ndarray) -> None:
        """Take over what an earlier run has: batches with a coarse answer, and ended ones; bool (N,) each."""
        self.coarse_there, self.ended = coarse.copy(), ended.copy()
        self.open = int(np.count_nonzero(~ended))

    def start(self, now_s: float) -> list[Action]:
        """Return what is sent first; the deadline counts from here."""
        self._deadline_s += now_s
        return self._feed(now_s)

    def accepted(self, number: int, now_s: float) -> list[Action]:
        """Note that an attempt has reached its end device."""
        return []

    def refused(self, number: int, now_s: float) -> list[Action]:
        """Note that an attempt did not reach its end device."""
        return self._unanswered(self._close(number), now_s) + self._feed(now_s)

    def answered(self, stage: Stage, batch: int, device: int, now_s: float) -> list[Action]:
        """Note an answer that counts; another attempt at the batch is taken back when nothing else is in it."""
        if self.ended[batch]:
            return []
        if stage == "coarse":
            self.coarse_there[batch] = True
        if stage == "fine" or self._upper[batch] == NO_DEVICE:
            return self._end(batch, COARSE_ONLY if self._went_short(stage, batch) else None, device)
        return []

    def settled(self, number: int, now_s: float, error: str = "") -> list[Action]:
        """Note that an attempt is over; what it left unanswered is lost, unless another one carries it.

        error: what went wrong in it, where that is no matter of devices that fail: it would go wrong elsewhere,
        too.
        """
        orphans, actions = self._close(number), []
        for batch in orphans if error else ():
            self._errors[batch] = self._errors.get(batch, 0) + 1
            if self._errors[batch] >= (MOST_ERRORS if self.resends else 1):
                actions += self._end(batch, f"failed: {error}")
        return actions + self._unanswered(orphans, now_s) + self._feed(now_s)

    def dropped(self, batch: int, now_s: float) -> list[Action]:
        """Note a loss on the way; the sender does not know of it before its timeout."""
        if not self.ended[batch]:
            self._silent[batch] = now_s + self.timeout_s
        return []

    def left(self, device: int, now_s: float) -> list[Action]:
        """Note that a device left the list of live ones."""
        return []

    def joined(self, device: int, now_s: float) -> list[Action]:
        """Note that a device is back on the list of live ones."""
        return []

    def due_s(self) -> float:
        """Return when tick wants to be called, at the latest."""
        return min([self._deadline_s, *self._silent.values()])

    def tick(self, now_s: float) -> list[Action]:
        """Return what the time alone calls for."""
        noticed = [batch for batch, at_s in self._silent.items() if at_s <= now_s]
        for batch in noticed:
            del self._silent[batch]
        # One that another attempt carries, or its own is not yet over, is looked at when that settles.
        actions = self._unanswered([batch for batch in noticed if batch not in self._carriers], now_s)
        if now_s >= self._deadline_s:
            return actions + self.give_up(LOST)
        return actions + self._feed(now_s)

    def give_up(self, outcome: str) -> list[Action]:
        """End every batch that is open."""
        for queues in self._queues.values():
            queues.clear()
        numbers = list(self._under_way)
        actions: list[Action] = [Cancel(number) for number in numbers]
        for number in numbers:
            self._close(number)
        for batch in np.flatnonzero(~self.ended).tolist():
            actions += self._end(batch, outcome)
        return actions

    # ---- what the policies differ in

    def _take(self, end: int, now_s: float) -> Attempt | None:
        """Return the next attempt for an end device that has room, None when there is nothing for it."""
        return self._take_planned(end)

    def _encoder(self, batch: int) -> int:
        """Return the edge device that encodes a batch for a cloud, NO_DEVICE for its end device."""
        return int(self.work.plan.encoder[batch])

    def _unanswered(self, batches: Iterable[int], now_s: float) -> list[Action]:
        """Do something about batches that nobody is working on."""
        return []

    # ---- the book

    def _of_tier(self, tier: str) -> list[int]:
        return [index for index, device in enumerate(self._devices) if device.tier == tier]

    def _must_encode(self, upper: int) -> bool:
        """Tell whether a batch on its way to an upper device may be encoded by an edge device."""
        return (
            upper != NO_DEVICE and self._devices[upper].tier == "cloud" and not self._devices[upper].trusted
        )

    def _way_s(self, end: int, upper: int, images: int, encoding: int) -> float:
        """Return the delay in s of some images on their way up, by what the topology says."""
        encoder = None if encoding == NO_DEVICE else self._devices[encoding]
        return self.work.costs.way_s(self._devices[end], self._devices[upper], images, encoder)

    def _room(self, end: int) -> int:
        return self.work.windows.get(end, 1) - self._in_flight[end]

    def _feed(self, now_s: float) -> list[Action]:
        """Send as much as the windows allow: one attempt for each end device at a time, so that all get work."""
        actions: list[Action] = []
        touched, self._touched = self._touched, set()
        hungry: Iterable[int] = self._asked(touched)
        while True:
            still = []
            for end in hungry:
                attempt = self._take(end, now_s)
                if attempt is not None:
                    actions.append(Send(attempt))
                    still.append(end)
            if not still:
                return actions
            hungry = still

    def _asked(self, touched: set[int]) -> Iterator[int]:
        """Yield the end devices that may have something to take, in order.

        Of the others nothing has changed since they took nothing: to ask all of many, after each event, would take
        most of a simulation's time.
        """
        yield from sorted(touched)

    def _take_planned(self, end: int) -> Attempt | None:
        """Take the next group of an end device's own queues: the way whose first batch is the earliest.

        A group is of batches that all have their coarse answer, or of such that have none.
        """
        room = self._room(end)
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
        return self._make_attempt(end, upper, batches, coarse=not there)

    def _make_attempt(self, end: int, upper: int, batches: list[int], *, coarse: bool = True) -> Attempt:
        self._number += 1
        encoding = self._encoder(batches[0]) if self._must_encode(upper) else NO_DEVICE
        attempt = Attempt(self._number, end, upper, tuple(batches), coarse, encoding)
        self._under_way[attempt.number] = attempt
        self._in_flight[end] += len(batches)
        for batch in batches:
            self._carriers.setdefault(batch, set()).add(attempt.number)
            self._tries[batch] += 1
        return attempt

    def _close(self, number: int) -> list[int]:
        """Strike an attempt from the book; return its batches that nothing carries any more and have not ended."""
        attempt = self._under_way.pop(number, None)
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

    def _end(self, batch: int, outcome: str | None, device: int | None = None) -> list[Action]:
        """End a batch, with an outcome of its own unless it is answered in full.

        device: the one that answered; attempts at this batch alone by way of others are taken back.
        """
        self.ended[batch] = True
        self.open -= 1
        self._silent.pop(batch, None)
        actions: list[Action] = [] if outcome is None else [End(batch, outcome)]
        for number in list(self._carriers.get(batch, ())) if device is not None else ():
            attempt = self._under_way[number]
            if device not in attempt.devices and all(self.ended[other] for other in attempt.batches):
                self._close(number)
                actions.append(Cancel(number))
        return actions

    def _went_short(self, stage: Stage, batch: int) -> bool:
        """Tell whether a batch was to go further than it did."""
        return stage == "coarse" and self.work.plan.upper[batch] != NO_DEVICE
