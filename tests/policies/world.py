"""A world of devices that fail, in simulated time: does what a policy decides, tells it what happens."""

from __future__ import annotations

import heapq
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

import numpy as np

from hddnn.bounds import lower_bound_s
from hddnn.plan import NO_DEVICE, Plan
from hddnn.policies import Action, Attempt, Cancel, End, PolicySettings, Send, Work, make_policy
from hddnn.timing import CostTable

WAY_S = 1e-4  # of a message


@dataclass
class Machine:
    """One device: what it is doing, what it has to do, and whether it does anything at all."""

    index: int
    up: bool = True
    dead: bool = False
    factor: float = 1.0
    busy: tuple[int, int] | None = None  # (attempt, batch)
    life: int = 0  # counts its starts: what was begun in an earlier one is gone
    queue: deque[tuple[Attempt, int]] = field(default_factory=deque)
    inbox: list[Callable[[], None]] = field(default_factory=list)  # what arrived while it hung


class World:
    """Run one plan under one policy; `run()` returns when every batch has ended or nothing happens any more."""

    def __init__(
        self,
        plan: Plan,
        costs: CostTable,
        policy: str,
        settings: PolicySettings | None = None,
        *,
        window: int = 4,
        bundle: int = 1,
        detect_s: float = 0.1,
    ) -> None:
        self.plan, self.costs, self.detect_s = plan, costs, detect_s
        devices = plan.topology.devices
        ends = [i for i, device in enumerate(devices) if device.tier == "end"]
        work = Work(
            plan,
            costs,
            dict.fromkeys(plan.routes(), bundle),
            dict.fromkeys(ends, window),
            lower_bound_s(plan, costs),
            slack_s=0.1,
        )
        self.policy = make_policy(policy, work, settings or PolicySettings())
        self.machines = [Machine(index) for index in range(len(devices))]
        self.now_s, self._ticket = 0.0, count()
        self._agenda: list[tuple[float, int, Callable[[], None]]] = []
        self.sent: list[tuple[float, Attempt]] = []
        self.answers: dict[tuple[str, int], list[tuple[float, int]]] = {}  # (stage, batch) -> (time, device)
        self.outcomes: dict[int, str] = {}
        self.cancelled: set[int] = set()
        self.lost: Callable[[int, int], bool] = lambda device, batch: False

    # ---- what goes wrong

    def crash(self, device: int, at_s: float, back_s: float | None = None) -> None:
        self.at(at_s, lambda: self._stop(device, dead=True))
        if back_s is not None:
            self.at(back_s, lambda: self._start(device))

    def hang(self, device: int, at_s: float, back_s: float | None = None) -> None:
        self.at(at_s, lambda: self._stop(device, dead=False))
        if back_s is not None:
            self.at(back_s, lambda: self._start(device))

    def slow(self, device: int, factor: float) -> None:
        self.machines[device].factor = factor

    def _stop(self, device: int, *, dead: bool) -> None:
        machine = self.machines[device]
        if not machine.up:
            return
        machine.up = False
        stopped = machine.life
        if dead:
            machine.dead = True
            machine.queue.clear()
            machine.inbox.clear()
            machine.busy = None
        machine.life += 1

        def notice() -> None:
            if not machine.up and machine.life == stopped + 1:
                self.act(self.policy.left(device, self.now_s))

        self.at(self.now_s + (WAY_S if dead else self.detect_s), notice)

    def _start(self, device: int) -> None:
        machine = self.machines[device]
        if machine.up:
            return
        machine.up, machine.dead = True, False
        self.act(self.policy.joined(device, self.now_s))
        if machine.busy is not None:  # it hung in the middle of it
            attempt, batch = machine.busy
            self._finish_later(machine, attempt, batch)
        else:
            self._next(machine)
        arrivals, machine.inbox = machine.inbox, []
        for arrive in arrivals:
            arrive()

    # ---- the course of things

    def at(self, at_s: float, what: Callable[[], None]) -> None:
        heapq.heappush(self._agenda, (at_s, next(self._ticket), what))

    def run(self, until_s: float = 1e4) -> World:
        self.act(self.policy.start(0.0))
        while self.policy.open and self.now_s < until_s:
            due_s = self.policy.due_s()
            if self._agenda and self._agenda[0][0] <= due_s:
                self.now_s, _, what = heapq.heappop(self._agenda)
                what()
            elif due_s < until_s:
                self.now_s = max(self.now_s, due_s)
                self.act(self.policy.tick(self.now_s))
            else:
                break
        return self

    def act(self, actions: list[Action]) -> None:
        for action in actions:
            if isinstance(action, Send):
                self.sent.append((self.now_s, action.attempt))
                self._deliver(action.attempt)
            elif isinstance(action, Cancel):
                self.cancelled.add(action.number)
                for machine in self.machines:
                    machine.queue = deque(e for e in machine.queue if e[0].number != action.number)
            elif isinstance(action, End):
                assert action.batch not in self.outcomes, "ended twice"
                assert not self._answered(action.batch), "ended though answered"
                self.outcomes[action.batch] = action.outcome

    def _answered(self, batch: int) -> bool:
        stage = "coarse" if self.plan.upper[batch] == NO_DEVICE else "fine"
        return (stage, batch) in self.answers

    def _deliver(self, attempt: Attempt) -> None:
        machine = self.machines[attempt.end]
        timeout_s = self.policy.settings.timeout_s

        def refuse() -> None:
            if attempt.number not in self.cancelled:
                self.act(self.policy.refused(attempt.number, self.now_s))

        def arrive() -> None:
            if attempt.number in self.cancelled:
                return
            if machine.up:
                self.act(self.policy.accepted(attempt.number, self.now_s))
                machine.queue.extend((attempt, batch) for batch in attempt.batches)
                self._next(machine)
            elif machine.dead:
                self.act(self.policy.refused(attempt.number, self.now_s))
            elif self.policy.send_timeout:
                self.at(self.now_s + timeout_s, refuse)
            else:
                machine.inbox.append(arrive)

        self.at(self.now_s + WAY_S, arrive)

    def _next(self, machine: Machine) -> None:
        if not machine.up or machine.busy is not None or not machine.queue:
            return
        attempt, batch = machine.queue.popleft()
        if self.lost(machine.index, batch):
            self.act(self.policy.dropped(batch, self.now_s))
            self._after(machine, attempt, batch)
            return
        machine.busy = (attempt, batch)  # type: ignore[assignment]
        self._finish_later(machine, attempt, batch)

    def _finish_later(self, machine: Machine, attempt: Any, batch: int) -> None:
        device, size = self.plan.topology.devices[machine.index], int(self.plan.sizes[batch])
        encodes = machine.index == attempt.via
        if encodes:
            network = self.plan.topology.devices[attempt.upper].network
            service_s = self.costs.encode_s(device, network, size) * machine.factor
        else:
            service_s = self.costs.service_s(device, size) * machine.factor
        if device.tier == "end" and not attempt.coarse:
            service_s = 0.0
        life = machine.life

        def finish() -> None:
            if machine.life != life or not machine.up:
                return
            machine.busy = None
            stage = "coarse" if device.tier == "end" else "fine"
            if not encodes and (stage == "fine" or attempt.coarse):
                self._answer(stage, batch, machine.index)
            self._after(machine, attempt, batch)

        self.at(self.now_s + service_s, finish)

    def _answer(self, stage: Any, batch: int, device: int) -> None:
        first = (stage, batch) not in self.answers and batch not in self.outcomes
        if (stage, batch) in self.answers or first:
            self.answers.setdefault((stage, batch), []).append((self.now_s, device))
        if first:
            self.act(self.policy.answered(stage, batch, device, self.now_s))

    def _after(self, machine: Machine, attempt: Attempt, batch: int) -> None:
        """Pass a batch on to the next device on its way, or settle the attempt with its last one."""
        way = attempt.devices
        if machine.index != way[-1]:
            following = self.machines[way[way.index(machine.index) + 1]]
            if not following.dead and attempt.number not in self.cancelled:
                following.queue.append((attempt, batch))
                self._next(following)
        elif batch == attempt.batches[-1] and attempt.number not in self.cancelled:
            self.at(self.now_s + WAY_S, lambda: self.act(self.policy.settled(attempt.number, self.now_s)))
        self._next(machine)

    @property
    def ended(self) -> np.ndarray:
        """Return whether each batch is answered in full or has an outcome."""
        return np.array([self._answered(b) or b in self.outcomes for b in range(self.plan.n_batches)])
