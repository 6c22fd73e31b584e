"""The system, drawn by tier: each device with its state, queue and network, and what the links carry."""

from __future__ import annotations

import math
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import numpy as np
from bokeh.layouts import column
from bokeh.models import ColumnDataSource, HoverTool, Range1d
from bokeh.plotting import figure

from hddnn.dashboard.links import PAIRS
from hddnn.dashboard.look import GREY, STATES, chart, legend_above, put
from hddnn.dashboard.meter import DeviceView, Meter
from hddnn.dashboard.series import BIN_S
from hddnn.system.topology import TIERS

#: Of a width of 100: the tiers' names, the devices, the links.
DEVICES_FROM, DEVICES_TO = 17.0, 76.0
LINK_AT = {("end", "edge"): 91.0, ("edge", "cloud"): 91.0, ("end", "cloud"): 81.0}
ROW = 12  # devices
NARROW_ROW = 40  # without names
MOST_NAMED = 36
GAP = 0.7  # between two tiers, in rows
LEAST_WIDTH = 840
RECENT_S = 2.0
HOVER = [
    ("device", "@name (@tier)"),
    ("state", "@state"),
    ("network", "@network"),
    ("may see images", "@trust"),
    ("tasks waiting or running", "@queue"),
    ("tasks done", "@done"),
    ("last heard, s ago", "@silent_s{0.00}"),
    ("memory, MB", "@memory_mb{0}"),
]


class SystemChart:
    """The devices in rows by tier, the cloud on top; the links beside them."""

    title = "Devices and links"

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._layout: tuple[tuple[str, str], ...] = ()  # name and tier of each device that has its place
        self._place: dict[str, tuple[float, float]] = {}
        self._middle: dict[str, float] = {}
        self._devices = ColumnDataSource(_device_columns([], {}), name="devices")
        self._tiers = ColumnDataSource({"y": [], "text": []}, name="tiers")
        self._links = ColumnDataSource(
            {"x": [], "y0": [], "y1": [], "width": [], "text": [], "at": []}, name="system-links"
        )
        self._figure = chart(
            self.title, "", "", x_range=Range1d(0, 100), y_range=Range1d(0, 1), min_width=LEAST_WIDTH
        )
        self._figure.axis.visible = False
        self._figure.grid.visible = False
        self._draw(self._figure)
        # On a narrow screen it is moved sideways, and the page is not.
        self.root = column(self._figure, sizing_mode="stretch_width", styles={"overflow-x": "auto"})

    def _draw(self, root: figure) -> None:
        text = {"text_font_size": "9pt", "text_baseline": "middle"}
        root.text(x=1, y="y", text="text", source=self._tiers, **{**text, "text_font_size": "10pt"})
        root.segment("x", "y0", "x", "y1", line_width="width", color=GREY, source=self._links)
        root.scatter("x", "y1", marker="triangle", size=11, color=GREY, source=self._links)
        root.text("x", "at", text="text", source=self._links, x_offset=8, **text)
        marks = root.scatter(
            "x", "y", marker="marker", size="size", color="colour", line_width=3, source=self._devices
        )
        root.text(
            "x", "y", text="label", source=self._devices, y_offset=12, text_align="center",
            text_baseline="top", text_font_size="8pt",
        )  # fmt: skip
        root.add_tools(HoverTool(renderers=[marks], tooltips=HOVER))
        for state, (colour, marker, size) in STATES.items():
            # Out of sight: the legend has all states.
            root.scatter(
                [-10], [-10], marker=marker, color=colour, size=size - 4, line_width=2, legend_label=state
            )
        legend_above(root)

    def update(self) -> None:
        """Show what the meter knows now."""
        views = self._meter.devices()
        layout = tuple((view.name, view.tier) for view in views)
        if layout != self._layout:
            self._layout = layout
            self._arrange(views)
        put(self._devices, _device_columns(views, self._place))
        self._show_tiers(views)
        self._show_links(Counter(view.tier for view in views if view.state != "dead"))

    def _arrange(self, views: Sequence[DeviceView]) -> None:
        """Give every device its place, (x, y)."""
        self._place, self._middle = {}, {}
        in_row = ROW if len(views) <= MOST_NAMED else NARROW_ROW
        below = 0.0
        for tier in TIERS:
            names = [view.name for view in views if view.tier == tier]
            n_rows = math.ceil(len(names) / in_row)
            for row, first in enumerate(range(0, len(names), in_row)):
                part = names[first : first + in_row]
                step = (DEVICES_TO - DEVICES_FROM) / (in_row if n_rows > 1 else len(part))
                for place, name in enumerate(part):
                    x = DEVICES_FROM + (place + 0.5) * step
                    self._place[name] = x, below + n_rows - row - 0.5
            if names:
                self._middle[tier] = below + n_rows / 2
                below += n_rows + GAP
        height = max(below - GAP, 1.0)
        self._figure.y_range.update(start=-0.15, end=height + 0.1)
        self._figure.height = int(min(60 + (64 if in_row == ROW else 34) * (height + 1), 700))

    def _show_tiers(self, views: Sequence[DeviceView]) -> None:
        texts = []
        for tier in self._middle:
            own = [view for view in views if view.tier == tier]
            networks = ", ".join(dict.fromkeys(view.network for view in own if view.network))
            trust = (
                ""
                if all(view.trusted for view in own)
                else "\nsees features only"
                if not any(view.trusted for view in own)
                else "\nsome see features only"
            )
            there = sum(view.state != "dead" for view in own)
            texts.append(f"{tier}: {there} of {len(own)} live\n{networks}{trust}")
        put(self._tiers, {"y": list(self._middle.values()), "text": texts})

    def _show_links(self, counts: Counter[str]) -> None:
        known = {(link["source"], link["target"]): link for link in self._meter.links}
        now_s = time.time()
        rows: dict[str, list[Any]] = {key: [] for key in ("x", "y0", "y1", "width", "text", "at")}
        for pair in PAIRS[1:]:
            source, target = pair
            if pair not in known or source not in self._middle or target not in self._middle:
                continue
            rate = float(self._meter.traffic.read(pair, now_s)[-int(RECENT_S / BIN_S) :].mean())
            y0, y1 = self._middle[source] + 0.35, self._middle[target] - 0.35
            rows["x"].append(LINK_AT[pair])
            rows["y0"].append(y0)
            rows["y1"].append(y1)
            rows["at"].append((y0 + y1) / 2)
            rows["width"].append(5 if rate else 2)
            rows["text"].append(link_text(known[pair], rate, counts[target], self._meter.time_scale))
        put(self._links, rows)


def link_text(link: dict[str, Any], rate: float, receivers: int, time_scale: float) -> str:
    """Return what is written beside a link.

    rate: byte/s of wall time now, of all its live receivers together; the link's bandwidth is of model time.
    """
    lines = [f"{rate / 1e6:.2f} MB/s"]
    if link["bandwidth_bps"] and receivers and time_scale:
        share = 8 * rate * time_scale / (link["bandwidth_bps"] * receivers)
        lines.append(f"{share:.0%} of bandwidth")
    lines.append(f"latency {link['latency_s']:g} s")
    return "\n".join(lines)


def _device_columns(views: Sequence[DeviceView], place: dict[str, tuple[float, float]]) -> dict[str, Any]:
    named = len(views) <= MOST_NAMED
    looks = [STATES[view.state] for view in views]
    return {
        "x": [place[view.name][0] for view in views],
        "y": [place[view.name][1] for view in views],
        "name": [view.name for view in views],
        "tier": [view.tier for view in views],
        "state": [view.state for view in views],
        "network": [view.network for view in views],
        "trust": ["yes" if view.trusted else "no" for view in views],
        "queue": [view.queue for view in views],
        "done": [view.done for view in views],
        "silent_s": np.array([view.silent_s for view in views]),
        "memory_mb": [round(view.memory_bytes / 1e6) for view in views],
        "label": [f"{view.name}\nqueue {view.queue}" if named else "" for view in views],
        "colour": [colour for colour, _, _ in looks],
        "marker": [marker for _, marker, _ in looks],
        "size": [size if named else size // 2 for _, _, size in looks],
    }
