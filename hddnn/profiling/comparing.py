"""Set what is predicted from measured numbers beside what a job takes on the same devices."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from math import isnan, nan
from statistics import median

from hddnn.engines.dask.client.engine import DaskEngine
from hddnn.engines.sim import SimEngine
from hddnn.planning.bounds import lower_bound_s
from hddnn.planning.costs import CostTable
from hddnn.planning.plan import NO_DEVICE, Plan
from hddnn.profiling.measuring import ProfileObserver, Spread
from hddnn.results.records import Record
from hddnn.schemes import Scheme, make_plan
from hddnn.system.topology import Topology

#: Times that a job is run under each scheme.
RUNS = 3


@dataclass(frozen=True)
class Comparison:
    """A scheme's finish time, s: by the paper's formula, as a lower bound, simulated, and measured.

    cores_s: what the work takes when all devices share the cores of this machine; 0 for devices elsewhere.
    measured_s: median, least and most of RUNS; None when not every batch was answered.
    """

    scheme: str
    formula_s: float
    bound_s: float
    simulated_s: float
    cores_s: float
    measured_s: Spread | None

    @property
    def predicted_s(self) -> float:
        """Return what is predicted: simulated, or what the cores allow, whichever is longer."""
        return max(self.simulated_s, self.cores_s)


def compare(
    engine: DaskEngine, topology: Topology, schemes: Sequence[Scheme], observer: ProfileObserver
) -> Iterator[Comparison]:
    """Yield one comparison a scheme; topology: the engine's, with measured numbers.

    Raises KeyboardInterrupt when the user stops a run.
    """
    with SimEngine(topology, engine.job, codec=engine.codec) as simulated:
        costs = simulated.costs()
        for scheme in schemes:
            plan = make_plan(scheme, topology, engine.job, costs)
            observer.scheme_started(scheme.label, RUNS * plan.n_batches)
            predicted_s = _makespan_s(simulated.execute(plan))
            told = partial(observer.answered, scheme.label)
            measured_s = [_makespan_s(engine.execute(plan, told)) for _ in range(RUNS)]
            yield Comparison(
                scheme.label,
                scheme.predicted_s(topology, engine.job, costs),
                lower_bound_s(plan, costs),
                predicted_s,
                cores_s(plan, costs, os.cpu_count() or 1) if engine.address is None else 0.0,
                None
                if any(map(isnan, measured_s))
                else Spread(median(measured_s), min(measured_s), max(measured_s)),
            )


def _makespan_s(record: Record) -> float:
    """Return a finish time, NaN when a batch has no answer. Raises KeyboardInterrupt for a record cut short."""
    if record.interrupted:
        raise KeyboardInterrupt
    return record.makespan_s if record.complete else nan


def cores_s(plan: Plan, costs: CostTable, cores: int) -> float:
    """Return the least time in s that so many cores take for all that the devices do under a plan."""
    total_s, devices = 0.0, plan.topology.devices
    for batch, size in enumerate(plan.sizes.tolist()):
        end, upper, encoding = plan.end_device(batch), plan.upper_device(batch), int(plan.encoder[batch])
        total_s += costs.service_s(end, size) * end.threads
        if upper is not None:
            total_s += costs.service_s(upper, size) * upper.threads
            if not upper.trusted:
                encoder = end if encoding == NO_DEVICE else devices[encoding]
                total_s += costs.encode_s(encoder, upper.network, size) * encoder.threads
    return total_s / cores
