"""Overruns: told by device, bounded in their effect on the finish time, and hatched in the figure."""

from __future__ import annotations

import numpy as np
import pytest
import xarray as xr
from hypothesis import given
from hypothesis import strategies as st
from made_cubes import predicted, stopped
from rich.console import Console

from hddnn.data.datasets import Dataset, Job
from hddnn.results import plots, tables
from hddnn.results.conclusions import choice
from hddnn.results.overruns import overruns, too_long_s


@pytest.fixture(scope="module")
def cube(sample: Dataset) -> xr.Dataset:
    return predicted(Job(sample, images=1000))


def late(
    cube: xr.Dataset, scheme: str, *, makespan_s: float = 1e6, **seconds: dict[int, float]
) -> xr.Dataset:
    """Return a copy where batches of a scheme overran: stage -> batch -> s; makespan_s: added to its own."""
    other = cube.copy(deep=True)
    row = cube.scheme.values.tolist().index(scheme)
    for stage, by_batch in seconds.items():
        for batch, late_s in by_batch.items():
            other[f"{stage}_overrun_s"][row, batch] = late_s
            other["overrun"][row, batch] = True
    other["makespan_s"][row] += makespan_s
    return other


def test_without_overruns_nothing_is_told(cube: xr.Dataset) -> None:
    for scheme in cube.scheme.values:
        assert overruns(cube.sel(scheme=scheme)) == []
        assert too_long_s(cube.sel(scheme=scheme)) == 0


def test_devices_are_told_with_the_longest_first(cube: xr.Dataset) -> None:
    # Of 20 batches, end-1 has 0, 8 and 16, and the cloud all.
    one = late(cube, "end-cloud", coarse={0: 0.5, 8: 0.25}, fine={3: 2.0}).sel(scheme="end-cloud")
    cloud, end = overruns(one)
    assert (cloud.device, cloud.overran, cloud.batches, cloud.total_s) == ("cloud", 1, 20, 2.0)
    assert (end.device, end.overran, end.batches, end.total_s) == ("end-1", 2, 3, 0.75)


def test_a_finish_time_is_too_long_by_what_its_worst_way_is_late(cube: xr.Dataset) -> None:
    # end-1 feeds edge-1, end-2 edge-2: their lateness does not add up.
    two = late(cube, "end-edge", coarse={0: 0.5, 1: 0.75}, fine={0: 1.0, 1: 0.125}).sel(scheme="end-edge")
    assert too_long_s(two) == 1.5
    assert too_long_s(late(cube, "end", coarse={0: 0.5, 8: 0.5}).sel(scheme="end")) == 1.0


def test_no_finish_time_is_too_long_by_more_than_it_is_above_the_bound(cube: xr.Dataset) -> None:
    one = late(cube, "end-cloud", makespan_s=0.0, fine={3: 500.0}).sel(scheme="end-cloud")
    assert too_long_s(one) == pytest.approx(float(one.makespan_s - one.bound_s))
    other = one.assign(outcome=one.outcome.copy(data=["lost"] * 20))
    assert too_long_s(other) == 500  # the bound is of the whole job


@given(
    st.lists(st.floats(0, 10), min_size=20, max_size=20), st.lists(st.floats(0, 10), min_size=20, max_size=20)
)
def test_too_long_is_between_the_longest_and_all(
    cube: xr.Dataset, end: list[float], upper: list[float]
) -> None:
    one = late(cube, "end-edge", coarse=dict(enumerate(end)), fine=dict(enumerate(upper))).sel(
        scheme="end-edge"
    )
    assert max([*end, *upper]) <= too_long_s(one) * (1 + 1e-9)
    assert too_long_s(one) <= (sum(end) + sum(upper)) * (1 + 1e-9)


def test_a_cube_that_does_not_say_by_how_much_tells_of_no_device(cube: xr.Dataset) -> None:
    one = (
        late(cube, "end", coarse={0: 0.5}).sel(scheme="end").drop_vars(["coarse_overrun_s", "fine_overrun_s"])
    )
    assert overruns(one) == []
    assert too_long_s(one) == 0


def test_the_table_and_the_choice_name_devices(cube: xr.Dataset) -> None:
    slow = late(cube, "end-cloud", fine=dict.fromkeys(range(20), 0.5))
    console = Console(width=100, color_system=None)
    with console.capture() as capture:
        console.print(tables.summary(slow))
    assert "end-cloud: too long by 10.0 s at most: cloud (20 of 20 batches, 10.0 s)." in capture.get()
    assert (
        "The times of end-cloud are not compared: this machine was slower than the modelled devices (cloud)."
        in (list(choice(slow)))
    )


def test_of_many_devices_the_worst_are_named(cube: xr.Dataset) -> None:
    slow = late(cube, "end", coarse={batch: 1.0 + batch for batch in range(8)})
    console = Console(width=200, color_system=None)
    with console.capture() as capture:
        console.print(tables.summary(slow))
    told = next(line for line in capture.get().splitlines() if "too long by" in line)
    assert told.count("batches") == 3
    assert "end-8 (1 of 2 batches, 8.00 s)" in told
    assert "and 5 more" in told


def hatched(cube: xr.Dataset) -> list[tuple[float, float]]:
    """Return bottom and height of what the figure shows as uncertain."""
    bars = plots.run_figure(cube).axes[0].patches
    return [(bar.get_y(), bar.get_height()) for bar in bars if bar.get_hatch() == plots.UNCERTAIN]  # type: ignore[attr-defined]


def test_what_may_be_too_long_is_hatched(cube: xr.Dataset) -> None:
    assert hatched(cube) == []
    slow = late(cube, "end-cloud", makespan_s=10.0, fine=dict.fromkeys(range(20), 0.5))
    above = float(slow.makespan_s.sel(scheme="end-cloud"))
    assert hatched(slow) == [(pytest.approx(above - 10), pytest.approx(10))]
    both = late(stopped(slow), "mapping", coarse={0: 1.0})
    assert len(hatched(both)) == 2
    assert np.isfinite(np.array(hatched(both))).all()
