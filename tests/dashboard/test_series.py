"""What the pages keep of the past: nothing is lost or counted twice, and nothing grows."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hddnn.dashboard.series import BIN_S, N_BINS, Flow, Histogram, Progress
from hddnn.engines.dask.client.telemetry import FIRST_BIN, LAST_BIN, response_bin

START_S = 1000.0
steps = st.lists(st.tuples(st.floats(0.01, 3), st.integers(0, 1000)), min_size=1, max_size=30)


@given(steps)
def test_what_came_within_the_window_is_all_there_once(course: list[tuple[float, int]]) -> None:
    flow, now_s = Flow(), START_S
    for span_s, amount in course:
        now_s += span_s
        flow.add("end", amount, now_s, span_s)
    later_s = now_s + 2 * BIN_S  # when the last bins are whole
    assert flow.read("end", later_s).sum() * BIN_S == pytest.approx(sum(amount for _, amount in course))


def test_an_even_stream_is_read_as_its_rate() -> None:
    flow = Flow()
    for i in range(1, 400):
        flow.add("end", 7, START_S + 0.23 * i, 0.23)
    rate = flow.read("end", START_S + 0.23 * 399)
    assert rate[-100:] == pytest.approx(7 / 0.23)
    assert len(rate) == len(Flow.ages_s()) == N_BINS - 2


def test_what_is_older_than_the_window_is_forgotten() -> None:
    flow = Flow()
    flow.add("end", 5, START_S, 1.0)
    assert flow.read("end", START_S + N_BINS * BIN_S - 3).any()
    assert not flow.read("end", START_S + N_BINS * BIN_S + 2).any()
    assert not flow.read("end", START_S + 1e6).any()
    assert not flow.read("cloud", START_S + 1e6).any()


def test_a_span_longer_than_the_window_counts_with_what_is_left_of_it() -> None:
    flow = Flow()
    flow.add("end", 1000, START_S, 10 * N_BINS * BIN_S)
    assert 0 < flow.read("end", START_S + 1).max() < 1000


@given(st.floats(1e-9, 1e9))
def test_a_response_time_is_counted_in_the_bin_that_holds_it(response_s: float) -> None:
    number = response_bin(response_s)
    assert FIRST_BIN <= number <= LAST_BIN
    histogram = Histogram()
    histogram.add([(number, 3)], 3 * response_s)
    edges_s = histogram.edges_s()
    (where,) = np.flatnonzero(histogram.counts)
    if edges_s[0] < response_s < edges_s[-1]:
        assert edges_s[where] * (1 - 1e-9) < response_s <= edges_s[where + 1] * (1 + 1e-9)
    assert histogram.n == 3


def test_quantiles_are_upper_edges() -> None:
    histogram = Histogram()
    assert np.isnan(histogram.quantile_s(0.5))
    histogram.add([(0, 60), (10, 40)], 0.0)  # 0.8 s to 1 s; 7.9 s to 10 s
    assert histogram.quantile_s(0.5) == pytest.approx(1.0)
    assert histogram.quantile_s(0.99) == pytest.approx(10.0)


def test_accuracy_is_unknown_without_labels() -> None:
    assert np.isnan(Progress(0.0, {}, {}).accuracy("fine"))
    assert Progress(0.0, {"fine": 3}, {"fine": 4}).accuracy("fine") == 0.75
