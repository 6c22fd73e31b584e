"""Batches answered per second, by tier."""

from __future__ import annotations

import time

import numpy as np
from bokeh.models import ColumnDataSource

from hddnn.dashboard.look import TIER_COLOURS, TIER_DASHES, chart, legend_above, put, since
from hddnn.dashboard.meter import Meter
from hddnn.dashboard.series import Flow
from hddnn.topology import TIERS


class FlowChart:
    """A line for each tier over the last two minutes."""

    title = "Batches flowing"

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        ages_s = Flow.ages_s()
        self._source = ColumnDataSource({"t": ages_s, **self._rows()}, name="flow")
        self.root = chart(
            self.title, "time from now (s)", "batches answered per second", x_range=(ages_s[0], 0.0)
        )
        self.root.y_range.start = 0
        for tier in TIERS:
            self.root.line(
                "t", tier, source=self._source, line_width=2, legend_label=tier,
                color=TIER_COLOURS[tier], line_dash=TIER_DASHES[tier],
            )  # fmt: skip
        legend_above(self.root)

    def update(self) -> None:
        """Show what the meter knows now."""
        since(self._meter, self.root)
        put(self._source, {"t": Flow.ages_s(), **self._rows()})

    def _rows(self) -> dict[str, np.ndarray]:
        now_s = time.time()
        return {tier: self._meter.flow.read(tier, now_s) for tier in TIERS}
