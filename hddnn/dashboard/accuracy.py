"""Accuracy of the job so far, where the right labels are known."""

from __future__ import annotations

import numpy as np
from bokeh.models import ColumnDataSource

from hddnn.dashboard.look import STAGE_COLOURS, chart, legend_above, name_entry, put
from hddnn.dashboard.meter import STAGES, Meter

DASHES = {"coarse": "dashed", "fine": "solid"}


class AccuracyChart:
    """A line for coarse and one for fine answers, over the job's time."""

    title = "Accuracy of the job so far"

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._source = ColumnDataSource({"t": [], **{stage: [] for stage in STAGES}}, name="accuracy")
        self.root = chart(
            self.title, "time from the job's start (s)", "right answers (%)", x_range=(0, 1), y_range=(0, 100)
        )
        for stage in STAGES:
            self.root.line(
                "t", stage, source=self._source, line_width=2, legend_label=stage,
                color=STAGE_COLOURS[stage], line_dash=DASHES[stage],
            )  # fmt: skip
        self._legend = legend_above(self.root)

    def update(self) -> None:
        """Show what the meter knows now."""
        work = self._meter.work
        progress = list(work.progress)
        rows = {stage: np.array([100 * one.accuracy(stage) for one in progress]) for stage in STAGES}
        put(self._source, {"t": np.array([one.at_s - work.began_s for one in progress]), **rows})
        if progress:
            self.root.x_range.end = max(1.0, progress[-1].at_s - work.began_s)
            self.root.x_range.start = progress[0].at_s - work.began_s
        for number, stage in enumerate(STAGES):
            images, right = work.images[stage], work.right[stage]
            text = f"{right / images:.1%} of {images} images" if images else "unknown"
            name_entry(self._legend, number, f"{stage}: {text}")
