"""The Pareto front against its definition, pair by pair."""

from __future__ import annotations

from random import Random

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from hddnn.report.pareto import front

points = st.lists(st.tuples(st.integers(0, 6), st.integers(0, 6)), max_size=25)


@given(points)
def test_a_point_is_on_the_front_when_no_other_beats_it(pairs: list[tuple[int, int]]) -> None:
    seconds, accuracy = (np.array([pair[side] for pair in pairs], float) for side in (0, 1))
    beaten = [any(other[0] <= s and other[1] >= a and other != (s, a) for other in pairs) for s, a in pairs]
    assert front(seconds, accuracy).tolist() == [not was for was in beaten]


@given(points, st.randoms())
def test_the_order_does_not_matter(pairs: list[tuple[int, int]], random: Random) -> None:
    seconds, accuracy = (np.array([pair[side] for pair in pairs], float) for side in (0, 1))
    order = np.array(random.sample(range(len(pairs)), len(pairs)), int)
    assert front(seconds[order], accuracy[order]).tolist() == front(seconds, accuracy)[order].tolist()


def test_what_is_not_known_is_not_on_it() -> None:
    seconds = np.array([1.0, np.nan, np.inf, 0.5])
    assert front(seconds, np.array([0.5, 0.9, 0.9, np.nan])).tolist() == [True, False, False, False]
