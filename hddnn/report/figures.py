"""Figures of scenarios' cubes, as the page and the scenario scripts show them.

Lines are medians over repeats, bands reach from the least to the most. Colours are Okabe and Ito's; line styles
and markers tell the same apart in grey.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from hddnn.policies import style_of
from hddnn.report.origins import origin
from hddnn.report.pareto import front
from hddnn.results import plots

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

SIZE = (7.2, 4.8)  # inch


def _drawing() -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, layout="constrained")
    return figure, figure.subplots()


def _two_levels(both: bool) -> tuple[Figure, Axes, Axes]:
    """Return a figure with axes for fine answers and, where there are coarse ones alone, others below for these.

    A share of right answers among 100 classes and one among 20 are no scale.
    """
    if not both:
        figure, axes = _drawing()
        return figure, axes, axes
    from matplotlib.figure import Figure

    figure = Figure(figsize=SIZE, layout="constrained")
    upper, below = figure.subplots(2, sharex=True, height_ratios=(3, 1))
    return figure, upper, below


def _schemes(cube: xr.Dataset) -> list[str]:
    return [str(name) for name in cube.scheme.values]


def _line(axes: Axes, x: np.ndarray, rows: xr.DataArray, label: str, style: tuple[Any, ...]) -> None:
    """Draw a median with its band; rows: one dim beside repeat. style: colour, line style, marker."""
    colour, line, marker = style[:3]
    finite = rows.where(~(rows == np.inf).any("repeat"))
    axes.plot(
        x,
        _median(rows),
        color=colour,
        ls=line,
        marker=marker,
        ms=6.5,
        lw=2.2,
        mec="black",
        mew=0.6,
        label=label,
    )
    if rows.sizes["repeat"] > 1:
        axes.fill_between(x, finite.min("repeat"), finite.max("repeat"), color=colour, alpha=0.25, lw=0)


def _median(rows: xr.DataArray) -> xr.DataArray:
    """Return the median over repeats of those that were measured; NaN where one of them is infinite."""
    middle = rows.median("repeat")
    return middle.where(~(rows == np.inf).any("repeat"))


def scaling(cube: xr.Dataset) -> Figure:
    """Draw Figure 4: finish time of each scheme against end devices, the paper's formula, and the lower bound."""
    from matplotlib.lines import Line2D

    figure, axes = _drawing()
    n_end = cube.n_end.values
    for scheme in _schemes(cube):
        one, style = cube.sel(scheme=scheme), plots.style(cube, scheme)
        _line(axes, n_end, one.makespan_s, scheme, style)
        axes.plot(
            n_end, _median(one.closed_form_s), color=style[0], marker=style[2], mfc="white", ms=4, lw=0.8
        )
        axes.plot(n_end, _median(one.bound_s), color="black", ls=(0, (2, 2)), lw=0.8, zorder=3)
    plots.log_axis(axes, "y")
    axes.set_xticks(n_end)
    axes.set(xlabel="end devices", ylabel=f"finish time, {origin(cube)} (s)")
    axes.set_title("Finish time against end devices (Figure 4)")
    axes.grid(alpha=0.3)
    handles, labels = axes.get_legend_handles_labels()
    handles += [
        Line2D([], [], color="#666666", marker="o", mfc="white", ms=4, lw=0.8, label="paper's formula"),
        Line2D([], [], color="black", ls=(0, (2, 2)), lw=0.8, label="lower bound"),
    ]
    figure.legend(
        handles=handles, loc="outside lower center", ncols=len(labels), frameon=False, handlelength=3.5
    )
    return figure


def accuracies(cube: xr.Dataset) -> Figure:
    """Draw Table 3: fine accuracy of each scheme against end devices, and the paper's."""
    from matplotlib.lines import Line2D

    figure, axes = _drawing()
    n_end = cube.n_end.values
    for scheme in _schemes(cube):
        one, style = cube.sel(scheme=scheme), plots.style(cube, scheme)
        if bool(np.isfinite(one.fine_accuracy).any()):
            _line(axes, n_end, one.fine_accuracy, scheme, style)
        if bool(np.isfinite(one.paper_fine_accuracy).any()):
            axes.plot(n_end, one.paper_fine_accuracy, color=style[0], ls=style[1], marker=style[2], mfc="white",
                      ms=5, lw=0.9)  # fmt: skip
    axes.set_xticks(n_end)
    axes.set(xlabel="end devices", ylabel="fine accuracy (share of right answers)")
    axes.set_title("Fine accuracy against end devices (Table 3)")
    axes.grid(alpha=0.3)
    handles, labels = axes.get_legend_handles_labels()
    handles.append(
        Line2D([], [], color="#666666", marker="o", mfc="white", ms=5, lw=0.9, label="the paper's")
    )
    figure.legend(
        handles=handles, loc="outside lower center", ncols=len(labels) + 1, frameon=False, handlelength=3.5
    )
    return figure


def trade_points(cube: xr.Dataset) -> dict[str, np.ndarray]:
    """Return the points of the trade-off: scheme and n_end (P,), seconds and accuracy of fine answers, on_front.

    Medians over repeats; settings without fine answers, or with lost ones, are none.
    """
    seconds = _median(cube.makespan_s).transpose("scheme", "n_end").values
    accuracy = cube.fine_accuracy.median("repeat").transpose("scheme", "n_end").values
    whole = cube.lost.sum("repeat").transpose("scheme", "n_end").values == 0
    scheme, n_end = np.nonzero(np.isfinite(seconds) & np.isfinite(accuracy) & whole)
    points = {
        "scheme": cube.scheme.values[scheme],
        "n_end": cube.n_end.values[n_end],
        "seconds": seconds[scheme, n_end],
        "accuracy": accuracy[scheme, n_end],
    }
    return points | {"on_front": front(points["seconds"], points["accuracy"])}


def trade_off(cube: xr.Dataset) -> Figure:
    """Draw fine accuracy against finish time of each scheme and number of end devices, with the Pareto front.

    Schemes that answer coarsely only are hollow, at their coarse accuracy, on axes of their own below.
    """
    points = trade_points(cube)
    on = points["on_front"]
    figure, axes, below = _two_levels(any(name not in points["scheme"] for name in _schemes(cube)))
    order = np.lexsort((points["accuracy"][on], points["seconds"][on]))
    front_s, front_share = points["seconds"][on][order], points["accuracy"][on][order]
    for scheme in _schemes(cube):
        colour, _, marker, _ = plots.style(cube, scheme)
        mine = points["scheme"] == scheme
        if mine.any():
            seconds, accuracy = points["seconds"][mine], points["accuracy"][mine]
            sizes = [130 if best else 45 for best in on[mine]]
            axes.scatter(
                seconds, accuracy, sizes, color=colour, marker=marker, ec="black", lw=0.8, zorder=3, label=scheme
            )  # fmt: skip
            _reach(axes, cube.sel(scheme=scheme, n_end=points["n_end"][mine]), "fine_accuracy", colour)
        else:
            one = cube.sel(scheme=scheme)
            coarse = one.coarse_accuracy.median("repeat")
            below.scatter(
                _median(one.makespan_s), coarse, 45, facecolor="none", edgecolor=colour, marker=marker, lw=1.6,
                zorder=3, label=f"{scheme} (coarse answers)",
            )  # fmt: skip
            _reach(below, one, "coarse_accuracy", colour)
    if on.any():
        axes.step(
            front_s,
            front_share,
            where="post",
            color="black",
            lw=1.4,
            zorder=2,
            label="Pareto front, fine answers",
        )
        for number, at_s, share in zip(points["n_end"][on][order], front_s, front_share, strict=True):
            axes.annotate(
                str(number), (at_s, share), (-9, 7), textcoords="offset points", ha="center", fontsize=9
            )
    for panel, level in ((below, "coarse"), (axes, "fine")):
        panel.margins(y=0.12)
        panel.set_ylabel(f"{level} accuracy")
        panel.grid(alpha=0.3)
    plots.log_axis(below, "x")
    below.set_xlabel(f"finish time, {origin(cube)} (s)")
    axes.set_title("Accuracy against finish time; numbers: end devices on the front")
    figure.legend(loc="outside lower center", ncols=3, frameon=False)
    return figure


def _reach(axes: Axes, one: xr.Dataset, accuracy: str, colour: str) -> None:
    """Draw from the least to the most finish time and accuracy of the repeats."""
    for share, low_s, high_s, low, high in zip(
        one[accuracy].median("repeat"), one.makespan_s.min("repeat"), one.makespan_s.max("repeat"),
        one[accuracy].min("repeat"), one[accuracy].max("repeat"), strict=True,
    ):  # fmt: skip
        axes.plot([low_s, high_s], [share, share], color=colour, lw=5, alpha=0.3, zorder=1)
        middle_s = (float(low_s) * float(high_s)) ** 0.5
        axes.plot([middle_s, middle_s], [low, high], color=colour, lw=5, alpha=0.3, zorder=1)


def fault_tolerance(cube: xr.Dataset) -> Figure:
    """Draw Figure 5: finish times by failures, ours with the spread of the repeats, the paper's, and the limit.

    A point where a repeat lost answers is left out: its job did not finish.
    """
    figure, axes = _drawing()
    at = cube.failures.values
    for policy in (str(name) for name in cube.policy.values):
        colour, line, marker = style = style_of(policy)
        _line(axes, at, cube.makespan_s.sel(policy=policy), policy, style)
        theirs = cube.paper_s.sel(policy=policy)
        if np.isfinite(theirs).any():
            axes.plot(
                at, theirs.where(np.isfinite(theirs)), color=colour, marker=marker, ms=5, mfc="white", ls=line,
                lw=0.9, label=f"{policy}, the paper's",
            )  # fmt: skip
    axes.step(at, cube.limit_s, where="mid", color="black", lw=1, ls=":", label="the devices' own limit")
    plots.log_axis(axes, "y")
    axes.set_xticks(at)
    axes.set(xlabel="failing end devices", ylabel=f"finish time, {origin(cube)} (s)")
    axes.set_title("Finish time with failing devices (Figure 5); no point: answers lost")
    axes.grid(alpha=0.3)
    figure.legend(loc="outside lower center", ncols=3, frameon=False, handlelength=3.5)
    return figure


def encryption_overhead(cube: xr.Dataset) -> Figure:
    """Draw Table 5: the overhead of encoding against latency, one panel a bandwidth, beside the paper's."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(10, 4), layout="constrained")
    axes = drawing.subplots(1, cube.sizes["bandwidth"], sharey=True, squeeze=False)[0]
    middle = 100 * cube.overhead.median("repeat")
    for axis, bandwidth in zip(axes, cube.bandwidth.values, strict=True):
        for place, line in zip(cube.encode_at.values, ("-", "--"), strict=False):
            theirs = 100 * cube.paper_overhead.sel(encode_at=place)
            axis.plot(cube.latency_s, theirs, ls=line, color="grey", label=f"paper, at the {place}")
            for codec, colour, marker in zip(cube.codec.values, plots.PALETTE, "os^D", strict=False):
                ours = middle.sel(bandwidth=bandwidth, codec=codec, encode_at=place)
                axis.plot(
                    cube.latency_s,
                    ours,
                    ls=line,
                    color=colour,
                    marker=marker,
                    label=f"{codec}, at the {place}",
                )
        axis.set(xlabel="latency to the cloud (s)", title=f"bandwidth: {bandwidth}", xticks=cube.latency_s)
        axis.set_ylim(bottom=0)
        axis.grid(alpha=0.3)
    axes[0].set_ylabel("overhead of encoding (%)")
    drawing.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", frameon=False)
    return drawing
