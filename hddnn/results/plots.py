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
from hddnn.results.tables import bound_name, how
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
    finish, response, trade = figure.subplots(1, 3)
    _finish_times(cube, finish)
    _responses(cube, response)
    _accuracy_against_time(cube, trade)
    handles = []
    for scheme in _schemes(cube):
        colour, line, marker, _ = style(cube, scheme)
        handles.append(Line2D([], [], color=colour, ls=line, lw=2, marker=marker, mec="black", label=scheme))
    figure.legend(
        handles=handles, loc="outside lower center", ncols=len(handles), frameon=False, handlelength=4
    )
    given = cube.attrs
    note = "" if given["time_scale"] == 1 else "; times are model time"
    title = f"{given['topology_name']}: {given['images']} images of {given['data_set']}; {how(cube)}{note}"
    figure.suptitle(title, parse_math=False)
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
    axes.set_title(f"Finish time (bars: {cube.attrs['times']})")
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
    axes.set_xlabel("response time, release to answer (s)")
    axes.set_title("Response times (thin: coarse, thick: fine)")
    _seconds_axis(axes, any_answer)


def _accuracy_against_time(cube: xr.Dataset, axes: Axes) -> None:
    points = []
    for scheme in _schemes(cube):
        row = cube.sel(scheme=scheme)
        colour, _, marker, _ = style(cube, scheme)
        for stage in STAGES:
            accuracy = float(row[f"{stage}_accuracy"])
            answered = row[f"{stage}_s"].values
            answered = answered[~np.isnan(answered)]
            if np.isnan(accuracy) or not answered.size or np.median(answered) <= 0:
                continue
            # The median batch has its coarse answer long before the job ends.
            points.append((float(np.median(answered)), accuracy, stage))
            fill = "none" if stage == "coarse" else colour
            axes.plot(
                *points[-1][:2], marker, ms=10, mfc=fill, mec=colour if stage == "coarse" else "black", mew=2
            )
    if points:
        # Coarse answers of all schemes come from the same network: far apart in neither way.
        low, high = min(p[1] for p in points), max(p[1] for p in points)
        room = max(0.03, 0.25 * (high - low))
        axes.set_ylim(max(0.0, low - room), min(1.02, high + room))
    axes.set_ylabel("accuracy of the answer")
    axes.set_xlabel("median time of the answer, from job start (s)")
    axes.set_title("What waiting buys (hollow: coarse, filled: fine)")
    axes.grid(alpha=0.3)
    _seconds_axis(axes, bool(points))


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
