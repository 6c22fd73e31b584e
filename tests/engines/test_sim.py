"""The sim engine: the plan's bound without faults, and whatever the faults, each batch ends once."""

from __future__ import annotations

from collections import Counter
from typing import Any, cast

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from simulating import MANY, ONE, assert_same, plan_of, simulate
from systems import costs_of, device, packaged_system, system, systems

from hddnn.data.datasets import Dataset, Job, load_dataset
from hddnn.engines.closed import ClosedEngine
from hddnn.engines.sim import SimEngine
from hddnn.errors import FaultError, InputError
from hddnn.planning.bounds import lower_bound_s
from hddnn.policies import FALLBACKS, POLICIES
from hddnn.schemes import ENCODERS, SCHEMES, make_plan
from hddnn.system.faults import KINDS, Fault, FaultSchedule
from hddnn.system.topology import Link, Topology

IMAGES = load_dataset()
#: What a simulated client needs for itself.
CLIENT_S = 1e-3

# ---- without faults


@pytest.mark.parametrize("scheme", list(SCHEMES.own))
@pytest.mark.parametrize("policy", list(POLICIES.own))
def test_on_the_papers_system_it_takes_the_lower_bound(sample: Dataset, scheme: str, policy: str) -> None:
    job = Job(sample, images=10_000)
    topology = Topology.load("paper")
    with SimEngine(topology, job, policy=policy, codec="float32") as engine:
        plan = make_plan(scheme, topology, job, engine.costs())
        record = engine.execute(plan)
        assert record.complete
        assert 1 - 1e-9 <= record.makespan_s / lower_bound_s(plan, engine.costs()) < 1.02
        assert_same(record, engine.execute(plan))


@given(
    systems(),
    st.sampled_from(list(SCHEMES.own)),
    st.sampled_from(ENCODERS),
    st.sampled_from(["none", "monitor"]),
)
def test_it_is_never_quicker_than_the_lower_bound(
    topology: Topology, scheme: str, encode_at: str, policy: str
) -> None:
    edges = any(d.tier == "edge" and d.trusted for d in topology.devices)
    text = "mapping:n_map=1" if scheme == "mapping" else scheme
    plan = plan_of(text, 17, topology, encode_at=encode_at if edges else "end")
    record = simulate(plan, policy=POLICIES.make(policy, deadline_s=1e6))
    assert record.complete
    assert record.makespan_s >= lower_bound_s(plan, costs_of(topology)) * (1 - 1e-9)


@settings(max_examples=10)  # each makes four engines
@given(st.floats(0, 0.01), st.floats(0, 0.5), st.integers(1, 40), st.integers(1, 12))
def test_where_nothing_waits_for_anything_it_takes_what_the_equations_say(
    per_image_s: float, per_batch_s: float, size: int, n_batches: int
) -> None:
    topology = packaged_system(1, 1, 0, seconds_per_image=per_image_s, seconds_per_batch=per_batch_s)
    job, first = (Job(IMAGES, images=size * n, batch_size=size) for n in (n_batches, 1))
    for made in (SimEngine, ClosedEngine):
        with made(topology, job, codec="float32") as engine:
            plan = make_plan("end", topology, job, engine.costs())
            end_s = engine.execute(plan).makespan_s
            assert end_s == pytest.approx(lower_bound_s(plan, engine.costs()), abs=CLIENT_S)
        assert end_s == pytest.approx(n_batches * per_batch_s + job.images * per_image_s, abs=CLIENT_S)
        with made(topology, first, codec="float32") as engine:
            record = engine.execute(make_plan("end-edge", topology, first, engine.costs()))
        assert record.makespan_s == pytest.approx(2 * (per_batch_s + size * per_image_s), abs=CLIENT_S)


def test_a_slow_device_takes_longer_for_a_batch_and_for_its_images() -> None:
    plan = plan_of("end", 4, system(device("end-0", "end", 0.001, batch_s=0.05)))
    record = simulate(plan, "slow:end-0x3@0s")
    assert record.steps["coarse"] == pytest.approx([0.3, 0.6, 0.9, 1.2], abs=CLIENT_S)


def test_encoding_takes_so_much_a_batch_too() -> None:
    end = device("end-0", "end", 0.001, batch_s=0.05, cloud_net=0.002)
    plan = plan_of("end-cloud", 2, system(end, device("cloud-0", "cloud", 0.001, batch_s=0.1, trusted=False)))
    record = simulate(plan)
    assert record.steps["coarse"] == pytest.approx([0.1, 0.35], abs=1e-3)  # 0.1 s to answer, 0.15 to encode
    assert record.encode_s == pytest.approx([0.15, 0.15])
    assert record.steps["fine"] == pytest.approx([0.25 + 0.15, 0.5 + 0.15], abs=1e-3)


def test_a_device_that_owes_many_small_batches_is_given_the_time_for_each() -> None:
    # Tasks of several batches, each of which takes 20 ms whatever is in it; 10 ms after twice that they are late.
    plan = plan_of("end", 40, system(device("end-0", "end", 0.0, batch_s=0.02)))
    record = simulate(plan, policy=POLICIES.make("reassign", timeout_s=0.01))
    assert record.complete
    assert (record.attempts == 1).all()


def test_jitter_is_the_seeds() -> None:
    link = Link(source="end", target="cloud", latency_s=0.1, jitter_s=0.5)
    plan = plan_of("end-cloud", 20, ONE.model_copy(update={"links": (link,)}))
    one, same, other = (simulate(plan, seed=seed) for seed in (1, 1, 2))
    assert_same(one, same)
    assert (one.steps["fine"] != other.steps["fine"]).any()
    added_s = one.link_emulated_s - 0.1
    assert added_s.min() >= -1e-9
    assert added_s.max() > 0.2


def test_a_coarse_answer_does_not_wait_for_the_features() -> None:
    end = device("end-0", "end", 0.001, cloud_net=0.004)
    plan = plan_of("end-cloud", 2, system(end, device("cloud-0", "cloud", 0.001, trusted=False)))
    record = simulate(plan)
    assert record.steps["coarse"] == pytest.approx([0.05, 0.3], abs=1e-3)  # 50 ms to answer, 200 to encode
    assert record.steps["fine"] == pytest.approx([0.3, 0.55], abs=1e-3)
    assert record.encode_s == pytest.approx([0.2, 0.2])


def test_the_engine_marks_what_was_interrupted(small_job: Job) -> None:
    def stop(stage: str, batch: int, ended: bool) -> None:
        raise KeyboardInterrupt

    with SimEngine(packaged_system(seconds_per_image=1e-3), small_job, codec="float32") as engine:
        record = engine.execute(make_plan("end", engine.topology, small_job, engine.costs()), stop)
    assert record.interrupted
    assert np.isfinite(record.steps["coarse"]).sum() == 1


def test_what_cannot_be_is_refused(small_job: Job) -> None:
    with pytest.raises(InputError, match="unknown compute 'real'"):
        SimEngine(packaged_system(), small_job, compute=cast(Any, "real"))
    with pytest.raises(FaultError, match="unknown device 'end-9'"):
        SimEngine(packaged_system(), small_job, faults=FaultSchedule.parse("crash:end-9"))


# ---- any faults at all


whens = st.one_of(
    st.builds(lambda s: {"at_s": s}, st.floats(0, 2.0)),
    st.builds(lambda n: {"after_tasks": n}, st.integers(1, 12)),
)


@st.composite
def schedules(draw: st.DrawFn) -> FaultSchedule:
    """Draw up to six faults of any kind, on any devices of MANY, at any time, one upon the other."""
    found = []
    for _ in range(draw(st.integers(0, 6))):
        kind: Any = draw(st.sampled_from(KINDS))
        factor = 7.0 if kind == "slow" else None
        share = draw(st.floats(0.05, 1.0)) if kind == "drop" else None
        for_s = draw(st.none() | st.floats(0.01, 2.0))
        name = draw(st.sampled_from([device.name for device in MANY.devices]))
        when: dict[str, Any] = draw(whens)
        found.append(Fault(kind=kind, device=name, for_s=for_s, factor=factor, share=share, **when))
    return FaultSchedule(faults=tuple(found), seed=draw(st.integers(0, 99)))


@settings(max_examples=300)  # milliseconds each
@given(
    schedules(),
    st.sampled_from(list(POLICIES.own)),
    st.sampled_from(list(SCHEMES.own)),
    st.sampled_from(ENCODERS),
    st.sampled_from(FALLBACKS),
)
def test_whatever_happens_every_batch_ends_once_and_the_same_way_again(
    faults: FaultSchedule, policy: str, scheme: str, encode_at: str, fallback: Any
) -> None:
    plan = plan_of(scheme, 30, MANY, encode_at=encode_at)
    ends: Counter[int] = Counter()

    def note(stage: str, batch: int, ended: bool) -> None:
        ends[batch] += ended

    chosen = POLICIES.make(policy, fallback=fallback, patience_s=0.5)
    record = simulate(plan, faults, chosen, progress=note)
    assert ends == dict.fromkeys(range(30), 1)
    last = "coarse" if scheme == "end" else "fine"
    answered = np.isfinite(record.steps[last])
    assert (record.outcome[answered] == "ok").all()
    assert (record.attempts[answered] > 0).all()
    for transfer in record.transfers:
        assert transfer.kind == "features" or MANY.device(transfer.target).trusted
    assert_same(record, simulate(plan, faults, chosen))
