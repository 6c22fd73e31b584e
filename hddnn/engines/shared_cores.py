"""What becomes of devices that share a machine's cores: how long a plan takes, and who cannot keep its model.

A plan's course without faults, with the true work of each device besides its modelled time: those that work at the
same time share the cores of their machine evenly. A device at its own speed takes as long as its work does. One
with a modelled time works ahead, as an emulated one does, and overruns by what is not done when that has passed.
Where all have one, what lies on the end devices at 0 is begun before, by the head start.
"""

from __future__ import annotations

import heapq
from collections import deque
from dataclasses import dataclass, field, replace
from math import inf

import numpy as np

from hddnn.engines.clocks import DeviceClock, LinkClock
from hddnn.engines.common import HEAD_START_S, WINDOW
from hddnn.planning.bounds import lower_bound_s
from hddnn.planning.costs import CostTable
from hddnn.planning.hosts import Host
from hddnn.planning.plan import NO_DEVICE, Plan
from hddnn.results.overruns import named
from hddnn.system.topology import Device, Tier

#: Of larger plans the first batches stand for all.
MOST_BATCHES = 400
#: A device cannot keep its modelled time where it is late by so large a share of it. Less is nothing to warn of:
#: so much do measured times vary.
LATE = 0.1
#: How near to the course's time stretched costs come, and in how many steps at the most.
NEAR, STEPS = 1e-3, 10
#: How many times as slow an emulation may be that is tried.
SCALES = (1.5, 2, 3, 4, 6, 8, 12, 16, 24, 32)
_DONE_S = 1e-12  # less work than that is none


@dataclass(frozen=True)
class Slow:
    """A device that cannot keep its modelled time: s that a batch takes it at the longest, and is modelled as."""

    device: str
    takes_s: float
    modelled_s: float

    @property
    def factor(self) -> float:
        """Return how many times as long as modelled it takes."""
        return self.takes_s / self.modelled_s


@dataclass(frozen=True)
class Outlook:
    """What becomes of a plan: its finish time, s; seconds of overruns by device; who cannot keep its model."""

    finish_s: float
    overrun_s: dict[str, float]
    slow: tuple[Slow, ...]


def outlook(plan: Plan, costs: CostTable, head_start_s: float = 0.0) -> Outlook:
    """Return what becomes of a plan whose batches are all there at the start, jitter counted as 0.

    costs: with the machines on which its devices work; one that is on none keeps its time. head_start_s: of what
    lies on the end devices at 0. Of a plan of more than MOST_BATCHES the first ones are looked at.
    """
    return _Run(_head(plan), costs, head_start_s).outlook()


def cannot_keep(plan: Plan, costs: CostTable, time_scale: float) -> str | None:
    """Return a line for the user where a machine cannot keep the modelled times of a plan, None where it can.

    time_scale: wall seconds for a second of model time, in which the costs are.
    """
    head_start_s = 0.0 if any(host.free for host in costs.hosts) else HEAD_START_S / time_scale
    slow = outlook(plan, costs, head_start_s).slow
    if not slow:
        return None
    worst = max(slow, key=lambda one: one.factor)
    helps = ["--compute replay"]
    for factor in SCALES:
        hosts = tuple(host.in_model_time(factor) for host in costs.hosts)
        if not outlook(plan, replace(costs, hosts=hosts), head_start_s / factor).slow:
            helps.append(f"--time-scale {time_scale * factor:g}")
            break
    return (
        f"{plan.scheme}: this machine cannot keep the modelled times of {named([one.device for one in slow])}: "
        f"{worst.device} takes up to {worst.takes_s:.2g} s for a batch that is modelled as "
        f"{worst.modelled_s:.2g} s ({worst.factor:.1f}x); try {', '.join(helps)}, or fewer devices"
    )


def under_load(plan: Plan, costs: CostTable) -> CostTable:
    """Return what the steps of a plan take where its devices at their own speed share cores.

    Their times are longer by one factor, with which the plan takes as long at least as its course says.
    """
    if not any(host.free for host in costs.hosts):
        return costs
    head = _head(plan)
    aim_s, before, factor = outlook(head, costs).finish_s, 1.0, 1.0
    bound_s = lower_bound_s(head, costs)
    # The bound is convex in the factor: by a step from below, then by secants.
    slope_s = bound_s
    for _ in range(STEPS):
        if (
            slope_s <= 0
            or (bound_s >= (1 - NEAR) * aim_s and factor == 1)
            or abs(bound_s - aim_s) <= NEAR * aim_s
        ):
            break
        before, factor = factor, max(1.0, factor + (aim_s - bound_s) / slope_s)
        last_s, bound_s = bound_s, lower_bound_s(head, _stretched(costs, factor))
        slope_s = (bound_s - last_s) / (factor - before)
    return _stretched(costs, factor)


def _stretched(costs: CostTable, factor: float) -> CostTable:
    """Return costs in which whoever works at its own speed takes so many times as long."""
    free = frozenset[str]().union(*(host.free for host in costs.hosts))
    return replace(
        costs,
        service_times={
            name: time * factor if name in free else time for name, time in costs.service_times.items()
        },
        encode_times={of: time * factor for of, time in costs.encode_times.items()},
    )


def _head(plan: Plan) -> Plan:
    if plan.n_batches <= MOST_BATCHES:
        return plan
    columns = ("sizes", "end", "upper", "encoded", "encoder")
    return replace(plan, **{name: getattr(plan, name)[:MOST_BATCHES] for name in columns})


@dataclass(slots=True, order=True)
class _Job:
    """A device's part in a batch's way: when it is in hand, its place in line, the batch, and which hop it is."""

    sent_s: float
    place: int
    batch: int
    hop: int
    n_bytes: int = 0
    source: Tier = "end"


@dataclass(slots=True)
class _Worker:
    """A device. job: at hand; due_s: when its work begins, or to look at it again; left_s: of the work."""

    device: Device
    host: Host | None
    clock: DeviceClock = field(default_factory=lambda: DeviceClock(free_s=0.0))
    links: dict[Tier, LinkClock] = field(default_factory=dict)
    line: list[_Job] = field(default_factory=list)
    job: _Job | None = None
    due_s: float = inf
    begun_s: float = 0.0
    working: bool = False
    left_s: float = 0.0
    overrun_s: float = 0.0
    slow: Slow | None = None

    @property
    def free(self) -> bool:
        return self.host is not None and self.device.name in self.host.free

    @property
    def threads(self) -> int:
        return 1 if self.host is None else self.host.threads.get(self.device.name, 1)


class _Run:
    def __init__(self, plan: Plan, costs: CostTable, head_start_s: float) -> None:
        self._plan, self._costs, self._sizes = plan, costs, plan.sizes.tolist()
        on = {name: host for host in costs.hosts for name in host.devices}
        self._workers = [_Worker(device, on.get(device.name)) for device in plan.topology.devices]
        self._rng = np.random.default_rng(0)
        self._now_s, self._finish_s, self._head_start_s = -head_start_s, 0.0, head_start_s
        self._places = 0
        self._held: dict[int, deque[int]] = {}  # by end device: what is not released yet
        for batch, end in enumerate(plan.end.tolist()):
            self._held.setdefault(end, deque()).append(batch)

    def outlook(self) -> Outlook:
        for end, batches in self._held.items():
            for _ in range(min(WINDOW, len(batches))):
                self._release(end, 0.0)
        while True:
            for worker in self._workers:
                self._look(worker)
            busy = [worker for worker in self._workers if worker.working]
            rates = [self._rate(worker, busy) for worker in busy]
            ends_s = [self._now_s + one.left_s / rate for one, rate in zip(busy, rates, strict=True)]
            next_s = min(ends_s + [worker.due_s for worker in self._workers], default=inf)
            if next_s == inf:
                break
            for worker, rate in zip(busy, rates, strict=True):
                worker.left_s -= (next_s - self._now_s) * rate
            self._now_s = next_s
            for worker, end_s in zip(busy, ends_s, strict=True):
                if end_s <= next_s or worker.left_s <= _DONE_S:
                    self._end(worker)
        slow = tuple(worker.slow for worker in self._workers if worker.slow is not None)
        late = {worker.device.name: worker.overrun_s for worker in self._workers if worker.overrun_s > 0}
        return Outlook(self._finish_s, late, slow)

    def _way(self, batch: int) -> tuple[int, ...]:
        """Return the devices that a batch visits, by index."""
        on_way = (self._plan.end, self._plan.encoder, self._plan.upper)
        return tuple(int(column[batch]) for column in on_way if column[batch] != NO_DEVICE)

    def _release(self, end: int, at_s: float) -> None:
        """Hand an end device the next of its batches, if one is left."""
        if self._held[end]:
            self._put(self._held[end].popleft(), 0, at_s)

    def _put(self, batch: int, hop: int, at_s: float) -> None:
        """Hand a batch to the next device on its way, or note that it is through."""
        way = self._way(batch)
        if hop == len(way):
            self._finish_s = max(self._finish_s, at_s)
            self._release(way[0], at_s)
            return
        self._places += 1
        worker, job = self._workers[way[hop]], _Job(at_s, self._places, batch, hop)
        if hop:
            job.source = self._plan.topology.devices[way[hop - 1]].tier
            job.n_bytes = self._costs.payload_bytes(worker.device, self._sizes[batch])
        heapq.heappush(worker.line, job)

    def _look(self, worker: _Worker) -> None:
        """Have a device begin its next work, if it is time for it."""
        if worker.job is None and worker.line:
            first = worker.line[0]
            laid_out = first.hop == 0 and first.sent_s == 0
            worker.due_s = -self._head_start_s if laid_out else first.sent_s
            if worker.due_s <= self._now_s:
                worker.job = heapq.heappop(worker.line)
                # Who keeps to a modelled time begins while the link is still on its way.
                worker.due_s = self._starts_s(worker) if worker.free else self._now_s
        if worker.job is not None and not worker.working and worker.due_s <= self._now_s:
            worker.working, worker.begun_s, worker.due_s = True, self._now_s, inf
            worker.left_s = self._work_s(worker, worker.job)

    def _starts_s(self, worker: _Worker) -> float:
        """Return when a device can start the job at hand, as its link and its clock say."""
        job = worker.job
        assert job is not None
        if not job.hop:
            return worker.clock.begin(job.sent_s)
        if job.source not in worker.links:
            link = self._costs.links[job.source, worker.device.tier].model_copy(update={"jitter_s": 0.0})
            worker.links[job.source] = LinkClock(link, 1.0, self._rng)
        arrival = worker.links[job.source].receive(job.sent_s, job.n_bytes, worker.clock.free_s, job.sent_s)
        return worker.clock.begin(arrival.arrived_s)

    def _end(self, worker: _Worker) -> None:
        """End the true work of the job at hand, and pass it on when its time has passed, too."""
        job = worker.job
        assert job is not None
        least_s = self._least_s(worker.device, job)
        # At its own speed, too, a device takes no less than it took alone: not all of its work is the processor's.
        start_s = worker.begun_s if worker.free else self._starts_s(worker)
        finish = worker.clock.finish(start_s, least_s, self._now_s)
        if not worker.free:
            worker.overrun_s += finish.overrun_s
            takes_s = self._now_s - worker.begun_s
            if finish.overrun_s > LATE * least_s > 0 and (
                worker.slow is None or takes_s > worker.slow.takes_s
            ):
                worker.slow = Slow(worker.device.name, takes_s, least_s)
        worker.job, worker.working, worker.left_s, worker.due_s = None, False, 0.0, inf
        self._put(job.batch, job.hop + 1, finish.done_s)

    def _parts(self, device: Device, job: _Job) -> list[str]:
        """Return what a device does with a job: "" to answer, a network's name to encode with its first layers."""
        upper = self._plan.upper_device(job.batch)
        way = self._way(job.batch)
        parts = [""] if job.hop in (0, len(way) - 1) else []
        if upper is not None and not upper.trusted and job.hop == len(way) - 2:
            parts.append(upper.network)
        return parts

    def _work_s(self, worker: _Worker, job: _Job) -> float:
        if worker.host is None:
            return 0.0
        known = worker.host.work_s
        return worker.host.task_s + self._sizes[job.batch] * sum(
            known.get((worker.device.name, part), 0.0) for part in self._parts(worker.device, job)
        )

    def _least_s(self, device: Device, job: _Job) -> float:
        """Return the modelled time of a job, or what it takes a device at its own speed alone."""
        size, costs = self._sizes[job.batch], self._costs
        return sum(
            costs.encode_s(device, part, size) if part else costs.service_s(device, size)
            for part in self._parts(device, job)
        )

    def _rate(self, worker: _Worker, busy: list[_Worker]) -> float:
        """Return the processor seconds a second that a device gets beside those that are busy, too."""
        if worker.host is None:
            return 1.0
        sharing = sum(one.host is worker.host for one in busy)
        return min(float(worker.threads), worker.host.cores / sharing)
