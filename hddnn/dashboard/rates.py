"""What flows per second over the last two minutes: a line for each tier, or for each pair of tiers."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from bokeh.models import ColumnDataSource

from hddnn.dashboard.look import chart, legend_above, put, since
from hddnn.dashboard.meter import Meter
from hddnn.dashboard.series import Flow


@dataclass(frozen=True)
class Line:
    """A line of a chart: what it is called, and how it looks."""

    name: str
    colour: str
    dash: str


class RatesChart:
    """A line for each of some keys of a flow; unit: what is shown as one of it."""

    title = ""

    def __init__(
        self,
        meter: Meter,
        flow: Flow,
        name: str,
        label: str,
        lines: Mapping[Any, Line],
        unit: float = 1.0,
    ) -> None:
        self._meter, self._flow, self._lines, self._unit = meter, flow, lines, unit
        self._source = ColumnDataSource(self._columns(), name=name)
        self.root = chart(self.title, "time from now (s)", label, x_range=(Flow.ages_s()[0], 0.0))
        self.root.y_range.start = 0
        for line in lines.values():
            self.root.line(
                "t", line.name, source=self._source, line_width=2, legend_label=line.name,
                color=line.colour, line_dash=line.dash,
            )  # fmt: skip
        legend_above(self.root)

    def update(self) -> None:
        """Show what the meter knows now."""
        since(self._meter, self.root)
        put(self._source, self._columns())

    def _columns(self) -> dict[str, np.ndarray]:
        now_s = time.time()
        rows = {line.name: self._flow.read(key, now_s) / self._unit for key, line in self._lines.items()}
        return {"t": Flow.ages_s(), **rows}
