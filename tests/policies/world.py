"""The sim engine's world for tests of policies: faults by hand, and all that was sent and answered kept."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any, Self

import numpy as np

from hddnn.engines.liveness import PATIENCE
from hddnn.engines.sim.device import SimDevice
from hddnn.engines.sim.simulation import Simulation
from hddnn.planning.bounds import lower_bound_s
from hddnn.planning.costs import CostTable
from hddnn.planning.plan import Plan
from hddnn.policies import POLICIES, Attempt, Policy, Work
from hddnn.testing.policies import Notes


class World(Simulation):
    """Run one plan under one policy; `run()` returns when every batch has ended or nothing happens any more.

    detect_s: about what a hang goes unnoticed for. lost: tells whether a batch is lost on its way to a device.
    sent: (time, attempt); answers: (stage, batch) -> (time, device) of each; outcomes: of batches that have one.
    """

    def __init__(
        self,
        plan: Plan,
        costs: CostTable,
        policy: str | Policy,
        *,
        window: int = 4,
        group: int = 1,
        detect_s: float = 0.1,
    ) -> None:
        ends = [i for i, device in enumerate(plan.topology.devices) if device.tier == "end"]
        work = Work(
            plan,
            costs,
            dict.fromkeys(plan.routes(), group),
            dict.fromkeys(ends, window),
            lower_bound_s(plan, costs),
            slack_s=0.1 * group,  # what a group of these takes, and as much again
        )
        super().__init__(
            POLICIES.make(policy).begun(work),
            notes := Notes(plan),
            heartbeat_s=detect_s / PATIENCE,
        )
        self._notes, self.answers, self.outcomes = notes, notes.answers, notes.outcomes
        self.sent: list[tuple[float, Attempt]] = []
        self.lost: Callable[[int, int], bool] = lambda device, batch: False
        for device in self.devices:
            device.loses = partial(self._loses, device)  # type: ignore[method-assign]

    @property
    def now_s(self) -> float:
        return self.event_queue.now_s

    @property
    def ended(self) -> np.ndarray:
        """Return whether each batch is answered in full or has an outcome."""
        return np.array([self._notes.in_full(b) or b in self.outcomes for b in range(self.plan.n_batches)])

    def run(self, until_s: float = 1e4) -> Self:  # type: ignore[override]
        super().run(until_s)
        return self

    # ---- what goes wrong

    def crash(self, device: int, at_s: float, back_s: float | None = None) -> None:
        self._strike(self.faults.crash, self.faults.start_anew, device, at_s, back_s)

    def hang(self, device: int, at_s: float, back_s: float | None = None) -> None:
        self._strike(self.faults.hang, self.faults.resume, device, at_s, back_s)

    def slow(self, device: int, factor: float) -> None:
        self.devices[device].slow(factor)

    def _strike(self, begin: Any, end: Any, device: int, at_s: float, back_s: float | None) -> None:
        self.event_queue.at(at_s, begin, self.devices[device])
        if back_s is not None:
            self.event_queue.at(back_s, end, self.devices[device])

    def _loses(self, device: SimDevice, batch: int) -> bool:
        return self.lost(device.index, batch)

    def _send(self, attempt: Attempt) -> None:
        self.sent.append((self.now_s, attempt))
        super()._send(attempt)
