"""The closed engine: the paper's equations, answered at once; nothing runs."""

from __future__ import annotations

from dataclasses import dataclass
from types import TracebackType
from typing import Any, Self

import numpy as np

from hddnn._util.interrupts import let_through
from hddnn.data.datasets import Job
from hddnn.engines.base import Engine, EngineOptions, Setting
from hddnn.engines.common import (
    card_costs,
    card_times,
    check_accuracies,
    expected_right,
    make_recorder,
    network_cards,
)
from hddnn.errors import InputError
from hddnn.planning.costs import CostTable
from hddnn.planning.plan import NO_DEVICE, Plan
from hddnn.privacy.codec import DEFAULT
from hddnn.privacy.sizes import payload_bytes
from hddnn.results.records import Answer, Progress, Record, Recorder
from hddnn.results.transfers import CLIENT, Transfer
from hddnn.system.topology import Device, Topology


@dataclass(frozen=True)
class Closed(EngineOptions):
    """The paper's equations, answered at once; nothing runs. It has no options."""

    name = "closed"
    caption = "evaluate the paper's equations, at once"
    times = "predicted"
    how = "predicted by the paper's equations"

    def check(self, setting: Setting) -> None:
        """Raise InputError for faults, of which the equations know nothing, and for networks never measured."""
        if len(setting.faults):
            raise InputError(
                f"engine {self.name} knows of no faults; take one that simulates or runs devices"
            )
        check_accuracies(setting.topology, self.name)

    def attributes(self, setting: Setting) -> dict[str, Any]:
        """Return what the cube says of it, and whose times it has where the topology models none."""
        return super().attributes(setting) | {"card_times": card_times(setting.topology)}

    def make(self, setting: Setting) -> Engine:
        """Return the engine, not yet entered."""
        return ClosedEngine(setting.topology, setting.job, codec=setting.codec)


class ClosedEngine:
    """Predict a plan's course batch by batch as equations 1 to 11 describe it.

    A batch's coarse answer comes when its end device has served it and those before it (eq. 1). Fine answers come
    as the paper adds them: after the whole end stage, an upper device receives and serves its batches one after
    another (eq. 3, 5). The finish time is that of the last answer, and so not the formula's: batches are whole
    here, where eq. 1, 3 and 5 deal out parts of them (of 20 batches 2.5 to each of 8 end devices, one of which
    has 3), so it is later; under Mapping both tiers work side by side, so it is before the time of eq. 11, which
    is a weighted mean of the two whole schemes. No network runs: the number of right answers is the
    one expected from the accuracy on the network's card, and there are no labels and no confidence (NaN). Where an
    edge device encodes, its link and its work come before those of the cloud. codec: how features are written.
    """

    def __init__(self, topology: Topology, job: Job, *, codec: str = DEFAULT) -> None:
        self.topology, self.job, self.codec = topology, job, codec
        self._cards = network_cards(topology)
        self._payload_bytes = payload_bytes(topology, codec, job.data.images)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def costs(self) -> CostTable:
        """Return modelled times; where the topology has none, those measured when the bundle was made."""
        return card_costs(self.topology, self._cards, self._payload_bytes)

    def execute(self, plan: Plan, progress: Progress | None = None) -> Record:
        """Return the predicted record of a plan."""
        recorder = make_recorder(plan, self.job, self._cards, progress)
        with let_through():
            self._predict(plan, recorder)
        return recorder.finish()

    def _predict(self, plan: Plan, recorder: Recorder) -> None:
        costs, devices = self.costs(), self.topology.devices
        free_s = np.zeros(len(devices))
        coarse_s = np.zeros(len(plan.sizes))
        for batch, (end, size) in enumerate(zip(plan.end.tolist(), plan.sizes.tolist(), strict=True)):
            recorder.submitted(batch, 0.0)
            recorder.transferred(self._transfer(costs, batch, 0.0, None, devices[end], size))
            start_s = free_s[end]
            free_s[end] += costs.service_s(devices[end], size)
            coarse_s[batch] = free_s[end]
            steps = {"end_received": 0.0, "end_started": start_s, "end_done": free_s[end]}
            answer = self._answer(devices[end], size, steps)
            recorder.answered("coarse", batch, free_s[end], answer)
        free_s[:] = coarse_s.max(initial=0.0)
        for batch, size in enumerate(plan.sizes.tolist()):
            device, encoding = plan.upper_device(batch), int(plan.encoder[batch])
            if device is None:
                continue
            source, upper, left_s = plan.end_device(batch), int(plan.upper[batch]), 0.0
            if encoding != NO_DEVICE:
                encoder = devices[encoding]
                recorder.transferred(self._transfer(costs, batch, free_s[encoding], source, encoder, size))
                encode_s = costs.encode_s(encoder, device.network, size)
                free_s[encoding] += costs.delay_s(source, encoder, size) + encode_s
                source, left_s = encoder, free_s[encoding]
            begun_s = max(free_s[upper], left_s)
            recorder.transferred(self._transfer(costs, batch, begun_s, source, device, size))
            received_s = begun_s + costs.delay_s(source, device, size)
            free_s[upper] = received_s + costs.service_s(device, size)
            steps = {"upper_received": received_s, "upper_started": received_s, "upper_done": free_s[upper]}
            encoded_by = "" if device.trusted else source.name
            recorder.answered("fine", batch, free_s[upper], self._answer(device, size, steps, encoded_by))

    def _transfer(
        self, costs: CostTable, batch: int, at_s: float, source: Device | None, target: Device, size: int
    ) -> Transfer:
        sender, n_bytes = CLIENT if source is None else source.name, costs.payload_bytes(target, size)
        if source is None or target.trusted:
            return Transfer(batch, at_s, sender, target.name, "images", n_bytes=n_bytes)
        encode_s = costs.encode_s(source, target.network, size)
        return Transfer(batch, at_s, sender, target.name, "features", self.codec, n_bytes, encode_s)

    def _answer(self, device: Device, size: int, steps: dict[str, float], encoder: str = "") -> Answer:
        card = self._cards[device.network]
        right, coarsely = expected_right(card, size)
        return Answer(
            device.name, None, steps, expected_correct=right, expected_coarse=coarsely, encoder=encoder
        )
