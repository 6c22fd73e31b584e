"""Figures: every cube can be drawn, without a warning, and says what it shows."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import xarray as xr
from made_cubes import predicted, stopped, with_lost
from matplotlib.figure import Figure

from hddnn.data.datasets import Job
from hddnn.results import plots
from hddnn.schemes import SCHEMES

CASES: dict[str, Callable[[xr.Dataset], xr.Dataset]] = {
    "all": lambda cube: cube,
    "end alone": lambda cube: cube.sel(scheme=["end"]),
    "some lost": lambda cube: with_lost(cube, first=4),
    "no fine answer": lambda cube: with_lost(cube, stages=("fine",)),
    "no answer": with_lost,
    "stopped": stopped,
    "no formula": lambda cube: cube.assign(closed_form_s=cube.closed_form_s * float("nan")),
    "own schemes": lambda cube: cube.assign_coords(scheme=["end", "mine", "yours", "theirs"]),
    "days": lambda cube: cube.assign(fine_s=cube.fine_s * 1e5, makespan_s=cube.makespan_s * 1e5),
    "markup": lambda cube: cube.assign_attrs(topology_name="a $b$ [c] _d_", data_set="/x/$y"),
}


@pytest.fixture(scope="module")
def cube(small_job: Job) -> xr.Dataset:
    return predicted(small_job)


@pytest.mark.parametrize("case", list(CASES))
def test_every_cube_can_be_drawn(cube: xr.Dataset, case: str, tmp_path: Path) -> None:
    figure = plots.run_figure(CASES[case](cube))
    plots.save(figure, tmp_path / "run.png")
    assert (tmp_path / "run.png").read_bytes().startswith(b"\x89PNG")
    for axes in figure.axes:
        assert axes.get_title()
        assert axes.get_ylabel()


def drawn(cube: xr.Dataset) -> Figure:
    figure = plots.run_figure(cube)
    figure.draw_without_rendering()
    return figure


def test_the_finish_times_are_the_cubes(cube: xr.Dataset) -> None:
    bars = [patch.get_height() for patch in drawn(cube).axes[0].patches]  # type: ignore[attr-defined]
    assert bars == pytest.approx(cube.makespan_s.values.tolist())


def test_axes_of_time_have_units_and_plain_numbers(cube: xr.Dataset) -> None:
    finish, response, _, trade = drawn(cube).axes
    assert "(s)" in finish.get_ylabel()
    for axes in (response, trade):
        assert "(s)" in axes.get_xlabel()
        low, high = axes.get_xlim()
        labels = [float(label.get_text()) for label in axes.get_xticklabels() if label.get_text()]
        assert len([number for number in labels if low <= number <= high]) >= 2


def test_a_curve_reaches_the_share_that_was_answered(cube: xr.Dataset) -> None:
    response = drawn(with_lost(cube.sel(scheme=["end-edge"]), first=3)).axes[1]
    assert [line.get_ydata()[-1] for line in response.lines] == [3 / 9, 3 / 9]  # type: ignore[index]


def test_schemes_differ_in_more_than_colour() -> None:
    styles = [style for name in SCHEMES.own if (style := SCHEMES.find(name).style)]
    assert len(styles) == len(SCHEMES.own)
    for place in range(4):
        assert len({style[place] for style in styles}) == len(styles)


def test_schemes_of_one_name_and_unknown_ones_are_drawn_apart(cube: xr.Dataset) -> None:
    labels = ["mapping", "mapping:n_map=2", "night-shift", "end"]
    styles = [plots.style(cube.assign_coords(scheme=labels), label) for label in labels]
    assert len(set(styles)) == 4
    assert styles[0] == SCHEMES.find("mapping").style


def test_no_texts_collide(cube: xr.Dataset) -> None:
    figure = drawn(cube)
    for axes in figure.axes:
        for axis in (axes.xaxis, axes.yaxis):
            texts = [label for label in axis.get_ticklabels() if label.get_text() and label.get_visible()]
            inside = [axes.bbox.expanded(1.01, 1.01).x0, axes.bbox.expanded(1.01, 1.01).x1]
            boxes = [text.get_window_extent() for text in texts]
            if axis is axes.xaxis:
                boxes = [box for box in boxes if inside[0] <= (box.x0 + box.x1) / 2 <= inside[1]]
            for i, box in enumerate(boxes):
                assert not any(box.overlaps(other) for other in boxes[i + 1 :])


def test_scaled_time_is_told(cube: xr.Dataset) -> None:
    title = drawn(cube.assign_attrs(how="on trial", time_scale=0.3)).get_suptitle()
    assert "on trial" in title
    assert "model time" in title
