"""Figures from cubes; drawn without a display and in colours that colour-blind readers and grey print keep apart."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Okabe and Ito's palette, by scheme, each with a line style of its own.
STYLES = {
    "end": ("#009E73", ":"),
    "end-cloud": ("#0072B2", "-"),
    "end-edge": ("#E69F00", "--"),
    "mapping": ("#D55E00", "-."),
}
OTHER_STYLE = ("#666666", "-")


def run_figure(cube: xr.Dataset) -> Figure:
    """Draw one run: finish times against formula and bound, response times, and accuracy against time."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 4.6), layout="constrained")
    finish, response, trade = figure.subplots(1, 3)
    _finish_times(cube, finish)
    _responses(cube, response)
    _accuracy_against_time(cube, trade)
    scale = cube.attrs["time_scale"]
    figure.suptitle(
        f"{cube.attrs['topology_name']}: {cube.attrs['images']} images of {cube.attrs['data_set']}, "
        f"engine {cube.attrs['engine']}, compute {cube.attrs['compute']}, time scale {scale:g}"
    )
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG (or what the suffix says)."""
    figure.savefig(path, dpi=130)


def _finish_times(cube: xr.Dataset, axes: Axes) -> None:
    schemes = [str(s) for s in cube.scheme.values]
    at = np.arange(len(schemes))
    colours = [STYLES.get(s, OTHER_STYLE)[0] for s in schemes]
    axes.bar(at, cube.makespan_s.values, color=colours, width=0.6, label="measured")
    axes.plot(at, cube.closed_form_s.values, "kD", ms=7, mfc="white", label="paper's formula")
    axes.hlines(cube.bound_s.values, at - 0.38, at + 0.38, color="black", lw=2, label="lower bound")
    axes.set_xticks(at, schemes)
    axes.set_ylabel("finish time (s)")
    axes.set_title("Finish time")
    axes.legend(frameon=False)


def _responses(cube: xr.Dataset, axes: Axes) -> None:
    for scheme in cube.scheme.values:
        row = cube.sel(scheme=scheme)
        colour, style = STYLES.get(str(scheme), OTHER_STYLE)
        for stage, width in (("coarse", 1.2), ("fine", 2.6)):
            seconds = (row[f"{stage}_s"] - row.submitted_s).values
            seconds = np.sort(seconds[~np.isnan(seconds)])
            if seconds.size:
                share = np.arange(1, seconds.size + 1) / seconds.size
                label = f"{scheme}, {stage}"
                axes.step(seconds, share, where="post", color=colour, ls=style, lw=width, label=label)
    axes.set_xscale("log")
    axes.set_xlabel("response time, release to answer (s)")
    axes.set_ylabel("share of batches")
    axes.set_title("Response times (thin: coarse, thick: fine)")
    axes.legend(frameon=False, fontsize=8)


def _accuracy_against_time(cube: xr.Dataset, axes: Axes) -> None:
    for scheme in cube.scheme.values:
        row = cube.sel(scheme=scheme)
        colour, _ = STYLES.get(str(scheme), OTHER_STYLE)
        for stage, marker in (("coarse", "o"), ("fine", "s")):
            accuracy = float(row[f"{stage}_accuracy"])
            if np.isnan(accuracy):
                continue
            # The median batch has its coarse answer long before the job ends.
            seconds = float(np.nanmedian(row[f"{stage}_s"].values))
            axes.plot(seconds, accuracy, marker, color=colour, ms=10, mec="black")
            axes.annotate(
                f"{scheme}, {stage}", (seconds, accuracy), xytext=(6, 6), textcoords="offset points", fontsize=8
            )
    axes.set_xscale("log")
    axes.margins(x=0.3, y=0.15)
    axes.set_xlabel("median time of the answer from job start (s)")
    axes.set_ylabel("accuracy of the answer")
    axes.set_title("What waiting buys")
