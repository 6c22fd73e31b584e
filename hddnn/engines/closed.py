"""The closed engine: the paper's equations, answered at once; nothing runs."""

from __future__ import annotations

from types import TracebackType
from typing import Self

import numpy as np

from hddnn.data import Job
from hddnn.engines.answers import make_recorder, network_cards, payload_bytes
from hddnn.plan import Plan
from hddnn.records import Answer, Progress, Record
from hddnn.timing import CostTable
from hddnn.topology import Topology


class ClosedEngine:
    """Predict a plan's course batch by batch as equations 1 to 11 describe it.

    A batch's coarse answer comes when its end device has served it and those before it (eq. 1). Fine answers come
    as the paper adds them: after the whole end stage, an upper device receives and serves its batches one after
    another (eq. 3, 5). Under Mapping both tiers work side by side, so the last answer comes before the time of
    eq. 11, which is a weighted mean of the two whole schemes. No network runs: the number of right answers is the
    one expected from the accuracy on the network's card, and there are no labels and no confidence (NaN).
    """

    name = "closed"

    def __init__(self, topology: Topology, job: Job) -> None:
        self.topology, self.job = topology, job
        self._cards = network_cards(topology)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def costs(self) -> CostTable:
        """Return modelled times; where the topology has none, those measured when the bundle was made."""
        measured = {d.name: self._cards[d.network].seconds_per_image for d in self.topology.devices}
        return CostTable.of(self.topology, measured, payload_bytes(self._cards))

    def execute(self, plan: Plan, progress: Progress | None = None) -> Record:
        """Return the predicted record of a plan."""
        costs, devices = self.costs(), self.topology.devices
        recorder = make_recorder(plan, self.job, self._cards, progress)
        free_s = np.zeros(len(devices))
        coarse_s = np.zeros(len(plan.sizes))
        for batch, (end, size) in enumerate(zip(plan.end.tolist(), plan.sizes.tolist(), strict=True)):
            recorder.submitted(batch, 0.0)
            start_s = free_s[end]
            free_s[end] += costs.service_s(devices[end], size)
            coarse_s[batch] = free_s[end]
            steps = {"end_received": 0.0, "end_started": start_s, "end_done": free_s[end]}
            answer = self._answer(devices[end].name, devices[end].network, size, steps)
            recorder.answered("coarse", batch, free_s[end], answer)
        free_s[:] = coarse_s.max(initial=0.0)
        for batch, (end, upper, size) in enumerate(
            zip(plan.end.tolist(), plan.upper.tolist(), plan.sizes.tolist(), strict=True)
        ):
            if upper < 0:
                continue
            device = devices[upper]
            received_s = free_s[upper] + costs.delay_s(devices[end], device, size)
            free_s[upper] = received_s + costs.service_s(device, size)
            steps = {"upper_received": received_s, "upper_started": received_s, "upper_done": free_s[upper]}
            answer = self._answer(device.name, device.network, size, steps)
            recorder.answered("fine", batch, free_s[upper], answer)
            recorder.sent_up(batch, costs.payload_bytes(device, size))
        return recorder.finish()

    def _answer(self, device: str, network: str, size: int, steps: dict[str, float]) -> Answer:
        card = self._cards[network]
        return Answer(device, None, steps, expected_correct=card.accuracy[card.task] * size)
