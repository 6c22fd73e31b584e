"""Figures from cubes, drawn without a display; colour-blind readers and grey print can tell the schemes apart."""

from __future__ import annotations

import io
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from hddnn._util.extensions import split_options
from hddnn._util.paths import store
from hddnn.results.overruns import too_long_s
from hddnn.results.tables import bound_name, how, n_classes
from hddnn.schemes import SCHEMES, Style

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

#: Four of Okabe and Ito's colours, which the colour-blind tell apart.
PALETTE = ("#009E73", "#0072B2", "#E69F00", "#D55E00")
#: Of what is not certain, since a device took longer than modelled.
UNCERTAIN = "xxx"
#: For schemes that have no style of their own, and for the second of one name.
SPARE_STYLES = (
    Style("#CC79A7", (0, (5, 1)), "v", "\\\\"),
    Style("#56B4E9", (0, (1, 1)), "P", "++"),
    Style("#666666", "-", "X", "--"),
)
STAGES = ("coarse", "fine")


def run_figure(cube: xr.Dataset) -> Figure:
    """Draw one run: finish times against formula and bound, response times, and accuracy against time."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    figure = Figure(figsize=(14, 5.2), layout="constrained")
    axes = figure.subplot_mosaic([["finish", "response", "coarse"], ["finish", "response", "fine"]])
    _finish_times(cube, axes["finish"])
    _responses(cube, axes["response"])
    _accuracies_against_time(cube, axes["coarse"], axes["fine"])
    handles = []
    for scheme in _schemes(cube):
        colour, line, marker, _ = style(cube, scheme)
        handles.append(Line2D([], [], color=colour, ls=line, lw=2, marker=marker, mec="black", label=scheme))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, handlelength=4
    )
    given = cube.attrs
    note = "" if given["time_scale"] == 1 else "; times are model time"
    what = f"{given['topology_name']}: {given['images']} images of {given['data_set']}, all at once"
    figure.suptitle(f"{what}; {how(cube)}{note}", parse_math=False)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure as PNG (or what the suffix says). Raises HddnnError when it cannot be written."""
    picture = io.BytesIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph")  # a letter that no font here has is drawn as a box
        figure.savefig(picture, format=path.suffix.removeprefix(".") or "png", dpi=130)
    store(picture.getvalue(), path)


def style(cube: xr.Dataset, scheme: str) -> Style:
    """Return how a scheme of a cube is drawn, by its label: as its class says, where the class is known."""
    spare = 0
    taken: set[str] = set()
    for label in _schemes(cube):
        name = split_options(label)[0]
        own = SCHEMES.find(name).style if name in SCHEMES and name not in taken else None
        taken.add(name)
        if label == scheme and own is not None:
            return own
        if label == scheme:
            break
        spare += own is None
    return SPARE_STYLES[spare % len(SPARE_STYLES)]


def _schemes(cube: xr.Dataset) -> list[str]:
    return [str(scheme) for scheme in cube.scheme.values]


def _finish_times(cube: xr.Dataset, axes: Axes) -> None:
    schemes = _schemes(cube)
    at = np.arange(len(schemes))
    seconds = cube.makespan_s.values
    for place, scheme, height in zip(at, schemes, seconds, strict=True):
        colour, _, _, hatch = style(cube, scheme)
        axes.bar(place, height, width=0.6, color=colour, hatch=hatch, ec="black", lw=0.8, alpha=0.85)
    late_s = np.array([too_long_s(cube.sel(scheme=scheme)) for scheme in schemes])
    if late_s.any():
        at_least, late = np.nan_to_num(seconds - late_s), late_s > 0
        axes.bar(
            at[late],
            late_s[late],
            bottom=at_least[late],
            width=0.6,
            color="white",
            hatch=UNCERTAIN,
            ec="black",
            lw=0.8,
            label="may be too long: devices overran",
        )
    axes.plot(at, cube.closed_form_s.values, "D", color="black", ms=7, mfc="white", label="paper's formula")
    axes.hlines(cube.bound_s.values, at - 0.4, at + 0.4, color="black", lw=3, label=bound_name(cube))
    stopped = cube.interrupted.values
    axes.set_xticks(at, [f"{s}\n(stopped)" if was else s for s, was in zip(schemes, stopped, strict=True)])
    axes.set_xlim(-0.6, len(schemes) - 0.4)
    highest = np.nanmax([0.0, *seconds, *cube.closed_form_s.values, *cube.bound_s.values])
    axes.set_ylim(0, 1.25 * highest or 1.0)
    axes.set_ylabel("finish time (s)")
    axes.set_title(f"{_word(cube)} finish times")
    axes.legend(frameon=False, loc="upper right", ncols=2, handlelength=1.5, columnspacing=1.2)


def _responses(cube: xr.Dataset, axes: Axes) -> None:
    any_answer = False
    for scheme in _schemes(cube):
        row = cube.sel(scheme=scheme)
        colour, line, _, _ = style(cube, scheme)
        for stage, width in zip(STAGES, (1.2, 3.0), strict=True):
            seconds = (row[f"{stage}_s"] - row.submitted_s).values
            seconds = np.sort(seconds[seconds > 0])  # of those answered; a logarithmic axis has no 0
            if seconds.size:
                # Of all batches: a curve that ends below 1 shows those without this answer.
                share = np.arange(seconds.size + 1) / row.sizes["batch"]
                axes.step([seconds[0], *seconds], share, where="post", color=colour, ls=line, lw=width)
                any_answer = True
    axes.set_ylim(0, 1.03)
    axes.set_ylabel("share of the batches answered by then")
    axes.set_xlabel("response time, release to answer, all images at once (s)")
    axes.set_title(f"{_word(cube)} response times (thin: coarse, thick: fine)")
    _seconds_axis(axes, any_answer)


def _accuracies_against_time(cube: xr.Dataset, coarsely: Axes, finely: Axes) -> None:
    """Draw how right answers are, and when they come, each level of classes on axes of its own.

    coarsely: coarse answers, hollow, and fine ones judged by their coarse classes; finely: fine ones.
    """
    points: dict[Axes, list[tuple[float, float]]] = {coarsely: [], finely: []}
    for scheme in _schemes(cube):
        row = cube.sel(scheme=scheme)
        colour, _, marker, _ = style(cube, scheme)
        fine = float(row.fine_accuracy)
        # A scheme's last answers are the fine ones, where it has any.
        last = np.nan if np.isnan(fine) else float(row.coarse_level_accuracy)
        for axes, stage, accuracy in (
            (coarsely, "coarse", float(row.coarse_accuracy)),
            (coarsely, "fine", last),
            (finely, "fine", fine),
        ):
            answered = row[f"{stage}_s"].values
            answered = answered[~np.isnan(answered)]
            if np.isnan(accuracy) or not answered.size or np.median(answered) <= 0:
                continue
            # The median batch has its coarse answer long before the job ends.
            points[axes].append((float(np.median(answered)), accuracy))
            fill, edge = ("none", colour) if stage == "coarse" else (colour, "black")
            axes.plot(*points[axes][-1], marker, ms=10, mfc=fill, mec=edge, mew=2)
    times_s = [time_s for drawn in points.values() for time_s, _ in drawn]
    for axes, stage in ((coarsely, "coarse"), (finely, "fine")):
        shares = [share for _, share in points[axes]]
        if shares:
            # Coarse answers of all schemes come from the same network: far apart in neither way.
            low, high = min(shares), max(shares)
            room = max(0.03, 0.25 * (high - low))
            axes.set_ylim(max(0.0, low - room), min(1.02, high + room))
            axes.update_datalim([(time_s, shares[0]) for time_s in times_s])  # both begin and end alike
            axes.autoscale_view(scaley=False)
        axes.set_ylabel(f"accuracy, {n_classes(cube, stage)} classes")
        axes.grid(alpha=0.3)
        _seconds_axis(axes, bool(shares))
    finely.set_xlabel(f"median time of the answer, from job start, {cube.attrs['times']} (s)")
    finely.set_title("Fine answers by their own classes")
    coarsely.set_title("What waiting buys (hollow: coarse, filled: fine)")


def _word(cube: xr.Dataset) -> str:
    """Return what a figure's times are, as a title begins: Measured, Simulated or Predicted."""
    return str(cube.attrs["times"]).capitalize()


def _seconds_axis(axes: Axes, any_point: bool) -> None:
    """Make x logarithmic, with plain numbers."""
    if not any_point:
        axes.text(0.5, 0.5, "no answer", ha="center", va="center", transform=axes.transAxes)
        axes.set_xticks([])
        return
    log_axis(axes, "x")


def log_axis(axes: Axes, which: str) -> None:
    """Make the x or y axis logarithmic, with plain numbers at 1, 2 and 5 of each decade; when all is drawn."""
    from matplotlib.ticker import FuncFormatter, LogLocator, NullFormatter

    axes.set(**{f"{which}scale": "log"})
    axis = {"x": axes.xaxis, "y": axes.yaxis}[which]
    low, high = axis.get_view_interval()
    low, high = low / 1.15, high * 1.15
    if high / low < 4:  # so that there are ticks to read
        middle = np.sqrt(low * high)
        low, high = middle / 2, middle * 2
    axes.set(**{f"{which}lim": (low, high)})
    digits = (1.0, 2.0, 5.0) if high / low < 1e3 else (1.0,)
    axis.set_major_locator(LogLocator(subs=digits))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_formatter(NullFormatter())
