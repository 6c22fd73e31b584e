"""The course of a device's tasks by a clock that nobody waits for: modelled times hold, whatever true ones are."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulating import plan_of, simulate
from systems import PAYLOAD, device, links_to, system, systems

from hddnn import zoo
from hddnn.engines.dask.device.faults import DeviceFaults
from hddnn.engines.dask.device.packing import Packed
from hddnn.engines.dask.device.pipeline import Order, Pipeline
from hddnn.engines.dask.device.true_work import Done, Name
from hddnn.engines.dask.device.wall_time import WallTime
from hddnn.engines.dask.wire.messages import DeviceSpec, EncodeOrder, EndOrder, Payload, Target, UpperOrder
from hddnn.planning.plan import NO_DEVICE, Plan
from hddnn.privacy.payload import IMAGES, Header, seal
from hddnn.results.records import Record
from hddnn.system.topology import Device, Topology
from hddnn.zoo import Card

#: Seconds that a piece of true work takes, by the device's name, batch and piece.
TrueTimes = Callable[[str, Name], float]
STEPS = ("end_started", "end_done", "upper_received", "upper_started", "upper_done")
ANSWER = (np.zeros(1, np.int32), np.ones(1, np.float32))


class Clock(WallTime):
    """A time that passes when somebody waits for it."""

    def __init__(self) -> None:
        self.at_s = 0.0

    def now_s(self) -> float:
        return self.at_s

    def wait_until(self, at_s: float) -> float:
        self.at_s = max(self.at_s, at_s)
        return at_s


class Worker:
    """True work in a thread of its own, one piece after another, each with the time that it takes."""

    def __init__(self, name: str, clock: Clock, true_s: TrueTimes) -> None:
        self._name, self._clock, self._true_s = name, clock, true_s
        self._free_s = 0.0
        self._done: dict[tuple[Hashable, Name], tuple[Callable[[], Any], float]] = {}

    def begin(self, task: Hashable, works: Mapping[Name, Callable[[], Any]]) -> None:
        for name, call in works.items():
            self._free_s = max(self._free_s, self._clock.at_s) + self._true_s(self._name, name)
            self._done[task, name] = call, self._free_s

    def take(self, task: Hashable, name: Name) -> Done:
        call, finished_s = self._done.pop((task, name))
        self._clock.wait_until(finished_s)
        return Done(ANSWER if name[1] == "answer" else call(), finished_s)

    def wait(self, task: Hashable, timeout_s: float) -> None:
        pass

    def forget(self, task: Hashable) -> None:
        pass


class Packer:
    """Payloads of the sizes that the simulation goes by."""

    def __init__(self, topology: Topology) -> None:
        self._networks = {one.name: one.network for one in topology.devices}

    def pack(self, images: np.ndarray, target: Target, order: EndOrder | EncodeOrder) -> Packed:
        raw, features = PAYLOAD[order.stem or self._networks[target.name]]
        data = seal(images, Header.of(IMAGES, images))
        kind, n_bytes = ("images", raw) if order.stem is None else ("features", features)
        return Packed(data, kind, len(images) * n_bytes, 0.0)  # type: ignore[arg-type]

    def card(self, network: str) -> Card:
        return zoo.bundle("resnet34").card


@dataclass
class Emulated:
    """What was seen of each batch: its steps, when each answer was told, and whether a time overran."""

    steps: dict[str, np.ndarray]
    told: dict[str, np.ndarray]
    overruns: set[int] = field(default_factory=set)


def emulate(simulated: Record, true_s: TrueTimes, moved_s: float) -> Emulated:
    """Run a plan's tasks through the devices' pipelines; what comes at the same time goes in the simulated order.

    moved_s: what a payload's real movement takes.
    """
    plan, received_s = simulated.plan, simulated.steps["end_received"]
    topology, n = plan.topology, plan.n_batches
    encoded_s = {move.batch: move.at_s for move in simulated.transfers if move.kind == "features"}
    seen = Emulated(
        {step: np.full(n, np.nan) for step in STEPS},
        {stage: np.full(n, np.nan) for stage in ("coarse", "fine")},
    )
    made: dict[int, list[Payload]] = {}

    def devices_of(batch: int) -> list[Device | None]:
        return [
            None if index == NO_DEVICE else topology.devices[index]
            for index in (plan.end[batch], plan.encoder[batch], plan.upper[batch])
        ]

    for tier in ("end", "edge", "cloud"):
        for one in topology.tier(tier):  # type: ignore[arg-type]
            tasks: list[tuple[float, float, int, Order]] = []
            for batch in range(n):
                end, encoder, upper = devices_of(batch)
                stem = upper.network if upper is not None and not upper.trusted else None
                up = encoder or upper
                if one is end:
                    order: Order = EndOrder(
                        "job", "topic", ("end", batch), f"up/load/{batch}", (batch,), (int(plan.sizes[batch]),),
                        Target(up.name, "") if up else None, None if encoder else stem, "float32",
                    )  # fmt: skip
                    tasks.append((received_s[batch], simulated.steps["end_done"][batch], batch, order))
                elif one is encoder:
                    assert upper
                    assert stem
                    order = EncodeOrder(
                        "job", "topic", ("encode", batch), Target(upper.name, ""), stem, "float32"
                    )
                    tasks.append((made[batch][0].sent_s + moved_s, encoded_s[batch], batch, order))
                elif one is upper:
                    order = UpperOrder("job", "topic", ("upper", batch))
                    tasks.append(
                        (made[batch][0].sent_s + moved_s, simulated.steps["upper_done"][batch], batch, order)
                    )
            _run(plan, one, _in_order(tasks), made, true_s, seen)
    return seen


def _in_order(tasks: list[tuple[float, float, int, Order]]) -> list[tuple[float, int, Order]]:
    """Return tasks, (in hand, simulated end, batch, order), as they come; those of one moment by their ends."""
    tasks = sorted(tasks, key=lambda task: task[0])
    moments = np.cumsum(np.diff([task[0] for task in tasks], prepend=-1.0) > 1e-9)
    order = sorted(range(len(tasks)), key=lambda i: (moments[i], *tasks[i][1:3]))
    return [(tasks[i][0], *tasks[i][2:]) for i in order]


def _run(
    plan: Plan,
    one: Device,
    tasks: list[tuple[float, int, Order]],
    made: dict[int, list[Payload]],
    true_s: TrueTimes,
    seen: Emulated,
) -> None:
    clock = Clock()

    def notify(topic: str, message: dict[str, Any]) -> None:
        if message["stage"] in seen.told:
            batch = message["batch"]
            seen.told[message["stage"]][batch] = clock.at_s
            for step in STEPS:
                if step in message["steps"]:
                    seen.steps[step][batch] = message["steps"][step]
            seen.overruns |= {batch} if message["overrun_s"] else set()

    network: Any = SimpleNamespace(run=None)
    packer: Any = Packer(plan.topology)
    pipeline = Pipeline(
        DeviceSpec.of(plan.topology, one.name), network, packer, DeviceFaults(one.name), notify,
        wall=clock, work=Worker(one.name, clock, true_s),
    )  # fmt: skip
    for at_s, batch, order in tasks:
        clock.at_s = at_s
        if isinstance(order, EndOrder):
            pipeline.push(order.upload, np.zeros((plan.sizes[batch], 32, 32, 3), np.uint8))
        pipeline.in_hand(order, made.get(batch, []))
    clock.at_s = 0.0
    for at_s, batch, order in tasks:
        clock.wait_until(at_s)
        if isinstance(order, EndOrder):
            made[batch] = pipeline.answer_end(order)
        elif isinstance(order, EncodeOrder):
            made[batch] = pipeline.encode(order, made[batch])
        else:
            pipeline.answer_upper(order, made[batch])


def service_s(plan: Plan) -> TrueTimes:
    """Return the modelled times, piece by piece, by device."""
    topology = plan.topology

    def modelled(name: str, piece: Name) -> float:
        own, (batch, what) = topology.device(name), piece
        if what == "answer":
            return own.seconds_per_image[own.network] * int(plan.sizes[batch])
        upper = topology.devices[plan.upper[batch]]
        encodes = not upper.trusted and (own.tier == "edge" or plan.encoder[batch] == NO_DEVICE)
        return own.seconds_per_image.get(f"{upper.network}:stem", 0.0) * int(plan.sizes[batch]) * encodes

    return modelled


def planned(data: st.DataObject, topology: Topology) -> tuple[Plan, Record]:
    scheme = data.draw(st.sampled_from(["end", "end-cloud", "end-edge", "mapping:n_map=1"]), "scheme")
    places = ["end", "edge"] if any(one.trusted for one in topology.tier("edge")) else ["end"]
    at = data.draw(st.sampled_from(places), "encode at")
    plan = plan_of(scheme, data.draw(st.integers(1, 8), "batches"), topology, encode_at=at)
    return plan, simulate(plan)


@given(systems(), st.data())
def test_with_true_times_below_the_modelled_ones_the_course_is_the_simulated_one(
    topology: Topology, data: st.DataObject
) -> None:
    plan, simulated = planned(data, topology)
    share = data.draw(st.floats(0, 0.999), "true / modelled")
    modelled_s = service_s(plan)
    seen = emulate(simulated, lambda *piece: share * modelled_s(*piece), 0.0)
    assert not seen.overruns
    for step, times_s in seen.steps.items():
        np.testing.assert_allclose(times_s, simulated.steps[step], rtol=1e-9, atol=1e-9, err_msg=step)


@st.composite
def chains(draw: st.DrawFn) -> Topology:
    """Draw a system in which nothing can overtake: one device in each tier."""
    times = st.floats(0, 0.05, allow_subnormal=False)
    devices = [
        device("end-0", "end", draw(times), edge_net=draw(times), cloud_net=draw(times)),
        device("edge-0", "edge", draw(times), trusted=draw(st.booleans()), cloud_net=draw(times)),
        device("cloud-0", "cloud", draw(times), trusted=draw(st.booleans())),
    ]
    above = draw(links_to("cloud")).model_copy(update={"source": "edge"})
    return system(*devices, links=[draw(links_to("edge")), draw(links_to("cloud")), above])


@given(chains(), st.data())
def test_whatever_the_true_times_nothing_is_seen_before_its_modelled_time(
    topology: Topology, data: st.DataObject
) -> None:
    plan, simulated = planned(data, topology)
    drawn: dict[tuple[str, Name], float] = {}
    times = st.floats(0, 10)

    def true_s(*piece: Any) -> float:
        return drawn.setdefault(piece, data.draw(times, str(piece)))

    seen = emulate(simulated, true_s, data.draw(times, "moved"))
    least = {"coarse": "end_done", "fine": "upper_done"}
    modelled_s = service_s(plan)
    for step in STEPS:
        late = seen.steps[step] - simulated.steps[step]
        assert (np.isnan(late) | (late >= -1e-9)).all(), step
    for stage, step in least.items():
        told = seen.told[stage]
        # An answer is told when its step ends; the coarse one of a device that then encodes, before that.
        goes_up = plan.upper != NO_DEVICE
        pack_s = [
            modelled_s("end-0", (batch, "pack")) if stage == "coarse" and goes_up[batch] else 0.0
            for batch in range(plan.n_batches)
        ]
        early = simulated.steps[step] - np.array(pack_s) - told
        assert (np.isnan(early) | (early <= 1e-9)).all(), stage
        np.testing.assert_array_equal(np.isnan(told), np.isnan(simulated.steps[step]))


def test_work_of_tasks_that_wait_uses_the_time_of_those_before_them() -> None:
    topology = system(
        device("end-0", "end", 0.0),
        device("edge-0", "edge", 0.01),
        device("cloud-0", "cloud", 0.01, trusted=False),
    )
    simulated = simulate(plan_of("end-edge", 5, topology))  # 0.5 s a batch, all at once
    # Two take longer than modelled, and are begun in time all the same.
    true_s = iter([0.4, 0.54, 0.54, 0.4, 0.4])
    seen = emulate(simulated, lambda name, piece: next(true_s) if name == "edge-0" else 0.0, 0.0)
    assert not seen.overruns
    np.testing.assert_allclose(seen.steps["upper_done"], simulated.steps["upper_done"])


@pytest.mark.parametrize(("pushed_s", "starts_s"), [(0.4, 1.0), (1.2, 1.2)])
def test_what_lay_there_as_the_job_began_is_worked_on_from_then(pushed_s: float, starts_s: float) -> None:
    """However late the client's word comes; but not from before the images were there."""
    topology = system(device("end-0", "end", 0.01), device("edge-0", "edge", 0.01))
    clock, told = Clock(), []
    network: Any = SimpleNamespace(run=None)
    packer: Any = Packer(topology)
    pipeline = Pipeline(
        DeviceSpec.of(topology, "end-0"), network, packer, DeviceFaults("end-0"), lambda *one: told.append(one[1]),
        wall=clock, work=Worker("end-0", clock, lambda name, piece: 0.1),
    )  # fmt: skip
    clock.at_s = pushed_s
    order = EndOrder("job", "topic", ("end", 0), "client/job/0.", (0,), (50,), None, None, "", begun_s=1.0)
    pipeline.push(order.upload, np.zeros((50, 32, 32, 3), np.uint8), order)
    clock.at_s = 1.3
    pipeline.answer_end(order)
    (message,) = told
    assert message["steps"] == pytest.approx(
        {"end_received": starts_s, "end_started": starts_s, "end_done": starts_s + 0.5}
    )
    assert message["overrun_s"] == 0
