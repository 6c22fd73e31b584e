"""Figures of scenarios: they show the cube's numbers, with units, and can be told apart without colour."""

from __future__ import annotations

from collections.abc import Callable

import made
import numpy as np
import pytest
import xarray as xr
from matplotlib.collections import FillBetweenPolyCollection
from matplotlib.figure import Figure

from hddnn.policies import POLICIES, SPARE_STYLE, style_of
from hddnn.report import figures
from hddnn.report.embedding import SVG_BYTES, Album

DRAWN: dict[str, tuple[Callable[[xr.Dataset], Figure], str]] = {
    "scaling": (figures.scaling, "scaling"),
    "accuracies": (figures.accuracies, "scaling"),
    "trade_off": (figures.trade_off, "scaling"),
    "fault_tolerance": (figures.fault_tolerance, "fault_tolerance"),
}


def damaged(cube: xr.Dataset) -> xr.Dataset:
    """Return a cube of one repeat where the last scheme or policy has no number."""
    one = cube.isel(repeat=[0]).copy(deep=True)
    row = {"scheme": -1} if "scheme" in one.dims else {"policy": -1}
    for name, values in one.data_vars.items():
        if next(iter(row)) in values.dims:
            one[name] = values.astype(float)
            one[name][row] = np.nan
    return one


@pytest.mark.parametrize("how", ["whole", "damaged", "one repeat"])
@pytest.mark.parametrize("name", list(DRAWN))
def test_every_cube_can_be_drawn(cubes_by_name: dict[str, xr.Dataset], name: str, how: str) -> None:
    draw, kind = DRAWN[name]
    cube = cubes_by_name[kind]
    cube = {"whole": cube, "damaged": damaged(cube), "one repeat": cube.isel(repeat=[1])}[how]
    figure = draw(cube)
    figure.draw_without_rendering()
    axes = figure.axes[0]
    assert axes.get_title()
    assert figure.axes[-1].get_xlabel()
    assert "(s)" in figure.axes[-1].get_xlabel() + axes.get_ylabel() or "share" in axes.get_ylabel()


def lines(figure: Figure) -> dict[str, np.ndarray]:
    return {str(line.get_label()): np.asarray(line.get_ydata(), float) for line in figure.axes[0].lines}


def test_figure_4_shows_medians_and_bands(cubes_by_name: dict[str, xr.Dataset]) -> None:
    cube = cubes_by_name["scaling"]
    figure = figures.scaling(cube)
    shown = lines(figure)
    for scheme in ("end", "end-cloud", "end-edge", "mapping"):
        assert shown[scheme] == pytest.approx(cube.makespan_s.sel(scheme=scheme).median("repeat").values)
    bands = [band for band in figure.axes[0].collections if isinstance(band, FillBetweenPolyCollection)]
    assert len(bands) == 4
    heights = bands[0].get_paths()[0].vertices[:, 1]
    rows = cube.makespan_s.isel(scheme=0)
    assert (heights.min(), heights.max()) == pytest.approx((float(rows.min()), float(rows.max())))


def test_policies_differ_in_colour_marker_and_line_and_one_that_is_not_here_has_a_style() -> None:
    styles = [style_of(label) for label in (*POLICIES.own, "another", "my_site.py:Wary")]
    assert styles[-2:] == [SPARE_STYLE, SPARE_STYLE]
    for place in range(3):
        assert len({str(style[place]) for style in styles}) == len(POLICIES.own) + 1
    assert style_of("monitor:timeout_s=2.0") == style_of("monitor")


def test_the_front_is_of_fine_answers(cubes_by_name: dict[str, xr.Dataset]) -> None:
    points = figures.trade_points(cubes_by_name["scaling"])
    assert "end" not in points["scheme"]
    chosen = set(
        zip(points["scheme"][points["on_front"]], points["n_end"][points["on_front"]].tolist(), strict=True)
    )
    # End-Edge with all end devices is the quickest, End-Cloud the most accurate; Mapping lies between.
    assert chosen == {("end-edge", 8), ("end-cloud", 8), *(("mapping", n) for n in (5, 6, 7, 8))}
    for at in range(len(points["seconds"])):
        beaten = (points["seconds"] <= points["seconds"][at]) & (points["accuracy"] > points["accuracy"][at])
        beaten |= (points["seconds"] < points["seconds"][at]) & (points["accuracy"] >= points["accuracy"][at])
        assert points["on_front"][at] == (not beaten.any())


def test_settings_that_lost_answers_are_no_points(cubes_by_name: dict[str, xr.Dataset]) -> None:
    cube = cubes_by_name["scaling"].copy(deep=True)
    cube["lost"].loc[{"scheme": "end-cloud", "n_end": 8, "repeat": 0}] = 1
    points = figures.trade_points(cube)
    assert ("end-cloud", 8) not in set(zip(points["scheme"], points["n_end"].tolist(), strict=True))


def test_figure_5_leaves_out_jobs_that_did_not_end() -> None:
    shown = lines(figures.fault_tolerance(made.fault_tolerance()))
    assert np.isnan(shown["none"][1:]).all()
    assert np.isnan(shown["reassign"][6])
    assert shown["monitor"][6] == pytest.approx(33.28 * 1.05)
    assert shown["reassign, the paper's"][6] == 226


def test_small_figures_are_lines_and_large_ones_pixels(cubes_by_name: dict[str, xr.Dataset]) -> None:
    album = Album()
    small = album.add(figures.scaling(cubes_by_name["scaling"]), "alt", "caption")
    assert small.url.startswith("data:image/svg+xml;base64,")
    assert len(small.url) < 1.4 * SVG_BYTES
    figure = Figure()
    figure.subplots().plot(np.random.default_rng(0).random(20_000), "o")
    assert album.add(figure, "alt", "caption").url.startswith("data:image/png;base64,")


def test_a_full_album_says_what_it_leaves_out(cubes_by_name: dict[str, xr.Dataset]) -> None:
    picture = Album(limit_bytes=1000).add(figures.scaling(cubes_by_name["scaling"]), "alt", "caption")
    assert (picture.url, picture.alt) == ("", "alt")


def test_a_figure_is_the_same_each_time(cubes_by_name: dict[str, xr.Dataset]) -> None:
    urls = {Album().add(figures.scaling(cubes_by_name["scaling"]), "a", "c").url for _ in range(2)}
    assert len(urls) == 1
