"""The contract of engines: the same plan, the same kind of record, whatever executes it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np

from hddnn import zoo
from hddnn.engines.base import Engine, EngineOptions, Setting
from hddnn.engines.registry import ENGINES
from hddnn.errors import InputError, PlanError
from hddnn.planning.costs import CostTable
from hddnn.planning.plan import NO_DEVICE, Plan
from hddnn.policies import DEFAULT, POLICIES
from hddnn.results.records import Record
from hddnn.runtimes.prepared import prepared_answers
from hddnn.schemes import SCHEMES, make_plan
from hddnn.system.topology import Topology
from hddnn.testing.systems import small_job, small_system

#: Of float32, which is written down without compression: the sizes of payloads are then known.
CODEC = "float32"
#: What a payload says of itself takes some more, bytes.
HEADER_BYTES = 400
STEPS = (
    ("submitted", "end_received", "end_started", "end_done", "coarse"),
    ("end_done", "upper_received", "upper_started", "upper_done", "fine"),
)


def check_engine(engine: EngineOptions | type[EngineOptions] | str, topology: Topology | None = None) -> None:
    """Check that an engine keeps to the contract of `hddnn.engines.base.Engine`.

    It executes a small job under each of hddnn's schemes. Takes what these take: seconds for one that simulates.

    Args:
        engine: An object, a class, or a text such as "sim:compute=replay".
        topology: What it runs on; None for 2 end, 2 edge and 1 cloud device with modelled times, of which only the
            end devices may see images.

    Raises:
        AssertionError: It does not; the text says what is wrong, and under which scheme.
        InputError: The text stands for no engine.

    Example:
        ::

            from hddnn.testing import check_engine

            check_engine("sim")
    """
    made = ENGINES.make(engine)
    _check_class(made)
    topology = topology or small_system(
        2, 2, 1, seconds_per_image=1e-3, seconds_per_batch=5e-3, latency_s=0.02, edge_trust="undependable"
    )
    for running in _running(made, topology):
        costs = running.costs()
        for device in topology.devices:
            assert costs.service_s(device, 10) > 0, (
                f"engine {made.name}: costs knows no time for {device.name}"
            )
        for scheme in SCHEMES.own:
            plan = make_plan(scheme, topology, running.job, costs)
            told: list[tuple[str, int, bool]] = []
            record = running.execute(plan, lambda *answer, to=told: to.append(answer))
            for check in (_answered, _ordered, _sized, _transferred, _judged):
                check(record, f"engine {made.name}, scheme {scheme}")
            _check_service(record, costs, f"engine {made.name}, scheme {scheme}")
            _check_progress(plan, told, f"engine {made.name}, scheme {scheme}")
        _check_encoding_at_edges(running, f"engine {made.name}, encoding at edge devices")


def _running(engine: EngineOptions, topology: Topology) -> Iterator[Engine]:
    setting = Setting(topology, small_job(), POLICIES.make(DEFAULT), codec=CODEC)
    engine.check(setting)
    images = setting.job.data.images[: setting.job.images]
    networks = topology.networks if engine.answers == "replay" else ()
    with prepared_answers(networks, images), engine.make(setting) as running:
        yield running


def _check_class(engine: EngineOptions) -> None:
    kind = type(engine)
    assert engine.caption, f"engine {engine.name}: it has no caption, a line that says what it does"
    params = getattr(kind, "__dataclass_params__", None)
    assert params is not None, (
        f"engine {engine.name}: it is no dataclass; put @dataclass(frozen=True) before it"
    )
    assert params.frozen, f"engine {engine.name}: it can be changed; put @dataclass(frozen=True) before it"
    times = ("measured", "simulated", "predicted")
    assert engine.times in times, (
        f"engine {engine.name}: times is {engine.times!r}; say one of {', '.join(times)}"
    )
    known = ("real", "replay", "nothing", "none")
    assert engine.answers in known, (
        f"engine {engine.name}: answers is {engine.answers!r}; say one of {', '.join(known)}"
    )
    try:
        ENGINES.make(kind)
    except InputError as error:
        raise AssertionError(
            f"engine {engine.name}: it needs options: {error}; give each a default"
        ) from error


def _check_service(record: Record, costs: CostTable, what: str) -> None:
    """A device with a modelled time takes that for a batch, at least: so much a batch, and so much an image."""
    plan = record.plan
    for at, devices in (("end", plan.end), ("upper", plan.upper)):
        took_s = record.steps[f"{at}_done"] - record.steps[f"{at}_started"]
        for batch, (index, size) in enumerate(zip(devices.tolist(), plan.sizes.tolist(), strict=True)):
            device = plan.topology.devices[index]
            if index == NO_DEVICE or device.service_time is None:
                continue
            modelled_s = costs.service_s(device, size)
            assert took_s[batch] > modelled_s * (1 - 1e-6) - 1e-6, (
                f"{what}: {device.name} takes {took_s[batch]:g} s for batch {batch}, and not the {modelled_s:g} s "
                f"that costs say for its {size} images"
            )


def _answered(record: Record, what: str) -> None:
    """Each batch is answered once, exactly where the plan asks for it."""
    plan = record.plan
    assert record.complete, f"{what}: not every batch is answered in full"
    assert not record.interrupted, f"{what}: the record says that it was interrupted"
    for name, values, wanted in (
        ("attempts", record.attempts, 1),
        ("duplicates", record.duplicates, 0),
        ("wasted_s", record.wasted_s, 0),
        ("end", record.end, plan.end),
        ("upper", record.upper, plan.upper),
    ):
        assert (values == wanted).all(), f"{what}: {name} is not as planned: {_first(values != wanted)}"
    assert np.isnan(record.left_s).all(), f"{what}: a device is said to have left, and none did"
    goes_up = plan.upper >= 0
    assert not np.isnan(record.steps["coarse"]).any(), f"{what}: a coarse answer has no time"
    for step in STEPS[1][1:]:
        there = ~np.isnan(record.steps[step])
        assert (there == goes_up).all(), (
            f"{what}: {step} is not exactly of what goes up: {_first(there != goes_up)}"
        )


def _ordered(record: Record, what: str) -> None:
    """Steps follow one another, and the job ends with its last answer."""
    goes_up = record.plan.upper >= 0
    for steps, of in ((STEPS[0], np.ones(len(goes_up), bool)), (STEPS[1], goes_up)):
        for earlier, later in pairwise(steps):
            before = record.steps[earlier][of] <= record.steps[later][of] + 1e-9
            assert before.all(), f"{what}: {later} comes before {earlier}: {_first(~before)}"
    last_s = np.nanmax(np.concatenate([record.steps["coarse"], record.steps["fine"]]))
    assert record.makespan_s == last_s > 0, (
        f"{what}: makespan_s is {record.makespan_s}, the last answer at {last_s}"
    )


def _sized(record: Record, what: str) -> None:
    """What went up is as large as its payload."""
    plan, devices = record.plan, record.plan.topology.devices
    for batch, (upper, size) in enumerate(zip(plan.upper, plan.sizes, strict=True)):
        expected = 0
        if upper >= 0:
            card = zoo.bundle(devices[upper].network).card
            expected = int(size) * (card.raw_bytes if devices[upper].trusted else card.feature_bytes)
        found = int(record.bytes_up[batch])
        assert expected <= found <= expected + HEADER_BYTES, (
            f"{what}: batch {batch} sent {found} bytes up; its payload has {expected}"
        )


def _transferred(record: Record, what: str) -> None:
    """Every payload is told of once, and images went only to those who may see them."""
    plan, topology = record.plan, record.plan.topology
    expected = {(batch, "client", plan.end_device(batch).name, "images") for batch in range(plan.n_batches)}
    for batch in range(plan.n_batches):
        upper = plan.upper_device(batch)
        if upper is not None:
            kind = "images" if upper.trusted else "features"
            expected.add((batch, plan.end_device(batch).name, upper.name, kind))
    found = [(t.batch, t.source, t.target, t.kind) for t in record.transfers]
    assert len(found) == len(set(found)), f"{what}: a transfer is told of twice"
    assert set(found) == expected, f"{what}: the transfers differ in {sorted(set(found) ^ expected)[:3]}"
    for transfer in record.transfers:
        assert not transfer.refused, f"{what}: a transfer was refused: {transfer}"
        codec = CODEC if transfer.kind == "features" else ""
        assert transfer.codec == codec, (
            f"{what}: {transfer.kind} went in codec {transfer.codec!r}, not {codec!r}"
        )
        allowed = transfer.kind == "features" or topology.device(transfer.target).trusted
        assert allowed, f"{what}: images went to {transfer.target}, which may not see them"
        assert 0 <= transfer.at_s <= record.makespan_s, f"{what}: a transfer is at {transfer.at_s} s"
    up = sum(t.n_bytes for t in record.transfers if t.source != "client")
    assert up == record.bytes_up.sum(), (
        f"{what}: transfers add up to {up} bytes, bytes_up to {record.bytes_up.sum()}"
    )


def _judged(record: Record, what: str) -> None:
    """As many answers are right as the packaged networks give, or as their cards say."""
    goes_up = record.plan.upper >= 0
    assert not np.isnan(record.correct["coarse"]).any(), (
        f"{what}: a batch has no number of right coarse answers"
    )
    fine = ~np.isnan(record.correct["fine"])
    assert (fine == goes_up).all(), f"{what}: right fine answers are not exactly of what goes up"
    for stage, least, most, there in (("coarse", 0.5, 0.9, True), ("fine", 0.45, 0.95, bool(goes_up.any()))):
        share = record.accuracy(stage) if there else least
        assert least <= share <= most, f"{what}: {share:.2f} of the {stage} answers are right"


def _check_progress(plan: Plan, told: list[tuple[str, int, bool]], what: str) -> None:
    expected = []
    for batch in range(plan.n_batches):
        goes_up = plan.upper[batch] >= 0
        expected += [("coarse", batch, not goes_up), *([("fine", batch, True)] if goes_up else [])]
    differing = sorted(set(told) ^ set(expected))
    assert sorted(told) == sorted(expected), (
        f"{what}: progress is not told of each answer once: {differing[:3]}"
    )


def _check_encoding_at_edges(engine: Engine, what: str) -> None:
    """Trusted edge devices encode what goes to the cloud, where they are asked to."""
    plan: Callable[..., Any] = make_plan
    try:
        asked = plan("end-cloud", engine.topology, engine.job, engine.costs(), encode_at="edge")
    except PlanError:
        return  # none may see images
    record = engine.execute(asked)
    assert record.complete, f"{what}: not every batch is answered"
    assert (record.encoder == asked.encoder).all(), f"{what}: other devices encoded"
    names = [device.name for device in engine.topology.devices]
    for batch in range(asked.n_batches):
        way = [names[index] for index in (asked.end[batch], asked.encoder[batch], asked.upper[batch])]
        hops = {(t.source, t.target, t.kind) for t in record.transfers if t.batch == batch}
        wanted = {("client", way[0], "images"), (way[0], way[1], "images"), (way[1], way[2], "features")}
        assert hops == wanted, f"{what}: batch {batch} went {sorted(hops ^ wanted)}"


def _first(wrong: np.ndarray) -> str:
    return f"first in batch {int(np.argmax(wrong))}"
