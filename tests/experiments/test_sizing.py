"""Sizes of scenarios: as large as the minutes allow, and emulated times that the machine can keep."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hddnn.experiments.sizing import (
    BUSY,
    LEAST_BATCH_S,
    USUAL_SCALE,
    Between,
    Cost,
    Sizes,
    emulated,
    fitting,
    hurried,
    rounded_up,
    sized,
)

seconds = st.floats(0.01, 1e5)
small_s = st.floats(1e-6, 10)


@given(fixed_s=st.floats(0, 10), each_s=st.floats(1e-6, 1), few=st.integers(1, 50), more=st.integers(1, 500))
def test_two_looks_give_the_cost_of_any_size(fixed_s: float, each_s: float, few: int, more: int) -> None:
    true = Cost(fixed_s, each_s)
    found = Cost.of(few, true.at(few), few + more, true.at(few + more))
    assert found.at(1000) == pytest.approx(true.at(1000), rel=1e-3)


def test_a_look_that_was_disturbed_gives_no_cost_below_nothing() -> None:
    slow_first = Cost.of(4, 2.0, 40, 1.0)
    assert slow_first == Cost(2.0, 0.0)
    slow_second = Cost.of(4, 0.001, 40, 1.0)
    assert slow_second.fixed_s == 0
    assert slow_second.at(40) == pytest.approx(1.0)


@given(allowed_s=seconds, each_s=small_s, least=st.integers(1, 10), more=st.integers(0, 1000))
def test_as_many_fit_as_there_is_time_for(allowed_s: float, each_s: float, least: int, more: int) -> None:
    count = fitting(allowed_s, each_s, least, least + more)
    assert least <= count <= least + more
    assert count == least or count * each_s <= allowed_s * (1 + 1e-9)
    assert count == least + more or (count + 1) * each_s > allowed_s * (1 - 1e-9)


@given(
    allowed_s=seconds, fixed_s=st.floats(0, 10), each_s=small_s,
    size=st.tuples(st.integers(1, 50), st.integers(0, 5000)),
    repeats=st.tuples(st.integers(1, 5), st.integers(0, 9)),
)  # fmt: skip
def test_size_comes_first_and_then_repeats(
    allowed_s: float, fixed_s: float, each_s: float, size: tuple[int, int], repeats: tuple[int, int]
) -> None:
    a_round = Cost(fixed_s, each_s)
    sizes, counts = Between(size[0], sum(size)), Between(repeats[0], sum(repeats))
    found = sized(allowed_s, a_round, sizes, counts)
    assert sizes.least <= found.size <= sizes.most
    assert counts.least <= found.repeats <= counts.most
    assert found.takes_s == pytest.approx(found.repeats * a_round.at(found.size))
    least = found.size == sizes.least and found.repeats == counts.least
    assert least or found.takes_s <= allowed_s * (1 + 1e-9)
    if found.repeats > counts.least:  # more repeats of a smaller size there are not
        assert found.size == sizes.most or counts.least * a_round.at(found.size + 1) > allowed_s * (1 - 1e-9)


def test_what_was_given_by_hand_wins() -> None:
    assert Between.of(7, 1, 100) == (7, 7)
    assert Between.of(None, 1, 100) == (1, 100)
    found = sized(1.0, Cost(0, 10.0), Between.of(500, 1, 1000), Between.of(4, 1, 9))
    assert (found.size, found.repeats) == (500, 4)


runs = st.lists(st.floats(1.0, 300.0), min_size=1, max_size=32)


@given(
    allowed_s=seconds, runs_s=runs, fixed_s=st.floats(0, 1), each_s=st.floats(1e-5, 0.05),
    batch_s=st.floats(0.05, 1), least=st.integers(1, 20), more=st.integers(0, 180), round_s=st.floats(0, 60),
)  # fmt: skip
def test_emulated_times_are_such_that_the_machine_can_keep_them(
    allowed_s: float, runs_s: list[float], fixed_s: float, each_s: float, batch_s: float, least: int, more: int,
    round_s: float,
) -> None:  # fmt: skip
    work, batches, repeats = Cost(fixed_s, each_s), Between(least, least + more), Between(3, 5)
    found = emulated(allowed_s, runs_s, work, batch_s, batches, repeats, round_s=round_s)
    shortest_s = found.time_scale * min(runs_s) * found.size / batches.most
    assert work.at(found.size) <= BUSY * shortest_s * (1 + 1e-6)
    assert found.time_scale * batch_s >= LEAST_BATCH_S * (1 - 1e-6)
    assert batches.least <= found.size <= batches.most
    assert repeats.least <= found.repeats <= repeats.most
    if found.size > batches.least:
        assert found.takes_s <= 1.1 * allowed_s  # the scale is rounded up
    if found.time_scale > USUAL_SCALE:  # no more than it must be
        needed = max(work.at(found.size) / BUSY / (shortest_s / found.time_scale), LEAST_BATCH_S / batch_s)
        assert found.time_scale <= 1.1 * needed


def test_a_machine_five_times_slower_gets_a_slower_course_and_fewer_batches_in_the_same_time() -> None:
    paper_s = [9.3, 274.0, 40.6, 137.5]

    def found(minutes: float, slow: int) -> tuple[int, int, float]:
        work = Cost(0.02 * slow, 0.0006 * slow)
        sizes = emulated(
            60 * minutes, paper_s, work, 0.26, Between(16, 200), Between(1, 3), round_s=4.0 * slow
        )
        return sizes.size, sizes.repeats, sizes.time_scale

    assert found(5, 1) == (200, 3, 0.2)
    assert found(2, 1) == (200, 1, 0.2)
    size, repeats, scale = found(2, 5)
    assert 16 < size < 50
    assert repeats == 1
    assert 1 < scale < 2
    assert found(0.1, 5) == (16, 1, 2.0)  # the least of all, which takes longer than that


def test_a_time_scale_given_by_hand_is_kept_and_batches_go_by_it() -> None:
    by_hand = emulated(60, [100.0], Cost(0.1, 0.01), 0.5, Between(10, 100), Between(1, 1), time_scale=1.0)
    assert by_hand.time_scale == 1.0
    assert by_hand.size == 60
    assert by_hand.takes_s == pytest.approx(60)


def test_who_is_in_a_hurry_gets_shorter_times_than_the_machine_can_keep() -> None:
    kept = Sizes(16, 2, 80.0, 2.0)
    assert hurried(kept, 5.0, 100.0) == kept
    assert hurried(kept, 5.0, 14.0) == Sizes(16, 2, 24.0, 0.4)


@given(value=st.floats(1e-6, 1e4))
def test_two_digits_are_enough(value: float) -> None:
    rounded = rounded_up(value)
    assert value * (1 - 1e-6) <= rounded <= 1.1001 * value
    assert float(f"{rounded:.2g}") == pytest.approx(rounded, rel=1e-9)
