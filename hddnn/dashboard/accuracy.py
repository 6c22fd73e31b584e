"""Accuracy of the job so far, where the right labels are known.

Coarse and fine answers are of so many classes each: a share of right ones is no scale for both.
"""

from __future__ import annotations

import numpy as np
from bokeh.layouts import column
from bokeh.models import ColumnDataSource

from hddnn.dashboard.look import HEIGHT, STAGE_COLOURS, chart, put
from hddnn.dashboard.meter import STAGES, Meter

DASHES = {"coarse": "dashed", "fine": "solid"}


class AccuracyChart:
    """Coarse answers over the job's time, and below them fine ones, on a scale of their own."""

    title = "Accuracy so far"

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self._source = ColumnDataSource({"t": [], **{stage: [] for stage in STAGES}}, name="accuracy")
        self._charts = {}
        for stage in STAGES:
            under = "time from the job's start (s)" if stage == STAGES[-1] else ""
            one = chart("", under, f"right {stage} (%)", x_range=(0, 1), y_range=(0, 105))
            one.height = HEIGHT // 2
            one.line(
                "t", stage, source=self._source, line_width=2,
                color=STAGE_COLOURS[stage], line_dash=DASHES[stage],
            )  # fmt: skip
            self._charts[stage] = one
        self.root = column(*self._charts.values(), sizing_mode="stretch_width")

    def update(self) -> None:
        """Show what the meter knows now."""
        work = self._meter.work
        progress = list(work.progress)
        rows = {stage: np.array([100 * one.accuracy(stage) for one in progress]) for stage in STAGES}
        put(self._source, {"t": np.array([one.at_s - work.began_s for one in progress]), **rows})
        for stage, one in self._charts.items():
            if progress:
                one.x_range.end = max(1.0, progress[-1].at_s - work.began_s)
                one.x_range.start = progress[0].at_s - work.began_s
            images = work.images[stage]
            share = f"{work.right[stage] / images:.1%}" if images else "no label is known"
            one.title.text = f"{self.title}, {stage} classes: {share}"
