"""The engine itself: a job's networks, answers and costs, and one simulation for each plan."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Literal, Self, get_args

import numpy as np

from hddnn import zoo
from hddnn._util.interrupts import let_through
from hddnn._util.validation import unknown
from hddnn.data.datasets import Job
from hddnn.engines.base import Engine, EngineOptions, Setting, policy_attributes
from hddnn.engines.common import (
    card_costs,
    card_times,
    check_accuracies,
    expected_right,
    make_recorder,
    make_work,
    network_cards,
)
from hddnn.engines.liveness import HEARTBEAT_S, check_heartbeat
from hddnn.engines.shared_cores import under_load
from hddnn.engines.sim.simulation import Simulation, Verdict
from hddnn.errors import InputError
from hddnn.planning.costs import CostTable
from hddnn.planning.plan import Plan
from hddnn.policies import DEFAULT as DEFAULT_POLICY
from hddnn.policies import POLICIES, Policy
from hddnn.privacy.codec import DEFAULT
from hddnn.privacy.sizes import payload_bytes
from hddnn.results.records import Progress, Record
from hddnn.runtimes.replay import Replay
from hddnn.system.faults import FaultSchedule
from hddnn.system.topology import Device, Topology
from hddnn.tasks.calibration import top1

Compute = Literal["none", "replay"]


@dataclass(frozen=True)
class Sim(EngineOptions):
    """A discrete-event simulation: the same policies, links and faults, with no process and no wait.

    Args:
        compute: "none" predicts how many answers are right from the accuracy on a network's card; "replay" takes
            the networks' stored answers, computed first where missing.
        heartbeat_s: Seconds of model time between two heartbeats of a device, 0.01 or more.
    """

    compute: Compute = "none"
    heartbeat_s: float = HEARTBEAT_S

    name = "sim"
    caption = "simulate devices and links, faults and policies included"
    times = "simulated"

    def __post_init__(self) -> None:
        check_heartbeat(self.heartbeat_s)

    @property
    def answers(self) -> str:
        """Return where answers come from: a replay, or nowhere."""
        return self.compute

    @property
    def how(self) -> str:
        """Return in a few words what its numbers come from."""
        replayed = self.compute == "replay"
        return "simulated, " + ("stored answers" if replayed else "accuracy by the networks' cards")

    def check(self, setting: Setting) -> None:
        """Raise InputError where answers go by the accuracy of a network that was never measured."""
        if self.compute == "none":
            check_accuracies(setting.topology, self.name, ", or take --compute replay")

    def make(self, setting: Setting) -> Engine:
        """Return the engine, not yet entered."""
        return SimEngine(
            setting.topology,
            setting.job,
            compute=self.compute,
            policy=setting.policy,
            faults=setting.faults,
            heartbeat_s=self.heartbeat_s,
            codec=setting.codec,
            on_change=setting.observer.device_changed,
        )

    def attributes(self, setting: Setting) -> dict[str, Any]:
        """Return what the cube says of it, policy and faults included."""
        about = super().attributes(setting) | policy_attributes(setting, self.heartbeat_s)
        return about | {"card_times": card_times(setting.topology)}


class SimEngine:
    """Simulate the course of plans: the dask engine's policies, links and faults, with no process and no wait.

    compute: "none": no network answers; the number of right answers is the one expected from the accuracy on
    the network's card, and there are no labels and no confidence (NaN). "replay": the answers that the true
    networks gave before, stored by content (see hddnn.runtimes.replay).
    policy: what is done about devices that fail, an object or its text (see hddnn.policies); faults: what goes
    wrong with them, under each plan anew; codec: how features are written down. These three may be changed
    between two plans.
    costs: measured ones, as of devices that a dask engine runs; what shares cores takes longer for that.
    heartbeat_s: seconds of model time between two heartbeats. (The dask engine's are wall seconds, whatever its
    time scale: divide them by that to compare.)
    on_change: called as a device leaves or comes back, with its name, whether it is live, and why.

    Service times are those of the topology or, where it has none, those measured when a network was packaged. A
    job takes what its devices and links take, as in the dask engine at time scale 1 if that took no time of its
    own. The same job, seed and faults give the same record.
    """

    def __init__(
        self,
        topology: Topology,
        job: Job,
        *,
        compute: Compute = "none",
        policy: str | Policy = DEFAULT_POLICY,
        faults: FaultSchedule | None = None,
        heartbeat_s: float = HEARTBEAT_S,
        codec: str = DEFAULT,
        costs: CostTable | None = None,
        on_change: Callable[[str, bool, str], None] | None = None,
    ) -> None:
        if compute not in get_args(Compute):
            raise InputError(unknown("compute", compute, get_args(Compute)))
        self.topology, self.job, self.compute = topology, job, compute
        self.policy, self.codec = policy, codec
        self.faults = (faults or FaultSchedule()).check(topology)
        self._heartbeat_s, self._on_change = heartbeat_s, on_change
        self._cards = network_cards(topology)
        self._given = costs
        self._costs: dict[str, CostTable] = {}  # by codec
        self._answers: dict[str, tuple[np.ndarray, np.ndarray]] = {}  # by network: of each image that is used

    def __enter__(self) -> Self:
        """Look stored answers up, once. Raises BundleError when they were not prepared."""
        if self.compute == "replay":
            images = self.job.data.images[: self.job.images]
            for network in self.topology.networks:
                logits = Replay(zoo.bundle(network)).run(images)
                self._answers[network] = top1(logits, self._cards[network].temperature)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        return None

    def costs(self) -> CostTable:
        """Return those given, or modelled times; where the topology has none, those measured with the bundle."""
        if self._given is not None:
            return self._given
        if self.codec not in self._costs:  # it takes a look at the networks' files
            sizes = payload_bytes(self.topology, self.codec, self.job.data.images)
            self._costs[self.codec] = card_costs(self.topology, self._cards, sizes)
        return self._costs[self.codec]

    def execute(self, plan: Plan, progress: Progress | None = None) -> Record:
        """Simulate a plan, with all devices in order at its beginning.

        Ctrl-C ends it early: the record then holds what was answered, marked interrupted.
        """
        recorder = make_recorder(plan, self.job, self._cards, progress)
        simulation = Simulation(
            POLICIES.make(self.policy).begun(make_work(plan, under_load(plan, self.costs()))),
            recorder,
            faults=self.faults,
            heartbeat_s=self._heartbeat_s,
            seed=self.job.seed,
            codec=self.codec,
            judge=self._judge,
            on_change=self._on_change,
        )
        try:
            with let_through():
                simulation.run()
        except KeyboardInterrupt:
            return recorder.finish(interrupted=True)
        return recorder.finish()

    def _judge(self, device: Device, batch: int) -> Verdict:
        if self.compute == "replay":
            labels, confidence = self._answers[device.network]
            rows = self.job.rows(batch)
            return labels[rows], confidence[rows], float("nan"), float("nan")
        return None, None, *expected_right(self._cards[device.network], int(self.job.sizes[batch]))
