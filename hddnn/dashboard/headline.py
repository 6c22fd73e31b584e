"""The job and the devices in one line."""

from __future__ import annotations

from collections import Counter
from html import escape

from bokeh.models import Div

from hddnn.dashboard.look import STATES
from hddnn.dashboard.meter import Meter


class Headline:
    """What is being done, how far it is, and how many devices are there."""

    title = "Now"

    def __init__(self, meter: Meter) -> None:
        self._meter = meter
        self.root = Div(text="", name="headline", sizing_mode="stretch_width", styles={"font-size": "15px"})

    def update(self) -> None:
        """Show what the meter knows now."""
        work = self._meter.work
        parts = []
        if work.name:
            done = work.batches["answered"] + work.batches["failed"]
            of = f" of {work.n_batches}" if work.n_batches else ""
            state = "running" if work.running else "ended"
            parts.append(
                f"<b>{escape(work.scheme)}</b> ({state}): {done}{of} batches ended, "
                f"{work.batches['failed']} failed, {work.batches['resent']} sent again"
            )
        else:
            parts.append("no job so far")
        counts = Counter[str](view.state for view in self._meter.devices())
        states = ", ".join(f"{counts[state]} {state}" for state in STATES if counts[state])
        parts.append(f"devices: {states or 'none'}")
        text = " &ensp;|&ensp; ".join(parts)
        if self.root.text != text:
            self.root.text = text
