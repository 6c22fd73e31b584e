"""What the links between the tiers carry."""

from __future__ import annotations

from hddnn.dashboard.look import TIER_COLOURS, TIER_DASHES
from hddnn.dashboard.meter import Meter
from hddnn.dashboard.rates import Line, RatesChart

PAIRS = (("client", "end"), ("end", "edge"), ("end", "cloud"), ("edge", "cloud"))


class LinksChart(RatesChart):
    """A line for each pair of tiers; its colour is the sender's."""

    title = "Link use"

    def __init__(self, meter: Meter) -> None:
        lines = {
            (source, target): Line(f"{source} to {target}", TIER_COLOURS[source], TIER_DASHES[target])
            for source, target in PAIRS
        }
        super().__init__(meter, meter.traffic, "links", "payloads sent (MB/s)", lines, unit=1e6)
