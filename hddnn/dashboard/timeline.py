"""Faults, what was found gone or came back, and batches that were sent again: over time, and the last in words."""

from __future__ import annotations

import time
from datetime import datetime
from html import escape

from bokeh.layouts import column
from bokeh.models import ColumnDataSource, Div, FactorRange

from hddnn.dashboard.look import BLUE, GREEN, ORANGE, RED, chart, legend_above, put, since
from hddnn.dashboard.meter import Happening, Meter, What
from hddnn.dashboard.series import Flow

#: Words, colour and marker of each.
KINDS: dict[What, tuple[str, str, str]] = {
    "left": ("found gone", ORANGE, "triangle"),
    "joined": ("is back", GREEN, "circle"),
    "resent": ("sent again", BLUE, "square"),
    "fault": ("fault made", RED, "x"),  # on top, as detection may follow at once
}
BATCHES, OTHERS = "batches", "other devices"
MOST_LANES = 12
MOST_WORDS = 10


class TimelineChart:
    """A lane for each device that something happened to in the last two minutes, and one for batches."""

    title = "Faults, detections, resubmissions"

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._shown = (-1, 0)
        self._lanes = FactorRange(factors=[BATCHES])
        figure = chart(
            self.title, "time from now (s)", "", x_range=(float(Flow.ages_s()[0]), 0.0), y_range=self._lanes
        )
        self._sources: dict[str, ColumnDataSource] = {}
        for what, (words, colour, marker) in KINDS.items():
            source = self._sources[what] = ColumnDataSource(
                {"t": [], "lane": [], "size": [], "at": []}, name=f"timeline-{what}"
            )
            look = {"marker": marker, "color": colour, "line_width": 2}
            figure.scatter("t", "lane", source=source, size="size", alpha=0.8, **look)
            # Out of sight: the legend has all kinds.
            figure.scatter([1], [BATCHES], size=10, legend_label=words, **look)
        legend_above(figure)
        self._figure = figure
        self._words = Div(text="", name="happenings", sizing_mode="stretch_width")
        self.root = column(figure, self._words, sizing_mode="stretch_width")

    def update(self) -> None:
        """Show what the meter knows now."""
        now_s = time.time()
        since_s = now_s + Flow.ages_s()[0]
        recent = [one for one in self._meter.happenings if one.at_s >= since_s]
        since(self._meter, self._figure)
        if not recent and self._shown == (self._meter.totals.happenings.total(), 0):
            return
        names = list(dict.fromkeys(one.device for one in recent if one.device))
        lanes = {name: name if i < MOST_LANES else OTHERS for i, name in enumerate(names)}
        factors = [BATCHES, *dict.fromkeys(reversed(lanes.values()))]
        if self._lanes.factors != factors:
            self._lanes.factors = factors
            self._figure.height = 170 + 22 * len(factors)
        for what, source in self._sources.items():
            own = [one for one in recent if one.what == what]
            data = {
                "t": [round(one.at_s - now_s, 2) for one in own],
                "lane": [lanes.get(one.device, BATCHES) for one in own],
                "size": [min(8 + one.batches / 4, 20) if one.batches else 12 for one in own],
                "at": [one.at_s for one in own],
            }
            put(source, data)
        if self._shown[0] != self._meter.totals.happenings.total():
            self._words.text = in_words(list(self._meter.happenings))
        self._shown = self._meter.totals.happenings.total(), len(recent)


def in_words(happenings: list[Happening]) -> str:
    """Return the last happenings as a list, the newest first; one found gone says how long after its fault."""
    faults: dict[str, float] = {}
    lines = []
    for one in sorted(happenings, key=lambda one: one.at_s):  # faults are told of a little later
        words = KINDS[one.what][0]
        many = "es" if one.batches > 1 else ""
        subject = f"{one.batches} batch{many}" if one.batches else one.device
        note = f": {one.why}" if one.why else ""
        if one.what == "fault":
            faults[one.device] = one.at_s
        elif one.what == "left" and one.device in faults:
            note += f" ({max(0.0, one.at_s - faults.pop(one.device)):.2f} s after its fault)"
        clock = datetime.fromtimestamp(one.at_s).strftime("%H:%M:%S.%f")[:-4]
        lines.append(f"<li>{clock} <b>{escape(subject)}</b> {escape(words + note)}</li>")
    items = "".join(reversed(lines[-MOST_WORDS:])) or "<li>nothing so far</li>"
    return f"<ul style='margin:0;padding-left:1.2em;list-style:none'>{items}</ul>"
