"""The contract of schemes, which hddnn.testing holds: hddnn's own keep to it, and it sees what is wrong."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest

from hddnn.errors import InputError
from hddnn.planning.plan import Parameter, Plan
from hddnn.schemes import SCHEMES, Scheme
from hddnn.schemes.fixed import EndEdge
from hddnn.testing import check_scheme


@pytest.mark.parametrize("scheme", [*SCHEMES.own, "mapping:n_map=2", "mapping:n_map=auto"])
def test_hddnns_own_keep_to_it(scheme: str) -> None:
    check_scheme(scheme)


class Mutable(EndEdge):
    """Derives from a frozen dataclass, and is none itself."""

    __dataclass_params__ = None  # type: ignore[assignment]


@dataclass(frozen=True)
class Captionless(EndEdge):
    caption = ""


@dataclass(frozen=True)
class Moody(EndEdge):
    asked: list[int] = field(default_factory=lambda: [0])

    @property
    def label(self) -> str:
        return self.name

    def plan(self, topology: Any, job: Any, costs: Any) -> Plan:
        self.asked[0] += 1
        end = np.roll(np.arange(job.n_batches) % len(self.tier(topology, "end")), self.asked[0])
        return self.routes(topology, job, end)


@dataclass(frozen=True)
class Crashing(EndEdge):
    def plan(self, topology: Any, job: Any, costs: Any) -> Plan:
        return super().plan(topology, job, costs) if len(topology.tier("edge")) else [][0]


@dataclass(frozen=True)
class Misrouting(EndEdge):
    def plan(self, topology: Any, job: Any, costs: Any) -> Plan:
        return self.routes(topology, job, np.full(job.n_batches, len(topology.devices) - 1))


@dataclass(frozen=True)
class Named(EndEdge):
    def plan(self, topology: Any, job: Any, costs: Any) -> Plan:
        return replace(super().plan(topology, job, costs), scheme="another")


@dataclass(frozen=True)
class Short(EndEdge):
    def plan(self, topology: Any, job: Any, costs: Any) -> Plan:
        job.sizes[0] = 1
        return super().plan(topology, job, costs)


@dataclass(frozen=True)
class Never(EndEdge):
    def plan(self, topology: Any, job: Any, costs: Any) -> Plan:
        raise InputError("not today")


@dataclass(frozen=True)
class Backwards(EndEdge):
    def predicted_s(self, topology: Any, job: Any, costs: Any) -> float:
        return -1.0


@dataclass(frozen=True)
class Endless(EndEdge):
    def plan(self, topology: Any, job: Any, costs: Any) -> Plan:
        plan = super().plan(topology, job, costs)
        return replace(plan, parameters={"share": Parameter(float("nan"), "1", "of all")})


@dataclass(frozen=True)
class Wayless(EndEdge):
    def ways(self, topology: Any, costs: Any) -> dict[int, list[int]]:
        return {}


@dataclass(frozen=True)
class Sideways(EndEdge):
    def ways(self, topology: Any, costs: Any) -> dict[int, list[int]]:
        return {0: [0]}


@dataclass(frozen=True)
class Planless(EndEdge):
    def plan(self, topology: Any, job: Any, costs: Any) -> Plan:
        return None  # type: ignore[return-value]


@pytest.mark.parametrize(
    ("scheme", "says"),
    [
        (Mutable, "it is no dataclass"),
        (Captionless, "it has no caption"),
        (Moody, "asked twice, it plans otherwise"),
        (
            Crashing,
            r"2 end, 0 edge .*: plan raises IndexError: list index out of range; raise PlanError, or NoTier",
        ),
        (Misrouting, "its plan is wrong: plan misrouting: batch 0"),
        (Named, "the plan is called 'another'"),
        (Short, "the plan is for other batches"),
        (Never, "it has a plan for none of the systems tried"),
        (Backwards, "predicted_s returns -1.0; give seconds, or NaN"),
        (Endless, "parameter share is nan"),
        (Wayless, "ways has no end device"),
        (Sideways, "ways leads to device 0, an end device"),
        (Planless, "plan returns NoneType, not a Plan"),
    ],
)
def test_it_sees_what_is_wrong(scheme: type[Scheme], says: str) -> None:
    with pytest.raises(AssertionError, match=says):
        check_scheme(scheme)
