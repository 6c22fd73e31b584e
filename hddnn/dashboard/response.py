"""How the response times of coarse and fine answers are distributed."""

from __future__ import annotations

import numpy as np
from bokeh.models import ColumnDataSource

from hddnn.dashboard.look import STAGE_COLOURS, chart, legend_above, put
from hddnn.dashboard.meter import STAGES, Meter
from hddnn.dashboard.series import Histogram

HATCHES = {"coarse": None, "fine": "/"}


class ResponseChart:
    """The share of the job's answers in each bin of response times, and the median."""

    title = "Response times"

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        edges_s = Histogram.edges_s()
        self.root = chart(
            self.title, "release to answer (s of model time)", "share of answers (%)", x_axis_type="log",
            x_range=(0.01, 100.0),
        )  # fmt: skip
        self.root.y_range.start = 0
        self._edges = {"left": edges_s[:-1], "right": edges_s[1:]}
        self._sources: dict[str, ColumnDataSource] = {}  # by stage
        for stage in STAGES:
            source = ColumnDataSource(
                {**self._edges, "share": np.zeros(len(edges_s) - 1)}, name=f"response-{stage}"
            )
            self._sources[stage] = source
            self.root.quad(
                left="left", right="right", bottom=0, top="share", source=source, legend_label=stage,
                color=STAGE_COLOURS[stage], alpha=0.6, line_color="white",
                hatch_pattern=HATCHES[stage], hatch_color="white", hatch_alpha=0.6,
            )  # fmt: skip
        legend_above(self.root)

    def update(self) -> None:
        """Show what the meter knows now."""
        filled: list[int] = []
        halves = []
        for stage in STAGES:
            histogram = self._meter.work.response[stage]
            put(self._sources[stage], {**self._edges, "share": histogram.counts / max(histogram.n, 1) * 100})
            filled += np.flatnonzero(histogram.counts).tolist()
            if histogram.n:
                halves.append(f"half of {histogram.n} {stage} within {histogram.quantile_s(0.5):.2g} s")
        self.root.title.text = f"{self.title}{': ' if halves else ''}{', '.join(halves)}"
        if filled:  # whole decades around what there is
            start = 10.0 ** float(np.floor(np.log10(self._edges["left"][min(filled)])))
            end = 10.0 ** float(np.ceil(np.log10(self._edges["right"][max(filled)])))
            self.root.x_range.update(start=start, end=end)
