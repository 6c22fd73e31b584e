"""Gantt charts: a bar for each span, a row for each device and each link that was used."""

from __future__ import annotations

from collections import Counter

import made
import pytest
import xarray as xr
from matplotlib.figure import Figure

from hddnn.data.datasets import Dataset
from hddnn.report import gantt
from hddnn.results.spans import topology_of
from hddnn.system.topology import Topology


@pytest.fixture(scope="module")
def cube(sample: Dataset) -> xr.Dataset:
    return made.predicted(sample, 1000)


def bars(figure: Figure) -> Counter[str]:
    """Return the number of bars by kind."""
    counts: Counter[str] = Counter()
    for collection in figure.axes[0].collections:
        gid = collection.get_gid()
        assert gid is not None
        counts[gid.split("|")[1]] += len(collection.get_paths())
    return counts


def test_a_bar_for_each_span(cube: xr.Dataset) -> None:
    assert bars(gantt.gantt(cube, "end")) == {"coarse": 20}
    assert bars(gantt.gantt(cube, "mapping")) == {"coarse": 20, "fine": 20, "receive": 20, "link": 20}


def test_rows_are_devices_and_the_links_in_use(cube: xr.Dataset) -> None:
    rows = [label.get_text() for label in gantt.gantt(cube, "end-cloud").axes[0].get_yticklabels()]
    assert rows == [
        *(f"end-{n}" for n in range(1, 9)),
        *(f"edge-{n}" for n in range(1, 5)),
        "end > cloud",
        "cloud",
    ]


def test_axis_has_its_unit_and_ends_with_the_job(cube: xr.Dataset) -> None:
    axes = gantt.gantt(cube, "end-edge").axes[0]
    assert axes.get_xlabel() == "time from job start (s)"
    assert axes.get_xlim()[1] == pytest.approx(1.01 * float(cube.makespan_s.sel(scheme="end-edge")))


def test_encoding_has_bars_of_its_own() -> None:
    sent = [(0, 1.2, "end", "edge", 9000, 0.2)]
    batch = made.way(0, 0, 1, 1.7, 1.7, 2, encoder="end")
    cube = made.run_by_hand(made.two_tiers(latency_s=0.5), [batch], sent, makespan_s=2)
    assert bars(gantt.gantt(cube, "mine")) == {"coarse": 1, "encode": 1, "fine": 1, "latency": 1}


def test_a_run_without_answers_can_be_drawn() -> None:
    cube = made.run_by_hand(made.two_tiers(), [made.way()])
    gantt.gantt(cube, "mine").draw_without_rendering()


def test_of_a_large_system_the_busiest_rows_are_drawn(cube: xr.Dataset) -> None:
    large = cube.assign_attrs(topology=Topology.load("paper").with_end_devices(60).to_yaml())
    assert len(topology_of(large).devices) == 65
    figure = gantt.gantt(large, "end")
    assert len(figure.axes[0].get_yticklabels()) == gantt.MOST_ROWS
    assert bars(figure) == {"coarse": 20}
    assert "busiest 40 of 65" in figure.axes[0].get_title()
