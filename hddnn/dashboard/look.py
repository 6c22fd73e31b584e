"""How all charts look, in colours that the colour-blind tell apart; and how they are brought up to date."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource
from bokeh.plotting import figure

from hddnn.dashboard.meter import Meter

#: Okabe and Ito's.
BLUE, ORANGE, GREEN, RED, PINK, SKY, GREY = (
    "#0072B2", "#E69F00", "#009E73", "#D55E00", "#CC79A7", "#56B4E9", "#666666",
)  # fmt: skip
TIER_COLOURS = {"end": BLUE, "edge": ORANGE, "cloud": PINK, "client": GREY}
TIER_DASHES = {"end": "solid", "edge": "dashed", "cloud": "dotdash", "client": "dotted"}
STAGE_COLOURS = {"coarse": SKY, "fine": RED}
#: Colour, marker and size of a device's state.
STATES: dict[str, tuple[str, str, int]] = {
    "live": (GREEN, "circle", 16),
    "busy": (BLUE, "square", 16),
    "suspect": (ORANGE, "triangle", 18),
    "dead": (RED, "x", 18),
}
HEIGHT = 260


def chart(title: str, x_label: str, y_label: str, **options: Any) -> figure:
    """Return an empty figure as all of them are."""
    made = figure(
        title=title,
        height=HEIGHT,
        sizing_mode="stretch_width",
        toolbar_location=None,
        tools="",
        x_axis_label=x_label,
        y_axis_label=y_label,
        **options,
    )
    made.title.text_font_size = "11pt"
    for axis in (*made.xaxis, *made.yaxis):
        axis.axis_label_text_font_style = "normal"
        axis.axis_label_text_font_size = "10pt"
        axis.major_label_text_font_size = "9pt"
        axis.minor_tick_line_color = None
    for grid in made.grid:
        grid.grid_line_alpha = 0.4
    made.outline_line_color = None
    made.min_border_right = 16
    return made


def since(meter: Meter, made: figure) -> None:
    """Have a figure over the time from now reach back to where there is something to show."""
    made.x_range.start = -round(meter.window_s(time.time()), 1)


def legend_above(made: figure) -> None:
    """Put a figure's legend between title and axes, where it hides nothing."""
    legend = made.legend[0]
    made.add_layout(legend, "above")
    legend.orientation, legend.border_line_color = "horizontal", None
    legend.padding = legend.margin = 0
    legend.label_text_font_size = "9pt"
    legend.spacing = 12


def put(source: ColumnDataSource, data: Mapping[str, Any]) -> None:
    """Set all of a source's columns; those that are so already are not sent."""
    old = source.data
    changed = {key: column for key, column in data.items() if not _same(old[key], column)}
    if any(len(old[key]) != len(column) for key, column in changed.items()):
        source.data = dict(data)
    elif changed:
        source.data.update(changed)


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return np.array_equal(one, other, equal_nan=True)
    return bool(one == other)
