"""Emulated links and devices keep time: in order, never early, never adding up a late wake-up."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hddnn.engines.clocks import DeviceClock, LinkClock
from hddnn.errors import InputError
from hddnn.system.topology import Link

NEVER = float("-inf")  # neither in hand late nor a busy receiver

times = st.floats(0, 100, allow_subnormal=False)
sends = st.lists(st.tuples(times, st.integers(0, 10**6), times, times), min_size=1, max_size=20)
links = st.builds(
    Link,
    source=st.just("end"),
    target=st.just("edge"),
    latency_s=st.floats(0, 2, allow_subnormal=False),
    bandwidth_bps=st.none() | st.floats(1e5, 1e9),
    jitter_s=st.floats(0, 1, allow_subnormal=False),
    mode=st.sampled_from(["serial", "overlapped"]),
)


def clock(time_scale: float = 1.0, seed: int = 0, **settings: object) -> LinkClock:
    link = Link(source="end", target="cloud", **settings)  # type: ignore[arg-type]  # checked by the model
    return LinkClock(link, time_scale, np.random.default_rng(seed))


def test_overlapped_link_is_busy_for_the_transfer_alone() -> None:
    link = clock(latency_s=1.0, bandwidth_bps=8000)  # 1000 bytes: 1 s
    first = link.receive(10.0, 2000, receiver_free_s=99.0, in_hand_s=NEVER)
    second = link.receive(10.5, 1000, receiver_free_s=99.0, in_hand_s=NEVER)
    assert (first.start_s, first.arrived_s, first.queued_s, first.modelled_s) == (10.0, 13.0, 0.0, 3.0)
    assert (second.start_s, second.arrived_s, second.queued_s, second.modelled_s) == (12.0, 14.0, 1.5, 2.0)


def test_serial_link_waits_for_the_receiver() -> None:
    link = clock(latency_s=0.5, mode="serial")
    assert link.receive(1.0, 10, receiver_free_s=4.0, in_hand_s=NEVER).arrived_s == 4.5
    # The receiver was told free at 4, but is receiving until 4.5.
    assert link.receive(1.0, 10, receiver_free_s=4.0, in_hand_s=NEVER).start_s == 4.5


def test_real_movement_counts_towards_the_delay() -> None:
    link = clock(latency_s=1.0)
    assert link.receive(0.0, 10, 0.0, in_hand_s=0.4).arrived_s == 1.0
    assert link.receive(2.0, 10, 0.0, in_hand_s=3.7).arrived_s == 3.7


def test_a_payload_in_hand_late_does_not_delay_the_next_one_on_an_overlapped_link() -> None:
    link = clock(bandwidth_bps=8000)
    link.receive(0.0, 1000, 0.0, in_hand_s=1.6)
    assert link.receive(0.0, 1000, 0.0, in_hand_s=NEVER).arrived_s == 2.0


@given(link=links, sends=sends, time_scale=st.sampled_from([0.2, 1.0]), seed=st.integers(0, 5))
def test_any_link(
    link: Link, sends: list[tuple[float, int, float, float]], time_scale: float, seed: int
) -> None:
    link_clock = LinkClock(link, time_scale, np.random.default_rng(seed))
    same = LinkClock(link, time_scale, np.random.default_rng(seed))
    last_start = last_arrived = NEVER
    for sent_s, n_bytes, receiver_free_s, in_hand_s in sends:
        way = link_clock.receive(sent_s, n_bytes, receiver_free_s, in_hand_s)
        assert way == same.receive(sent_s, n_bytes, receiver_free_s, in_hand_s)  # seeded
        assert way.start_s >= max(sent_s, last_start)
        assert way.queued_s == way.start_s - sent_s
        assert way.arrived_s >= max(in_hand_s, last_arrived, way.start_s + way.modelled_s)
        fixed_s = link.latency_s + (8 * n_bytes / link.bandwidth_bps if link.bandwidth_bps else 0.0)
        assert -1e-9 <= way.modelled_s / time_scale - fixed_s <= link.jitter_s + 1e-9
        if link.mode == "serial":
            assert way.start_s >= max(receiver_free_s, last_arrived)
        last_start, last_arrived = way.start_s, way.arrived_s


def test_jitter_varies_and_never_overtakes() -> None:
    link = clock(latency_s=0.1, jitter_s=0.5)
    ways = [link.receive(0.01 * i, 10, 0.0, NEVER) for i in range(200)]
    assert np.std([way.modelled_s for way in ways]) > 0.1
    assert np.all(np.diff([way.arrived_s for way in ways]) >= 0)


def test_time_scale_shortens_modelled_times_alone() -> None:
    link = clock(time_scale=0.2, latency_s=1.0, bandwidth_bps=8000)
    way = link.receive(10.0, 1000, 0.0, NEVER)
    assert way.start_s == 10.0
    assert way.arrived_s == pytest.approx(10.4)
    assert DeviceClock(0.2).finish(10.0, 1.0, 10.1).done_s == pytest.approx(10.2)


@pytest.mark.parametrize("time_scale", [-1.0, float("nan"), float("inf")])
def test_bad_time_scale(time_scale: float) -> None:
    with pytest.raises(InputError, match="time scale is"):
        DeviceClock(time_scale)
    with pytest.raises(InputError, match="time scale is"):
        clock(time_scale)


def test_device_takes_one_step_at_a_time() -> None:
    device = DeviceClock()
    start = device.begin(5.0)
    assert start == 5.0
    assert device.finish(start, 2.0, real_finish_s=5.1).done_s == 7.0
    assert device.begin(6.0) == 7.0
    assert device.begin(8.0) == 8.0


def test_late_wake_ups_do_not_add_up() -> None:
    # Each of 100 steps is noticed 30 ms late, and truly takes 10 ms of its modelled 100 ms.
    device = DeviceClock()
    for _ in range(100):
        start = device.begin(0.0)
        done = device.finish(start, 0.1, real_finish_s=start + 0.030 + 0.010)
        assert done.overrun_s == 0
    assert done.done_s == pytest.approx(10.0)


def test_overrun_is_flagged_and_counts() -> None:
    device = DeviceClock()
    late = device.finish(device.begin(0.0), 0.1, real_finish_s=0.25)
    assert (late.done_s, late.overrun_s) == (0.25, pytest.approx(0.15))
    assert device.begin(0.0) == 0.25
    exact = device.finish(0.25, 0.5, real_finish_s=0.75)
    assert (exact.done_s, exact.overrun_s) == (0.75, 0)


def test_without_a_modelled_time_a_step_takes_what_it_takes() -> None:
    done = DeviceClock().finish(1.0, None, real_finish_s=1.3)
    assert (done.done_s, done.overrun_s) == (1.3, 0)


steps = st.lists(st.tuples(times, st.none() | st.floats(0, 2), st.floats(0, 2)), min_size=1, max_size=20)


@given(steps=steps, time_scale=st.sampled_from([0.0, 0.2, 1.0]))
def test_any_device(steps: list[tuple[float, float | None, float]], time_scale: float) -> None:
    device = DeviceClock(time_scale)
    free_s = NEVER
    for ready_s, modelled_s, real_s in steps:
        start_s = device.begin(ready_s)
        assert start_s >= max(ready_s, free_s)
        finish = device.finish(start_s, modelled_s, start_s + real_s)
        assert finish.done_s >= start_s + real_s
        assert finish.done_s >= start_s + (modelled_s or 0.0) * time_scale
        due_s = start_s + (real_s if modelled_s is None else modelled_s * time_scale)
        assert finish.overrun_s == max(0.0, start_s + real_s - due_s)
        free_s = finish.done_s
