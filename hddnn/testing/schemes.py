"""The contract of schemes: what hddnn's own keep to, and one of yours has to."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from hddnn._util.extensions import split_options
from hddnn.engines.closed import ClosedEngine
from hddnn.engines.sim import SimEngine
from hddnn.errors import HddnnError, NoTier, PlanError, first_line
from hddnn.planning.bounds import lower_bound_s
from hddnn.planning.costs import CostTable
from hddnn.planning.plan import NO_DEVICE, Plan
from hddnn.schemes import SCHEMES, Scheme
from hddnn.system.topology import Topology
from hddnn.testing.systems import Shape, small_job, small_system

#: Devices of each tier: end, edge, cloud.
COUNTS = ((1, 1, 1), (2, 1, 1), (3, 2, 1), (5, 2, 2), (8, 4, 1))
#: Such that a tier, or two, are not there.
LACKING = ((2, 0, 0), (2, 1, 0), (2, 0, 1))
BATCHES = (1, 2, 7, 40)


def check_scheme(scheme: Scheme | type[Scheme] | str) -> None:
    """Check that a scheme keeps to the contract of `hddnn.schemes.Scheme`.

    It plans small jobs on systems of many shapes, with trusted edge devices and others, and some of its plans are
    predicted and simulated. Takes a few seconds; no network runs.

    Args:
        scheme: An object, a class, or a text such as "my_site.py:NightShift:cloud_every=3".

    Raises:
        AssertionError: It does not; the text says what is wrong, and on which system.
        InputError: The text stands for no scheme.

    Example:
        ::

            from hddnn.testing import check_scheme

            check_scheme("mapping:n_map=2")
    """
    made = SCHEMES.make(scheme)
    _check_class(made)
    planned = 0
    for topology, where in _systems(COUNTS):
        for n_batches in BATCHES:
            planned += _check_plan(
                made, topology, n_batches, f"scheme {made.label}, {where}, {n_batches} batches"
            )
    assert planned, f"scheme {made.label}: it has a plan for none of the systems tried, up to 8 end devices"
    for topology, where in _systems(LACKING):
        _planned(made, topology, Shape.of(3), f"scheme {made.label}, {where}")
    _check_run(made)


def _check_class(scheme: Scheme) -> None:
    kind = type(scheme)
    what = f"scheme {kind.__name__}"
    assert scheme.caption, f"{what}: it has no caption, a line that says where its images go"
    assert "\n" not in scheme.caption, f"{what}: its caption is more than a line"
    params = getattr(kind, "__dataclass_params__", None)
    assert params is not None, f"{what}: it is no dataclass; put @dataclass(frozen=True) before it"
    assert params.frozen, f"{what}: it can be changed; put @dataclass(frozen=True) before it"
    label = scheme.label
    assert split_options(label)[0] == scheme.name, f"{what}: its label {label!r} does not begin with its name"


def _systems(counts: tuple[tuple[int, int, int], ...]) -> Iterator[tuple[Topology, str]]:
    for n_end, n_edge, n_cloud in counts:
        for trust in ("dependable", "undependable"):
            where = f"{n_end} end, {n_edge} edge ({trust}) and {n_cloud} cloud devices"
            yield small_system(n_end, n_edge, n_cloud, seconds_per_image=1e-3, edge_trust=trust), where


def _planned(scheme: Scheme, topology: Topology, job: Shape, what: str) -> Plan | None:
    """Return a scheme's plan, None where it says that there is none."""
    costs = CostTable.of(topology, payload_bytes=dict.fromkeys(topology.networks, (3072, 65536)))
    try:
        plan = scheme.plan(topology, job, costs)
    except NoTier:
        return None
    except PlanError as error:
        raise AssertionError(f"{what}: its plan is wrong: {error}") from error
    except HddnnError:
        return None  # it says, in words, that it has none
    except Exception as error:
        told = f"{type(error).__name__}: {first_line(error)}"
        raise AssertionError(
            f"{what}: plan raises {told}; raise PlanError, or NoTier as `tier` does"
        ) from error
    assert isinstance(plan, Plan), f"{what}: plan returns {type(plan).__name__}, not a Plan; see `routes`"
    return plan


def _check_plan(scheme: Scheme, topology: Topology, n_batches: int, what: str) -> bool:
    job = Shape.of(n_batches, last=20)
    sizes, before = job.sizes.copy(), topology.to_yaml()
    plan = _planned(scheme, topology, job, what)
    if plan is None:
        return False
    assert plan.topology is topology, f"{what}: the plan is for another topology"
    assert plan.sizes.tolist() == sizes.tolist(), f"{what}: the plan is for other batches"
    assert job.sizes.tolist() == sizes.tolist(), f"{what}: plan has changed the job"
    assert topology.to_yaml() == before, f"{what}: plan has changed the topology"
    assert plan.scheme == scheme.label, f"{what}: the plan is called {plan.scheme!r}; see `routes`"
    again = _planned(scheme, topology, Shape.of(n_batches, last=20), what)
    assert again is not None, f"{what}: asked twice, it has no plan any more"
    for name in ("end", "upper", "encoded", "encoder"):
        same = np.array_equal(getattr(plan, name), getattr(again, name))
        assert same, f"{what}: asked twice, it plans otherwise ({name}); a scheme is pure"
    _check_numbers(scheme, topology, job, plan, what)
    return True


def _check_numbers(scheme: Scheme, topology: Topology, job: Shape, plan: Plan, what: str) -> None:
    costs = CostTable.of(topology, payload_bytes=dict.fromkeys(topology.networks, (3072, 65536)))
    predicted_s: Any = scheme.predicted_s(topology, job, costs)
    right = isinstance(predicted_s, int | float) and (math.isnan(predicted_s) or 0 < predicted_s < math.inf)
    assert right, f"{what}: predicted_s returns {predicted_s!r}; give seconds, or NaN for no formula"
    for name, parameter in plan.parameters.items():
        assert name.isidentifier(), f"{what}: parameter {name!r} cannot be a variable of a cube"
        assert math.isfinite(parameter.value), f"{what}: parameter {name} is {parameter.value}"
    ways = scheme.ways(topology, costs)
    tiers = [device.tier for device in topology.devices]
    assert ways, f"{what}: ways has no end device, so no request can be answered"
    for end, uppers in ways.items():
        assert tiers[end] == "end", f"{what}: ways begins at device {end}, which is no end device"
        for upper in uppers:
            assert upper != NO_DEVICE, f"{what}: ways leads to no device: leave it out"
            assert tiers[upper] != "end", f"{what}: ways leads to device {upper}, an end device"


def _check_run(scheme: Scheme) -> None:
    """Predict and simulate a plan."""
    topology = small_system(4, 2, 1, seconds_per_image=1e-3, latency_s=0.02)
    job = small_job()
    for engine in (ClosedEngine(topology, job), SimEngine(topology, job)):
        with engine as running:
            try:
                plan = scheme.plan(topology, job, running.costs())
            except HddnnError:
                return
            record = running.execute(plan)
            what = f"scheme {scheme.label}, {type(running).__name__}"
            assert record.complete, f"{what}: not all batches are answered"
            least_s = lower_bound_s(plan, running.costs()) if isinstance(running, SimEngine) else 0.0
            assert record.makespan_s >= least_s * (1 - 1e-9), f"{what}: it ends before it can"
