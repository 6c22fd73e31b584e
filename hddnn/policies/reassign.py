"""Reassign: once every batch was assigned, the unfinished go to all devices in turn (paper, section 3.6)."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import cycle

import numpy as np

from hddnn.planning.plan import NO_DEVICE
from hddnn.policies.actions import Action, Attempt, Send
from hddnn.policies.base import NEVER_S, Policy, Style
from hddnn.policies.book import Work
from hddnn.results.records import Stage


@dataclass(eq=False, kw_only=True)
class Reassign(Policy):
    """Know nothing of the devices' state; each try on a dead one costs timeout_s, in which nothing else is sent.

    The first round is the plan. A batch is unfinished when its try has failed, or when its answer is late: after
    twice its predicted response and timeout_s (the paper does not say how its assigner tells a late task from a
    lost one; without such a rule, tasks that wait in a live device's queue would be done twice). The unfinished
    of a round are given to the next end device in turn, and go up to the next device of their tier in turn,
    whatever state either is in, when every batch of the round before has been assigned. Source: section 3.6 and
    eq. 17.
    """

    name = "reassign"
    caption = "what is left, to all devices in turn, once every batch was assigned (the paper's)"
    style = Style("#D55E00", "--", "s")
    send_timeout = True
    resends = True

    def begin(self, work: Work) -> None:
        super().begin(work)
        self._unfinished: deque[int] = deque()
        self._assigned: set[int] = set()  # unfinished, or given to a device and not yet sent
        self._turn, self._look = cycle(self._in_flight), cycle(self._in_flight)
        self._round = 0
        self._in_vain = 0  # tries since the last answer
        self._sending: tuple[int, float] | None = None  # the attempt on its way, and since when
        self._blocked_until_s = -NEVER_S
        self._free_s: dict[int, float] = {}  # by device: when it should be through with what it was given
        self._late_s: dict[int, float] = {}  # by attempt: when its answers are late

    # ---- events

    def accepted(self, number: int, now_s: float) -> list[Action]:
        if self._sending is not None and self._sending[0] == number:
            self._sending = None
        return self.feed(now_s)

    def refused(self, number: int, now_s: float) -> list[Action]:
        if self._sending is not None and self._sending[0] == number:
            self._blocked_until_s = self._sending[1] + self.timeout_s
        return super().refused(number, now_s)

    def answered(self, stage: Stage, batch: int, device: int, now_s: float) -> list[Action]:
        self._in_vain = 0
        # What is on its way may have been taken back for it, and then the next one is not waited for.
        return super().answered(stage, batch, device, now_s) + self.feed(now_s)

    def due_s(self) -> float:
        blocked_s = self._blocked_until_s if self._blocked_until_s > -NEVER_S else NEVER_S
        return min([super().due_s(), blocked_s, *self._late_s.values()])

    def tick(self, now_s: float) -> list[Action]:
        if now_s >= self._blocked_until_s:
            self._blocked_until_s = -NEVER_S
        actions: list[Action] = []
        for number in [number for number, at_s in self._late_s.items() if at_s <= now_s]:
            # Out of the book, and not taken back: its answer may yet come, and the first one counts.
            actions += self.unanswered(self.close(number), now_s)
        return actions + super().tick(now_s)

    # ---- decisions

    def unanswered(self, batches: Iterable[int], now_s: float) -> list[Action]:
        for batch in batches:
            if not (self.ended[batch] or batch in self._carriers or batch in self._assigned):
                self._assigned.add(batch)
                self._unfinished.append(batch)
        return []

    def feed(self, now_s: float) -> list[Action]:
        if self._sending is not None or now_s < self._blocked_until_s:
            return []
        # A batch may meet dead devices many times in a row; that all of them do says that nobody is left.
        if self._in_vain > self.attempts * len(self._in_flight):
            return self.give_up(f"failed: {self._in_vain} tries in a row without an answer")
        attempt = self._next_planned()
        # Looked at after that, which takes out what was answered meanwhile and may leave nothing.
        if attempt is None and not any(
            queue for queues in self._queues.values() for queue in queues.values()
        ):
            self._begin_round()
            attempt = self._next_planned()
        if attempt is None:
            return []
        self._in_vain += 1
        self._sending = (attempt.number, now_s)
        self._late_s[attempt.number] = self._expect(attempt, now_s)
        return [Send(attempt)]

    def _next_planned(self) -> Attempt | None:
        """Return the next attempt of the end device whose turn it is, or of the next one that has any."""
        attempts = (self.take_planned(next(self._look)) for _ in self._in_flight)
        return next((attempt for attempt in attempts if attempt is not None), None)

    def _begin_round(self) -> None:
        """Give every unfinished batch to the next device in turn."""
        self._round += bool(self._unfinished)
        while self._unfinished:
            batch = self._unfinished.popleft()
            if self.ended[batch]:
                continue
            upper = int(self.work.plan.upper[batch])
            if upper != NO_DEVICE:
                tier = self.of_tier(self.devices[upper].tier)
                # Out of step now and then: else an end device and an upper one could miss each other for ever.
                extra = self._round // math.lcm(len(self._in_flight), len(tier))
                upper = tier[(tier.index(upper) + self._round + extra) % len(tier)]
            self._queues[next(self._turn)].setdefault(upper, deque()).append(batch)

    def encoder_of(self, batch: int) -> int:
        """Return any edge device that may, or the end device, at each try after the first, whatever its state."""
        planned, tries = super().encoder_of(batch), int(self.tries[batch])
        if planned == NO_DEVICE or not tries:
            return planned
        choices = [*(d for d in self.of_tier("edge") if self.devices[d].trusted), NO_DEVICE]
        # Drawn, not taken in turn: a third turn beside those of the other tiers could keep step with them.
        return choices[int(np.random.default_rng([batch, tries]).integers(len(choices)))]

    def make_attempt(self, end: int, upper: int, batches: list[int], *, coarse: bool = True) -> Attempt:
        self._assigned.difference_update(batches)
        return super().make_attempt(end, upper, batches, coarse=coarse)

    def close(self, number: int) -> list[int]:
        self._late_s.pop(number, None)
        if self._sending is not None and self._sending[0] == number:
            self._sending = None
        return super().close(number)

    def _expect(self, attempt: Attempt, now_s: float) -> float:
        """Return when an attempt's answers are late, given all that its devices were sent before."""
        costs, devices, n = self.work.costs, self.devices, len(attempt.batches)
        images = int(sum(self.work.plan.sizes[batch] for batch in attempt.batches))
        end = devices[attempt.end]
        done_s = max(now_s, self._free_s.get(attempt.end, 0.0)) + costs.service_s(end, images, n)
        self._free_s[attempt.end] = done_s
        if attempt.upper != NO_DEVICE:
            upper = devices[attempt.upper]
            way_s = self._way_s(attempt.end, attempt.upper, images, attempt.encoder)
            way_s = n * way_s + costs.service_s(upper, images, n)
            done_s = max(done_s, self._free_s.get(attempt.upper, 0.0)) + way_s
            self._free_s[attempt.upper] = done_s
        return now_s + 2 * (done_s - now_s) + self.timeout_s
