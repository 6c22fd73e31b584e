"""What the links between the tiers carry."""

from __future__ import annotations

import time

import numpy as np
from bokeh.models import ColumnDataSource

from hddnn.dashboard.look import TIER_COLOURS, TIER_DASHES, chart, legend_above, put, since
from hddnn.dashboard.meter import Meter
from hddnn.dashboard.series import Flow

PAIRS = (("client", "end"), ("end", "edge"), ("end", "cloud"), ("edge", "cloud"))


def pair_name(source: str, target: str) -> str:
    """Return how a pair of tiers is called."""
    return f"{source} to {target}"


class LinksChart:
    """A line for each pair of tiers over the last two minutes; its colour is the sender's."""

    title = "Link use"

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        ages_s = Flow.ages_s()
        self._source = ColumnDataSource({"t": ages_s, **self._rows()}, name="links")
        self.root = chart(self.title, "time from now (s)", "payloads sent (MB/s)", x_range=(ages_s[0], 0.0))
        self.root.y_range.start = 0
        for source, target in PAIRS:
            name = pair_name(source, target)
            self.root.line(
                "t", name, source=self._source, line_width=2, legend_label=name,
                color=TIER_COLOURS[source], line_dash=TIER_DASHES[target],
            )  # fmt: skip
        legend_above(self.root)

    def update(self) -> None:
        """Show what the meter knows now."""
        since(self._meter, self.root)
        put(self._source, {"t": Flow.ages_s(), **self._rows()})

    def _rows(self) -> dict[str, np.ndarray]:
        now_s = time.time()
        return {pair_name(*pair): self._meter.traffic.read(pair, now_s) / 1e6 for pair in PAIRS}
