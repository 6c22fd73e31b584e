"""What all policies share: the queues of planned batches, the windows, and the book of what is under way."""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, NamedTuple, Self, get_args

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


class Style(NamedTuple):
    """How a policy is drawn: colour, line style and marker, as matplotlib takes them."""

    colour: str
    line: Any
    marker: str


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


@dataclass(eq=False, kw_only=True)
class Policy:
    """Policy none: send each batch as planned, once. The others override what happens when that goes wrong.

    A policy is pure: events come in as method calls that carry the time (s from the job's start), and what is to
    be done goes out as a list of actions. It waits for nothing and reads no clock, so that the simulator and the
    client share it. An engine takes a fresh one for each plan (`begun`), calls

        begin                       once, with the plan; all that changes from then on is set up there
        resume                      once, before all else, where an earlier run of the job has answers already
        start                       once, first
        accepted, refused           when a Send has reached its end device, or has not: one of them, once
        answered                    for each answer that counts: the first to a batch from each of its stages
        settled                     when an attempt's last device is done with it, or failed at it: once, last
        dropped                     when a payload or a batch was lost on its way
        left, joined                when a device left the list of live ones, or came back; all are on it at first
        tick                        when due_s() has come; that is asked for after each of these calls

    and is through when `open` is 0. Time never goes back. Of an attempt that was taken back nothing is told any
    more, but for answers that it had made by then.

    What it has to keep to, whatever happens: every batch ends once, with an answer of the last stage that it is to
    reach, or with an `End`; nothing is sent that has ended; an end device has no more batches under way than
    `work.windows` says; images go to end devices and trusted ones only. The methods here do all that; a class of
    your own overrides, mostly, `unanswered`, and where needed `take`, `encoder_of` and events, and calls the
    base's. Make it a dataclass where it has options of its own: its fields are its options, which a user gives as
    `--policy my_site.py:Wary:probation_s=2`.

    Args:
        fallback: What becomes of a batch when no device of its upper tier is left (see patience_s): an edge device
            answers it ("edge"; where there is none either, as "coarse"), it keeps its coarse answer ("coarse"), or
            it fails ("fail").
        timeout_s: After so long a sender takes a device that does not react for dead, and a payload for lost; s of
            model time, as all that follows.
        deadline_s: The job ends then with what it has, counted from where a run of it begins; None: three times
            the predicted time where nothing is sent again, never where it is.
        attempts: A batch that was sent so often is not sent again; reassign, which sends to dead devices as well,
            ends the job after so many tries for each end device without any answer.
        patience_s: How long to wait, with no device of a tier left, for one to come back.

    Attributes:
        name: What users, cubes and tables call it; by default the class's name in small letters with dashes.
        caption: What it does, in a line, for help; by default the first line of the class's docstring.
        style: How it is drawn; None for a spare style.
        send_timeout: Whether the engine gives a Send up after timeout_s; if not, it waits until the device left.
        resends: Whether it sees to it that every batch ends, whatever happens. If not, the job has a deadline, and
            the first error of a network ends a batch.

    Raises:
        InputError: An option makes no sense.

    Example:
        ::

            class Stubborn(Policy):
                caption = "what was lost, the same way again at once"

                def unanswered(self, batches, now_s):
                    actions = []
                    for batch in batches:
                        if self.tries[batch] < self.attempts:
                            self.requeue(batch)
                        else:
                            actions += self.end_batch(batch, "failed: sent too often")
                    return actions
    """

    fallback: Fallback = "coarse"
    timeout_s: float = 0.5
    deadline_s: float | None = None
    attempts: int = 20
    patience_s: float = 10.0

    name: ClassVar[str] = "none"
    caption: ClassVar[str] = "nothing"
    style: ClassVar[Style | None] = Style("#666666", ":", "X")
    send_timeout: ClassVar[bool] = False
    resends: ClassVar[bool] = False

    def __init_subclass__(cls, **options: Any) -> None:
        super().__init_subclass__(**options)
        # Not those of the class that it derives from: it would pass for that one in tables and figures.
        own = vars(cls)
        if "name" not in own:
            cls.name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "-", cls.__name__).lower()
        if "caption" not in own:
            cls.caption = (cls.__doc__ or cls.name).strip().partition("\n")[0].rstrip(".")
        if "style" not in own:
            cls.style = None

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

        Returns:
            One that has begun, and shares nothing that changes with this one.
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
        self.devices = plan.topology.devices
        n = plan.n_batches
        self.coarse_there = np.zeros(n, bool)
        self.ended = np.zeros(n, bool)
        self.open = n
        self._upper = plan.upper.copy()  # where each batch is to go now
        self.tries = np.zeros(n, np.int32)
        self.under_way: dict[int, Attempt] = {}  # by number
        self._carriers: dict[int, set[int]] = {}  # batch -> numbers of the attempts that carry it
        self._silent: dict[int, float] = {}  # batch -> when its sender notices that it was lost
        self._in_flight = dict.fromkeys(self.of_tier("end"), 0)
        self._queues: dict[int, dict[int, deque[int]]] = {end: {} for end in self._in_flight}
        for (end, upper), batches in plan.routes().items():
            self._queues[end][upper] = deque(batches.tolist())
        # End devices that may take something, though they took nothing last.
        self._touched = set(self._in_flight)
        self._errors: dict[int, int] = {}  # by batch
        self._number = 0
        self._deadline_s = NEVER_S if self.resends else 3 * work.predicted_s
        if self.deadline_s is not None:
            self._deadline_s = self.deadline_s

    # ---- events

    def resume(self, coarse: np.ndarray, ended: np.ndarray) -> None:
        """Take over what an earlier run of the job has.

        Args:
            coarse: bool (N,), batches with a coarse answer.
            ended: bool (N,), batches that are answered in full.
        """
        self.coarse_there, self.ended = coarse.copy(), ended.copy()
        self.open = int(np.count_nonzero(~ended))

    def start(self, now_s: float) -> list[Action]:
        """Return what is sent first; the deadline counts from here.

        Args:
            now_s: s from the job's start: 0, or where an earlier run of it had come to.
        """
        self._deadline_s += now_s
        return self.feed(now_s)

    def accepted(self, number: int, now_s: float) -> list[Action]:
        """Note that an attempt has reached its end device."""
        return []

    def refused(self, number: int, now_s: float) -> list[Action]:
        """Note that an attempt did not reach its end device."""
        return self.unanswered(self.close(number), now_s) + self.feed(now_s)

    def answered(self, stage: Stage, batch: int, device: int, now_s: float) -> list[Action]:
        """Note an answer that counts; another attempt at the batch is taken back when nothing else is in it.

        Args:
            stage: Whose answer: "coarse", the end device's, or "fine", the upper device's.
            batch: The batch's number.
            device: Who answered.
            now_s: s from the job's start.
        """
        if self.ended[batch]:
            return []
        if stage == "coarse":
            self.coarse_there[batch] = True
        if stage == "fine" or self._upper[batch] == NO_DEVICE:
            return self.end_batch(batch, COARSE_ONLY if self._went_short(stage, batch) else None, device)
        return []

    def settled(self, number: int, now_s: float, error: str = "") -> list[Action]:
        """Note that an attempt is over; what it left unanswered is lost, unless another one carries it.

        Args:
            number: The attempt's.
            now_s: s from the job's start.
            error: What went wrong in it, where that is no matter of devices that fail: it would go wrong
                elsewhere, too; else empty.
        """
        orphans, actions = self.close(number), []
        for batch in orphans if error else ():
            self._errors[batch] = self._errors.get(batch, 0) + 1
            if self._errors[batch] >= (MOST_ERRORS if self.resends else 1):
                actions += self.end_batch(batch, f"failed: {error}")
        return actions + self.unanswered(orphans, now_s) + self.feed(now_s)

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
        """Return when tick wants to be called, at the latest: s from the job's start, infinite for never."""
        return min([self._deadline_s, *self._silent.values()])

    def tick(self, now_s: float) -> list[Action]:
        """Return what the time alone calls for."""
        noticed = [batch for batch, at_s in self._silent.items() if at_s <= now_s]
        for batch in noticed:
            del self._silent[batch]
        # One that another attempt carries, or its own is not yet over, is looked at when that settles.
        actions = self.unanswered([batch for batch in noticed if batch not in self._carriers], now_s)
        if now_s >= self._deadline_s:
            return actions + self.give_up(LOST)
        return actions + self.feed(now_s)

    def give_up(self, outcome: str) -> list[Action]:
        """End every batch that is open, and take back what is under way.

        Args:
            outcome: Their outcome: "lost", or "failed: " and why.
        """
        for queues in self._queues.values():
            queues.clear()
        numbers = list(self.under_way)
        actions: list[Action] = [Cancel(number) for number in numbers]
        for number in numbers:
            self.close(number)
        for batch in np.flatnonzero(~self.ended).tolist():
            actions += self.end_batch(batch, outcome)
        return actions

    # ---- what the policies differ in

    def take(self, end: int, now_s: float) -> Attempt | None:
        """Return the next attempt for an end device, None when it has no room or there is nothing for it.

        Asked, by `feed`, of each end device for which something has changed, until all have said None.

        Args:
            end: The end device.
            now_s: s from the job's start.
        """
        return self.take_planned(end)

    def encoder_of(self, batch: int) -> int:
        """Return the trusted edge device that encodes a batch for a cloud, NO_DEVICE for its end device."""
        return int(self.work.plan.encoder[batch])

    def unanswered(self, batches: Iterable[int], now_s: float) -> list[Action]:
        """Do something about batches that nobody is working on any more, and that have not ended.

        `feed` comes after it: what it puts into a queue is sent as soon as there is room.

        Args:
            batches: Their numbers.
            now_s: s from the job's start.
        """
        return []

    # ---- the book: for those who write one

    def of_tier(self, tier: str) -> list[int]:
        """Return the devices of a tier."""
        return [index for index, device in enumerate(self.devices) if device.tier == tier]

    def _must_encode(self, upper: int) -> bool:
        """Tell whether a batch on its way to an upper device may be encoded by an edge device."""
        return upper != NO_DEVICE and self.devices[upper].tier == "cloud" and not self.devices[upper].trusted

    def _way_s(self, end: int, upper: int, images: int, encoding: int) -> float:
        """Return the delay in s of some images on their way up, by what the topology says."""
        encoder = None if encoding == NO_DEVICE else self.devices[encoding]
        return self.work.costs.way_s(self.devices[end], self.devices[upper], images, encoder)

    def room(self, end: int) -> int:
        """Return how many more batches an end device may have under way."""
        return self.work.windows.get(end, 1) - self._in_flight[end]

    def feed(self, now_s: float) -> list[Action]:
        """Send as much as the windows allow: one attempt for each end device at a time, so that all get work."""
        actions: list[Action] = []
        touched, self._touched = self._touched, set()
        hungry: Iterable[int] = self._asked(touched)
        while True:
            still = []
            for end in hungry:
                attempt = self.take(end, now_s)
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

    def take_planned(self, end: int) -> Attempt | None:
        """Take the next group of an end device's own queues: the way whose first batch is the earliest.

        A group is of batches that all have their coarse answer, or of such that have none.
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
        """Strike an attempt from the book; return its batches that nothing carries any more and have not ended."""
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

    def _went_short(self, stage: Stage, batch: int) -> bool:
        """Tell whether a batch was to go further than it did."""
        return stage == "coarse" and self.work.plan.upper[batch] != NO_DEVICE
