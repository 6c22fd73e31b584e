"""Batches answered per second, by tier."""

from __future__ import annotations

from hddnn.dashboard.look import TIER_COLOURS, TIER_DASHES
from hddnn.dashboard.meter import Meter
from hddnn.dashboard.rates import Line, RatesChart
from hddnn.system.topology import TIERS


class FlowChart(RatesChart):
    """A line for each tier."""

    title = "Batches flowing"

    def __init__(self, meter: Meter) -> None:
        lines = {tier: Line(tier, TIER_COLOURS[tier], TIER_DASHES[tier]) for tier in TIERS}
        super().__init__(meter, meter.flow, "flow", "batches answered per second", lines)
