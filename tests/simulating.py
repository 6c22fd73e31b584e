"""Small simulations for tests, without data and networks."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
from systems import Shape, costs_of, tiers

from hddnn.data.datasets import Job
from hddnn.engines.common import make_work
from hddnn.engines.sim.simulation import Simulation
from hddnn.planning.plan import Plan
from hddnn.policies import POLICIES, Policy
from hddnn.results.records import Progress, Record, Recorder
from hddnn.schemes import make_plan
from hddnn.system.faults import FaultSchedule
from hddnn.system.topology import Topology

BEAT_S = 0.1
ONE = tiers(1, 1, 1)  # 1 ms an image, so 50 ms a batch
MANY = tiers(3, 2, 2, n_map=1)


def simulate(
    plan: Plan,
    faults: str | FaultSchedule = "",
    policy: str | Policy = "none",
    *,
    seed: int = 0,
    progress: Progress | None = None,
) -> Record:
    """Simulate a plan whose job has no data."""
    recorder = Recorder(plan, cast(Job, None), graders={}, progress=progress)
    work = make_work(plan, costs_of(plan.topology))
    Simulation(
        POLICIES.make(policy).begun(work),
        recorder,
        faults=FaultSchedule.parse(faults, seed=seed) if isinstance(faults, str) else faults,
        heartbeat_s=BEAT_S,
        seed=seed,
    ).run()
    return recorder.finish()


def plan_of(scheme: str, n_batches: int, topology: Topology = ONE, **more: Any) -> Plan:
    return make_plan(scheme, topology, Shape.of(n_batches), costs_of(topology), **more)


def assert_same(one: Record, other: Record) -> None:
    for name, value in vars(one).items():
        if isinstance(value, dict):
            for key in value:
                np.testing.assert_array_equal(value[key], getattr(other, name)[key], err_msg=f"{name} {key}")
        elif name not in ("plan", "job"):
            np.testing.assert_array_equal(value, getattr(other, name), err_msg=name)
