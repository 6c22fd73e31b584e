"""What the scheduler knows of a system and its work: the pages and the metrics read it, and nothing else.

All of it is bounded: its size goes by the devices, and not by the work that they do.
"""

from __future__ import annotations

import time
from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any, Literal

from distributed import Scheduler
from distributed.diagnostics.plugin import SchedulerPlugin

from hddnn.dashboard.series import Flow, Histogram, Progress
from hddnn.engines.dask.client.telemetry import TELEMETRY
from hddnn.engines.dask.wire.heartbeat import DEVICES
from hddnn.engines.liveness import PATIENCE
from hddnn.system.topology import TIERS

State = Literal["live", "busy", "suspect", "dead"]
What = Literal["fault", "left", "joined", "resent"]

STAGES = ("coarse", "fine")
#: Silence, as a share of what is allowed to a device now, from which on it is suspect: half an interval's delay,
#: where heartbeats come in time.
DOUBT = 1.5 / PATIENCE
MOST_HAPPENINGS = 1000
MOST_PROGRESS = 1200
LEAST_WINDOW_S = 30.0
PROGRESS_S = 0.5  # between two entries
#: Seconds after which another client's job is shown instead of one that is no longer told of.
FORGOTTEN_S = 5.0


@dataclass(frozen=True)
class DeviceView:
    """A device now. silent_s: since its last heartbeat, NaN when it is dead; queue: tasks, those at work too."""

    name: str
    tier: str
    network: str
    trusted: bool
    state: State
    queue: int
    done: int
    silent_s: float
    memory_bytes: int


@dataclass(frozen=True)
class Happening:
    """What went wrong, or right again: at_s: seconds since the epoch; batches: of what was sent again."""

    at_s: float
    what: What
    device: str = ""
    batches: int = 0
    why: str = ""


@dataclass
class Counts:
    """What has come of work: batches by what became of them, images and right answers by stage."""

    batches: Counter[str] = field(default_factory=Counter)
    images: Counter[str] = field(default_factory=Counter)
    right: Counter[str] = field(default_factory=Counter)
    response: dict[str, Histogram] = field(default_factory=lambda: {stage: Histogram() for stage in STAGES})

    def add(self, digest: dict[str, Any]) -> None:
        """Count what a digest tells."""
        self.batches.update(digest["batches"])
        self.images.update(digest["images"])
        self.right.update(digest["right"])
        for stage in STAGES:
            self.response[stage].add(digest["response"][stage], digest["response_s"][stage])


@dataclass
class Work(Counts):
    """One job's course so far; began_s, told_s: seconds since the epoch."""

    name: str = ""
    scheme: str = ""
    n_batches: int = 0
    running: bool = False
    began_s: float = 0.0
    told_s: float = 0.0
    progress: deque[Progress] = field(default_factory=lambda: deque(maxlen=MOST_PROGRESS))


@dataclass
class Totals(Counts):
    """Counts since the scheduler's start."""

    answers: Counter[tuple[str, str, str]] = field(default_factory=Counter)  # device, tier, stage
    bytes: Counter[tuple[str, str]] = field(default_factory=Counter)
    happenings: Counter[str] = field(default_factory=Counter)


class Meter(SchedulerPlugin):
    """Listen to heartbeats and digests."""

    name = "hddnn-meter"
    idempotent = True

    def __init__(self) -> None:
        self.links: list[dict[str, Any]] = []
        self.time_scale = 1.0  # wall seconds for a second of model time, in which links are described
        self.work, self.totals = Work(), Totals()
        self.flow, self.traffic = Flow(), Flow()
        self.happenings: deque[Happening] = deque(maxlen=MOST_HAPPENINGS)
        self.since_s: float | None = None  # when there was first something to show
        self._known: dict[str, dict[str, Any]] = {}  # devices by name, as a client describes them
        self._gone: set[str] = set()

    async def start(self, scheduler: Scheduler) -> None:
        """Remember the scheduler."""
        self._scheduler = scheduler

    def log_event(self, topic: str, msg: Any) -> None:
        """Take what a client tells, and who leaves and joins."""
        if topic == TELEMETRY:
            if msg["kind"] == "system":
                self._know(msg)
            else:
                self._take(msg)
        elif topic == DEVICES:
            self._change(msg)

    def devices(self) -> list[DeviceView]:
        """Return all devices: those that a client has described, in its order, and those that have been heard."""
        listed = self._scheduler.handlers[DEVICES]() if DEVICES in self._scheduler.handlers else []
        seen = {entry["name"]: entry for entry in sorted(listed, key=lambda entry: bool(entry["live"]))}
        now_s = time.monotonic()
        views = [self._view(name, facts, seen.get(name), now_s) for name, facts in self._known.items()]
        for name, entry in seen.items():
            if name not in self._known:
                views.append(self._view(name, self._guess(entry["address"]), entry, now_s))
        return views

    def tier(self, device: str) -> str:
        """Return a device's tier, as a client describes it; "" where none does."""
        return str(self._known.get(device, {}).get("tier", ""))

    def _view(
        self, name: str, facts: dict[str, Any], entry: dict[str, Any] | None, now_s: float
    ) -> DeviceView:
        state: State = "dead"
        silent_s = float("nan")
        if entry is not None and entry["live"]:
            silent_s = max(0.0, now_s - entry["seen_s"])
            at_ease: State = "busy" if entry["queue"] else "live"
            state = "suspect" if silent_s > DOUBT * entry["allowed_s"] else at_ease
        numbers = {key: entry[key] if entry else 0 for key in ("queue", "done", "memory_bytes")}
        if state == "dead":
            numbers["queue"] = 0
        return DeviceView(
            name=name,
            tier=facts["tier"],
            network=facts["network"],
            trusted=facts["trusted"],
            state=state,
            silent_s=silent_s,
            **numbers,
        )

    def _guess(self, address: str) -> dict[str, Any]:
        """Return what can be told of a device that no client has described: it has its tier's resource."""
        worker = self._scheduler.workers.get(address)
        resources = worker.resources if worker is not None else {}
        tier = next((tier for tier in TIERS if tier in resources), TIERS[0])
        return {"tier": tier, "network": "", "trusted": True}

    def _know(self, message: dict[str, Any]) -> None:
        self._known = {entry["name"]: entry for entry in message["devices"]}
        self.links, self.time_scale = message["links"], message["time_scale"]

    def _take(self, digest: dict[str, Any]) -> None:
        now_s, span_s = time.time(), digest["span_s"]
        if self.since_s is None:
            self.since_s = now_s
        work = self.work
        if digest["job"] != work.name and not (work.running and now_s - work.told_s < FORGOTTEN_S):
            work = self.work = Work(
                name=digest["job"], scheme=digest["scheme"], n_batches=digest["n_batches"], began_s=now_s
            )
        if digest["job"] == work.name:
            work.add(digest)
            self._go_on(digest["running"], now_s)
        if digest["new"]:
            self.totals.add(digest)
            self._count(digest, now_s, span_s)

    def _go_on(self, running: bool, now_s: float) -> None:
        """Note how far the job is."""
        work = self.work
        work.running, work.told_s = running, now_s
        if not work.progress or now_s - work.progress[-1].at_s >= PROGRESS_S or not running:
            work.progress.append(Progress(now_s, dict(work.right), dict(work.images)))

    def _count(self, digest: dict[str, Any], now_s: float, span_s: float) -> None:
        """Count what came in the span_s seconds up to now, and note what went wrong."""
        totals = self.totals
        by_tier: Counter[str] = Counter()
        for stage, answers in digest["answers"].items():
            for device, count in answers.items():
                by_tier[self.tier(device)] += count
                totals.answers[device, self.tier(device), stage] += count
        for tier, count in by_tier.items():
            self.flow.add(tier, count, now_s, span_s)
        for source, target, count in digest["bytes"]:
            totals.bytes[source, target] += count
            self.traffic.add((source, target), count, now_s, span_s)
        for device, ago_s in digest["faults"]:
            self._happened(Happening(now_s - ago_s, "fault", device))
        if digest["batches"].get("resent"):
            self._happened(Happening(now_s, "resent", batches=digest["batches"]["resent"]))

    def _change(self, message: dict[str, Any]) -> None:
        device, what = message["device"], message["event"]
        if what == "left":
            self._gone.add(device)
        elif device in self._gone:
            self._gone.discard(device)
        else:
            return  # it joins for the first time
        self._happened(Happening(time.time(), what, device, why=message["why"]))

    def window_s(self, now_s: float) -> float:
        """Return how far back charts reach: to where there is something to show, within bounds."""
        since_s = now_s if self.since_s is None else self.since_s
        return min(max(now_s - since_s, LEAST_WINDOW_S), float(-Flow.ages_s()[0]))

    def _happened(self, happening: Happening) -> None:
        self.happenings.append(happening)
        self.totals.happenings[happening.what] += 1
