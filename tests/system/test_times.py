"""Service times: so much a batch, so much an image; and what batches of two sizes tell of both."""

from __future__ import annotations

from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hddnn.system.times import ServiceTime, in_turn

seconds = st.floats(0, 100, allow_subnormal=False)


def test_batches_and_their_images_count() -> None:
    time = ServiceTime(0.25, 2.0)
    assert [time.total_s(n) for n in (1, 2, 8)] == [2.25, 2.5, 4.0]
    assert time.total_s(8, n_batches=3) == 8.0
    assert time * 2 == ServiceTime(0.5, 4.0)
    assert time + ServiceTime(0.5) == ServiceTime(0.75, 2.0)
    assert ServiceTime.mean([time, ServiceTime(0.75)]) == ServiceTime(0.5, 1.0)


def test_it_is_read_in_milliseconds() -> None:
    assert str(ServiceTime(0.0021)) == "2.100 ms an image"
    assert str(ServiceTime(0.0021, 0.5)) == "500.000 ms a batch and 2.100 ms an image"


@given(seconds, seconds, st.integers(2, 1000))
def test_what_is_affine_is_found_from_two_sizes(per_image_s: float, per_batch_s: float, n: int) -> None:
    true = ServiceTime(per_image_s, per_batch_s)
    found = ServiceTime.through({1: true.total_s(1), n: true.total_s(n)})
    for images in (1, n, 2 * n):
        assert found.total_s(images) == pytest.approx(true.total_s(images), rel=1e-6, abs=1e-9)


@given(seconds, seconds, st.integers(2, 1000))
def test_whatever_was_measured_no_part_is_negative_and_full_batches_are_as_measured(
    small_s: float, full_s: float, n: int
) -> None:
    found = ServiceTime.through({n: full_s, 1: small_s})
    assert found.seconds_per_image >= 0
    assert found.seconds_per_batch >= 0
    assert found.total_s(n) == pytest.approx(full_s)
    # The small one lies as near as the full one lets it: from the full one's share to all of it.
    nearest_s = min(max(small_s, full_s / n), full_s)
    assert found.total_s(1) == pytest.approx(nearest_s, rel=1e-6, abs=1e-9)


def test_one_size_tells_nothing_of_batches() -> None:
    assert ServiceTime.through({4: 1.0}) == ServiceTime(0.25)


def test_a_machine_that_becomes_slower_meanwhile_tilts_nothing() -> None:
    true, done = ServiceTime(0.1, 0.5), list[int]()

    def taken_s(n: int) -> float:
        """With another program on the machine, that takes a tenth more of it each time."""
        done.append(n)
        return true.total_s(n) * (1 + 0.1 * (len(done) - 1))

    taken = in_turn(taken_s, 10, 4)
    assert done == [1, 10, 10, 1, 1, 10, 10, 1]
    found = ServiceTime.through({n: median(seconds) for n, seconds in taken.items()})
    # A third slower than on a quiet machine, as it was in the middle: both parts alike.
    slower = true * 1.35
    assert found.seconds_per_image == pytest.approx(slower.seconds_per_image)
    assert found.seconds_per_batch == pytest.approx(slower.seconds_per_batch)


def test_batches_of_one_image_are_measured_once_a_round() -> None:
    assert in_turn(float, 1, 3) == {1: [1.0, 1.0, 1.0]}
