"""A first look at the machine: what starting devices and running a job take here, where nothing is waited for."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hddnn.engines.base import EngineOptions, Setting
from hddnn.engines.registry import ENGINES
from hddnn.experiments.sizing import BUSY, LEAST_BATCH_S, Between, Cost, emulated, hurried
from hddnn.planning.bounds import lower_bound_s
from hddnn.policies import DEFAULT, POLICIES, Policy
from hddnn.runtimes.prepared import prepared_answers
from hddnn.schemes import SCHEMES, Scheme, make_plan
from hddnn.system.faults import FaultSchedule
from hddnn.system.topology import TIERS, Topology

if TYPE_CHECKING:
    from hddnn.data.datasets import Dataset, Job
    from hddnn.experiments.script import Settings

#: Batches of the two jobs of a look.
FEW, MANY = 4, 24
#: What --smoke allows instead of sizing.BUSY; and its runs take so many seconds, whatever the machine can keep.
SMOKE_BUSY, SMOKE_S = 0.4, 15.0


@dataclass(frozen=True)
class Look:
    """What was found: wall seconds to start a device, and of a job by its batches."""

    device_s: float
    work: Cost


def one_of_each(topology: Topology) -> Topology:
    """Return the system with one device of each tier, without links or modelled times."""
    first = [topology.tier(tier)[0] for tier in TIERS if topology.tier(tier)]
    own_speed = tuple(device.at_own_speed() for device in first)
    return Topology(**{**dict(topology), "devices": own_speed, "links": (), "schemes": {}})


def head(data: Dataset, n: int) -> Dataset:
    """Return the first n images."""
    parts = {name: getattr(data, name)[:n] for name in ("images", "coarse", "fine", "files")}
    return dataclasses.replace(data, **parts)


def look(topology: Topology, job: Job, engine: EngineOptions) -> Look:
    """Run two small jobs on one device of each tier, through the highest, at full speed."""
    from hddnn.data.datasets import Job

    small = one_of_each(topology)
    data = head(job.data, 2 * job.batch_size)
    many, few = (Job(data, n * job.batch_size, job.batch_size) for n in (MANY, FEW))
    highest = next(tier for tier in reversed(TIERS) if small.tier(tier))
    scheme = SCHEMES.make("end" if highest == "end" else f"end-{highest}")
    with ExitStack() as stack:
        if engine.answers == "replay":
            stack.enter_context(prepared_answers(small.networks, data.images))
        start_s = time.perf_counter()
        running = stack.enter_context(engine.make(Setting(small, many, POLICIES.make(DEFAULT))))
        device_s = (time.perf_counter() - start_s) / (1 + len(small.devices))  # and the scheduler

        def taken_s(of: Job) -> float:
            plan = make_plan(scheme, small, of, running.costs())
            start_s = time.perf_counter()
            running.execute(plan)
            return time.perf_counter() - start_s

        taken_s(few)  # warms up
        return Look(device_s, Cost.of(FEW, taken_s(few), MANY, taken_s(many)))


def bounds_s(topology: Topology, job: Job, schemes: Iterable[Scheme | str]) -> list[float]:
    """Return the lower bound of the finish time under each scheme in s, of a topology with modelled times."""
    setting = Setting(topology, job, POLICIES.make(DEFAULT))
    with ENGINES.make("closed").make(setting) as engine:
        costs = engine.costs()
        plans = [make_plan(SCHEMES.make(scheme), topology, job, costs) for scheme in schemes]
        return [lower_bound_s(plan, costs) for plan in plans]


def simulated_s(topology: Topology, job: Job, scheme: str, policy: Policy, faults: FaultSchedule) -> float:
    """Return how long a job under a policy and with faults goes on in simulation, s."""
    with ENGINES.make("sim").make(Setting(topology, job, policy, faults)) as engine:
        return float(engine.execute(make_plan(scheme, topology, job, engine.costs())).ended_s)


def emulated_sizes(
    settings: Settings,
    topology: Topology,
    runs_s: Callable[[], Sequence[float]],
    *,
    devices: int,
    batch_size: int,
    timeout_s: float | None = None,
    busy: float = BUSY,
) -> dict[str, Any]:
    """Return images, repeats and time scale of a scenario whose devices keep to modelled times.

    On an engine that waits for nothing they are the most images and the least repeats.

    Args:
        settings: The scenario's, not yet sized.
        topology: Its system, the largest.
        runs_s: Called for the model seconds of each point's run, with the most images, where time is waited for.
        devices: That are started in each round of repeats.
        batch_size: Images in a batch.
        busy: Share of the shortest run for which the machine may be at work.
        timeout_s: Model seconds after which a policy gives up a try: twice what a try takes here, at least.
    """
    images, repeats = settings.between["images"], settings.between.get("repeats", Between(1, 1))
    if "time_scale" not in ENGINES.options(settings.engine):
        return {"images": images.most, "repeats": repeats.least}
    seen = look(topology, settings.job(batch_size), settings.using(time_scale=1.0).engine_options)
    modelled = (device.service_time for device in topology.devices)
    batch_s = min((time.total_s(batch_size) for time in modelled if time), default=LEAST_BATCH_S)
    scale = settings.time_scale if "time_scale" in settings.by_hand else None
    round_s = devices * seen.device_s
    found = emulated(
        settings.left_s,
        runs_s(),
        seen.work,
        batch_s,
        settings.batches(batch_size),
        repeats,
        round_s=round_s,
        time_scale=scale,
        least_scale=0.0 if timeout_s is None else 2 * seen.work.fixed_s / timeout_s,
        busy=max(busy, SMOKE_BUSY) if settings.smoke else busy,
    )
    if settings.smoke and scale is None:
        found = hurried(found, round_s, SMOKE_S)
    return {
        "images": settings.images_of(found.size, batch_size), "repeats": found.repeats,
        "time_scale": found.time_scale, "takes_s": found.takes_s,
    }  # fmt: skip
