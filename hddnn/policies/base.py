"""What a policy is: the contract that hddnn's own and yours keep."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, ClassVar, Literal, NamedTuple, Self, get_args

import numpy as np

from hddnn._util.extensions import name_of, written
from hddnn._util.validation import unknown
from hddnn.errors import ExtensionError, InputError
from hddnn.planning.plan import NO_DEVICE
from hddnn.policies.actions import Action, Attempt, Cancel, Send
from hddnn.policies.book import Bookkeeping, Work
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


@dataclass(eq=False, kw_only=True)
class Policy(Bookkeeping):
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
        cls.name = name_of(cls)
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
        try:
            fresh.begin(work)
        except SystemExit as error:  # which would end an event loop, and nobody would hear of it
            raise RuntimeError("it calls sys.exit") from error
        return fresh

    def begin(self, work: Work) -> None:
        """Set up all that changes during a plan; a class with state of its own makes it here, after the base's.

        Args:
            work: The plan, and what its steps should take.
        """
        super().begin(work)
        self._errors: dict[int, int] = {}  # by batch
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
        """Note that an attempt has reached its end device.

        Args:
            number: The attempt's.
            now_s: s from the job's start.
        """
        return []

    def refused(self, number: int, now_s: float) -> list[Action]:
        """Note that an attempt did not reach its end device.

        Args:
            number: The attempt's.
            now_s: s from the job's start.
        """
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
        """Note a loss on the way; the sender does not know of it before its timeout.

        Args:
            batch: What was lost, or whose payload was.
            now_s: s from the job's start.
        """
        if not self.ended[batch]:
            self._silent[batch] = now_s + self.timeout_s
        return []

    def left(self, device: int, now_s: float) -> list[Action]:
        """Note that a device left the list of live ones.

        Args:
            device: Its index.
            now_s: s from the job's start.
        """
        return []

    def joined(self, device: int, now_s: float) -> list[Action]:
        """Note that a device is back on the list of live ones.

        Args:
            device: Its index.
            now_s: s from the job's start.
        """
        return []

    def due_s(self) -> float:
        """Return when tick wants to be called, at the latest: s from the job's start, infinite for never."""
        return min([self._deadline_s, *self._silent.values()])

    def tick(self, now_s: float) -> list[Action]:
        """Return what the time alone calls for.

        Args:
            now_s: s from the job's start.
        """
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

    def unanswered(self, batches: Iterable[int], now_s: float) -> list[Action]:
        """Do something about batches that nobody is working on any more, and that have not ended.

        `feed` comes after it: what it puts into a queue is sent as soon as there is room.

        Args:
            batches: Their numbers; none twice.
            now_s: s from the job's start.
        """
        return []

    def feed(self, now_s: float) -> list[Action]:
        """Send as much as the windows allow: one attempt for each end device at a time, so that all get work.

        Args:
            now_s: s from the job's start.
        """
        actions: list[Action] = []
        touched, self._touched = self._touched, set()
        hungry: Iterable[int] = self._asked(touched)
        while True:
            still = []
            for end in hungry:
                attempt = self.take(end, now_s)
                if attempt is None:
                    continue
                if not isinstance(attempt, Attempt):
                    raise ExtensionError(f"policy {self.name}: take returns {attempt!r}, which is no Attempt")
                actions.append(Send(attempt))
                still.append(end)
            if not still:
                return actions
            if len(actions) > 10 * self.work.plan.n_batches + 1000:
                raise ExtensionError(
                    f"policy {self.name}: take goes on for ever: return None where there is no room"
                )
            hungry = still

    def _asked(self, touched: set[int]) -> Iterator[int]:
        """Yield the end devices that may have something to take, in order.

        Of the others nothing has changed since they took nothing: to ask all of many, after each event, would take
        most of a simulation's time.
        """
        yield from sorted(touched)

    def _went_short(self, stage: Stage, batch: int) -> bool:
        """Tell whether a batch was to go further than it did."""
        return stage == "coarse" and self.work.plan.upper[batch] != NO_DEVICE
