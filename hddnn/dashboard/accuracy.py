"""Accuracy of the job so far, where the right labels are known."""

from __future__ import annotations

import numpy as np
from bokeh.models import ColumnDataSource

from hddnn.dashboard.look import STAGE_COLOURS, chart, legend_above, put
from hddnn.dashboard.meter import STAGES, Meter

DASHES = {"coarse": "dashed", "fine": "solid"}


class AccuracyChart:
    """A line for coarse and one for fine answers, over the job's time."""

    title = "Accuracy so far"

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._source = ColumnDataSource({"t": [], **{stage: [] for stage in STAGES}}, name="accuracy")
        self.root = chart(
            self.title, "time from the job's start (s)", "right answers (%)", x_range=(0, 1), y_range=(0, 105)
        )
        for stage in STAGES:
            self.root.line(
                "t", stage, source=self._source, line_width=2, legend_label=stage,
                color=STAGE_COLOURS[stage], line_dash=DASHES[stage],
            )  # fmt: skip
        legend_above(self.root)

    def update(self) -> None:
        """Show what the meter knows now."""
        work = self._meter.work
        progress = list(work.progress)
        rows = {stage: np.array([100 * one.accuracy(stage) for one in progress]) for stage in STAGES}
        put(self._source, {"t": np.array([one.at_s - work.began_s for one in progress]), **rows})
        if progress:
            self.root.x_range.end = max(1.0, progress[-1].at_s - work.began_s)
            self.root.x_range.start = progress[0].at_s - work.began_s
        shares = [
            f"{work.right[stage] / work.images[stage]:.1%} {stage}" for stage in STAGES if work.images[stage]
        ]
        self.root.title.text = f"{self.title}: {', '.join(shares) or 'no label is known'}"
