"""Decide what a session does with its images: when they go, together with which, where, and what if that fails."""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Literal

import numpy as np

from hddnn.errors import ClusterError, QueueFull
from hddnn.serving.replies import Reply

NEVER_S = float("inf")
#: Times that an image is sent before it is given up.
MOST_TRIES = 3
#: Batches that an end device has at once: the next is there when one is done, and most of them wait here, where
#: they can still go elsewhere.
WINDOW = 2
#: How long the devices of a batch that came to nothing get no other, while there are others: that one died is
#: known a moment later.
SHUN_S = 1.0
NOBODY = "no device that gives fine answers is live"


@dataclass(eq=False)
class Ticket:
    """One image on its way.

    image: which one of its call; pixels: uint8 (H, W, 3); replies: where its call waits for them; due_s: when they
    have to be there.
    """

    image: int
    pixels: np.ndarray
    replies: asyncio.Queue[Reply]
    came_s: float
    due_s: float = NEVER_S
    coarse: bool = False  # has its coarse answer
    ended: bool = False
    tries: int = 0


@dataclass(frozen=True)
class Send:
    """Send the images of some tickets to an end device, and on to an upper one. coarse: it answers, too."""

    number: int
    end: int
    upper: int | None
    tickets: tuple[Ticket, ...]
    coarse: bool


@dataclass(frozen=True)
class Cancel:
    """Take a batch back."""

    number: int


@dataclass(frozen=True)
class Notify:
    """Tell a ticket's owner of an answer, row `row` of its batch, or why there is none."""

    ticket: Ticket
    stage: Literal["coarse", "fine"]
    final: bool
    row: int = -1
    why: str = ""


Action = Send | Cancel | Notify


class Dispatcher:
    """Make batches of images, and routes for them. Pure: `now_s` comes in, actions go out.

    routes: end device -> upper devices that it may feed, none of them for coarse answers alone. max_batch: most
    images of a batch; max_wait_s: how long an image waits for others to share its batch, and as long again for
    each batch that the upper device it would go to has already. queue: most images that have been accepted and are
    not through. live: the devices that are. An image whose device leaves, or fails at it, goes to another at once.
    """

    def __init__(
        self, routes: Mapping[int, Sequence[int]], *, max_batch: int, max_wait_s: float, queue: int
    ) -> None:
        self._routes = routes
        self._max_batch, self._max_wait_s, self.queue = max_batch, max_wait_s, queue
        self._uppers = sorted({upper for uppers in routes.values() for upper in uppers})
        self._goes_up = bool(self._uppers)
        self.live = {*routes, *self._uppers}
        self._fresh: deque[Ticket] = deque()
        self._again: deque[Ticket] = deque()  # have their coarse answer
        self._due: list[tuple[float, int, Ticket]] = []
        self._batches: dict[int, Send] = {}  # under way, by number
        self._at_end: set[int] = set()  # those of them that count for their end device's window
        self._load: Counter[int] = Counter()  # batches by device
        self._sent: Counter[int] = Counter()  # ever, so that devices with the same load take turns
        self._shunned: dict[int | None, float] = {}  # until when
        self._numbers, self._order = count(1), count()
        self.waiting = 0  # images accepted and not through

    # ---- events

    def accept(self, tickets: Sequence[Ticket]) -> None:
        """Take the images of a call, all or none. Raises QueueFull, or ClusterError when no end device is live."""
        if not self.live & set(self._routes):
            raise ClusterError("no end device is live; start one, or see `hddnn status`")
        if self.waiting + len(tickets) > self.queue:
            raise QueueFull(
                f"{self.waiting} images are under way and {len(tickets)} more do not fit in a queue of "
                f"{self.queue}; come back later"
            )
        self.waiting += len(tickets)
        self._fresh.extend(tickets)
        for ticket in tickets:
            if ticket.due_s < NEVER_S:
                heapq.heappush(self._due, (ticket.due_s, next(self._order), ticket))

    def withdraw(self, tickets: Iterable[Ticket]) -> list[Action]:
        """Forget the images of a call that nobody listens to any more."""
        actions: list[Action] = []
        for ticket in tickets:
            if not ticket.ended:
                self._end(ticket)
        return actions + self._take_back_idle()

    def answered(self, number: int, stage: Literal["coarse", "fine"]) -> list[Action]:
        """Note a batch's answers; those that come late, or a second time, are dropped."""
        batch = self._batches.get(number)
        if batch is None:
            return []
        told: list[Action] = []
        final = stage == "fine" or not self._goes_up
        for row, ticket in enumerate(batch.tickets):
            if ticket.ended or (stage == "coarse" and ticket.coarse):
                continue
            ticket.coarse |= stage == "coarse"
            told.append(Notify(ticket, stage, final, row))
            if final:
                self._end(ticket)
            elif batch.upper is None:
                told.append(self._short(ticket, NOBODY))
        if stage == "coarse":
            self._leave_end(batch)
        if all(ticket.ended for ticket in batch.tickets):
            self._close(number)
        return told

    def settled(self, number: int, now_s: float, error: str = "") -> list[Action]:
        """Note that a batch's tasks are over: what it left unanswered is sent again, elsewhere if there is one."""
        batch = self._batches.get(number)
        if batch is not None and not all(ticket.ended for ticket in batch.tickets):
            self._shunned |= dict.fromkeys([batch.end, batch.upper], now_s + SHUN_S)
        return self._retry(number, error or "its device left")

    def left(self, device: int) -> list[Action]:
        """Note that a device left: what is with it goes to another."""
        self.live.discard(device)
        numbers = [n for n, b in self._batches.items() if device in (b.end, b.upper)]
        actions: list[Action] = []
        for number in numbers:
            actions += [Cancel(number), *self._retry(number, "its device left")]
        return actions

    def joined(self, device: int) -> None:
        """Note that a device is back."""
        if device in self._routes or device in self._uppers:
            self.live.add(device)

    def give_up(self, why: str) -> list[Action]:
        """End every image that is under way."""
        tickets = [*self._fresh, *self._again]
        tickets += [ticket for batch in self._batches.values() for ticket in batch.tickets]
        actions: list[Action] = [self._short(ticket, why) for ticket in tickets if not ticket.ended]
        return actions + self._take_back_idle()

    def tickets(self, number: int) -> tuple[Ticket, ...]:
        """Return the images of a batch that is under way."""
        return self._batches[number].tickets

    # ---- the time

    def due_s(self) -> float:
        """Return when `advance` wants to be called, at the latest."""
        while self._due and self._due[0][2].ended:
            heapq.heappop(self._due)
        due_s = self._due[0][0] if self._due else NEVER_S
        if self._fresh or self._again:
            due_s = min([due_s, *self._shunned.values()])
        if self._fresh and (end := self._end_with_room()) is not None:
            due_s = min(due_s, self._fresh[0].came_s + self._patience_s(end))
        return due_s

    def advance(self, now_s: float) -> list[Action]:
        """Return what is to be done now: images that are too late are ended, those that can go are sent."""
        actions: list[Action] = []
        self._shunned = {device: until_s for device, until_s in self._shunned.items() if until_s > now_s}
        while self._due and self._due[0][0] <= now_s:
            ticket = heapq.heappop(self._due)[2]
            if not ticket.ended:
                actions.append(self._short(ticket, f"deadline of {ticket.due_s - ticket.came_s:g} s passed"))
        if actions:
            actions += self._take_back_idle()
        if not self.live & set(self._routes):
            waiting = [ticket for ticket in (*self._fresh, *self._again) if not ticket.ended]
            actions += [self._short(ticket, "no end device is live") for ticket in waiting]
        for queue in (self._fresh, self._again):
            while queue and queue[0].ended:
                queue.popleft()
        while (end := self._end_with_room()) is not None:
            send = self._next(end, now_s)
            if send is None:
                break
            if send.upper is None and not send.coarse:  # nothing is left to be had
                actions += [self._short(ticket, NOBODY) for ticket in send.tickets]
                continue
            self._batches[send.number] = send
            self._at_end.add(send.number)
            for device in (send.end, send.upper):
                if device is not None:
                    self._load[device] += 1
                    self._sent[device] += 1
            actions.append(send)
        return actions

    # ---- how

    def _next(self, end: int, now_s: float) -> Send | None:
        """Return the next batch for an end device, None when nothing has waited long enough."""
        coarse = not self._again
        queue = self._fresh if coarse else self._again
        if coarse and (
            not queue or (len(queue) < self._max_batch and now_s < queue[0].came_s + self._patience_s(end))
        ):
            return None
        tickets: list[Ticket] = []
        while queue and len(tickets) < self._max_batch:
            ticket = queue.popleft()
            if not ticket.ended:
                ticket.tries += 1
                tickets.append(ticket)
        if not tickets:
            return None
        return Send(next(self._numbers), end, self._upper(end), tuple(tickets), coarse)

    def _end_with_room(self) -> int | None:
        ends = [end for end in self._usable(self._routes) if self._load[end] < WINDOW]
        return min(ends, key=self._business, default=None)

    def _patience_s(self, end: int) -> float:
        """Return how long an image waits for others before it goes to an end device.

        Its upper device does the batches that it has first, so that waiting for them costs the fine answer
        nothing, and a batch of many costs much less than many batches: under load, batches grow.
        """
        upper = self._upper(end)
        return self._max_wait_s * (1 + (0 if upper is None else self._load[upper]))

    def _upper(self, end: int) -> int | None:
        """Return the least busy upper device for an end device: one that it is to feed, else any."""
        for choice in (self._routes[end], self._uppers):
            usable = self._usable(choice)
            if usable:
                return min(usable, key=self._business)
        return None

    def _usable(self, devices: Iterable[int]) -> list[int]:
        """Return the live ones of some devices, without those that just failed while there are others."""
        live = [device for device in devices if device in self.live]
        return [device for device in live if device not in self._shunned] or live

    def _business(self, device: int) -> tuple[int, int, int]:
        return self._load[device], self._sent[device], device

    def _retry(self, number: int, why: str) -> list[Action]:
        batch = self._batches.get(number)
        if batch is None:
            return []
        self._close(number)
        actions: list[Action] = []
        for ticket in reversed(batch.tickets):
            if ticket.ended:
                continue
            if ticket.tries >= MOST_TRIES:
                actions.append(self._short(ticket, f"given up after {MOST_TRIES} tries: {why}"))
            else:
                (self._again if ticket.coarse else self._fresh).appendleft(ticket)
        return actions

    def _short(self, ticket: Ticket, why: str) -> Notify:
        """End an image without its last answer; the stage named is the first that is missing."""
        self._end(ticket)
        return Notify(ticket, "fine" if ticket.coarse and self._goes_up else "coarse", True, why=why)

    def _end(self, ticket: Ticket) -> None:
        ticket.ended = True
        self.waiting -= 1

    def _take_back_idle(self) -> list[Action]:
        """Take back the batches in which nobody waits for anything."""
        idle = [n for n, batch in self._batches.items() if all(t.ended for t in batch.tickets)]
        for number in idle:
            self._close(number)
        return [Cancel(number) for number in idle]

    def _leave_end(self, batch: Send) -> None:
        if batch.number in self._at_end:
            self._at_end.remove(batch.number)
            self._load[batch.end] -= 1

    def _close(self, number: int) -> None:
        batch = self._batches.pop(number)
        self._leave_end(batch)
        if batch.upper is not None:
            self._load[batch.upper] -= 1
