"""Devices and links over time, a row each: who was busy with what."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import numpy as np

from hddnn.results.spans import Spans, link_name, spans_of, topology_of
from hddnn.system.topology import TIERS, Topology

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.figure import Figure

#: By kind of span: what it is, a colour of Okabe and Ito's palette, light to dark in grey, and a bar's height.
STYLES = {
    "coarse": ("coarse work", "#56B4E9", 0.84),
    "fine": ("fine work", "#0072B2", 0.84),
    "encode": ("encoding", "#000000", 0.84),
    "receive": ("receiving, busy with it", "#F0E442", 0.44),
    "link": ("link taken", "#E69F00", 0.84),
    "latency": ("on its way, link free", "#DDDDDD", 0.44),
}
MOST_ROWS = 40  # of larger systems, the busiest are drawn
EDGED = 0.008  # of the axis: bars narrower than that get no edge, which would be all there is to see


def rows_of(spans: Spans, topology: Topology) -> list[str]:
    """Return the rows, from the top: each tier's devices, before an upper one its link where it was used."""
    used = set(spans.row.tolist())
    rows = []
    for tier in TIERS:
        for device in topology.tier(tier):
            links = [link_name(low, device.name) for low in TIERS[: TIERS.index(tier)]]
            rows += [name for name in links if name in used] + [device.name]
    return rows


def _busiest(rows: list[str], spans: Spans) -> list[str]:
    """Return at most MOST_ROWS of the rows, those that are busy longest, in their order."""
    if len(rows) <= MOST_ROWS:
        return rows
    taken_s = [spans.of(row).covered_s(np.inf) for row in rows]
    kept = sorted(sorted(range(len(rows)), key=lambda place: -taken_s[place])[:MOST_ROWS])
    return [rows[place] for place in kept]


def gantt(cube: xr.Dataset, scheme: str) -> Figure:
    """Draw one scheme of a run's cube; a bar a span, in collections whose gid is `row|kind`.

    Raises TopologyError.
    """
    from matplotlib.figure import Figure
    from matplotlib.patches import Patch

    topology = topology_of(cube)
    spans = spans_of(cube, scheme, topology)
    every = rows_of(spans, topology)
    rows = _busiest(every, spans)
    figure = Figure(figsize=(9, 1.5 + 0.24 * len(rows)), layout="constrained")
    axes = figure.subplots()
    makespan_s = float(cube.makespan_s.sel(scheme=scheme))
    used = []
    for place, row in enumerate(rows):
        for kind, (_, colour, height) in STYLES.items():
            some = spans.of(row, (kind,))
            if not some.row.size:
                continue
            used.append(kind)
            bars = np.stack([some.start_s, some.end_s - some.start_s], axis=1)  # (S, 2)
            made = axes.broken_barh(
                [tuple(bar) for bar in bars.tolist()], (place - height / 2, height), facecolor=colour,
                edgecolor="white" if np.median(bars[:, 1]) > EDGED * makespan_s else "none", linewidth=0.4,
            )  # fmt: skip
            made.set_gid(f"{row}|{kind}")
    for place, (row, below) in enumerate(itertools.pairwise(rows)):
        if _tier(row, topology) != _tier(below, topology):
            axes.axhline(place + 0.5, color="#666666", lw=0.8)
    if np.isfinite(makespan_s):
        axes.axvline(makespan_s, color="black", lw=1, ls=":")
    axes.set_yticks(range(len(rows)), rows)
    axes.set_ylim(len(rows) - 0.4, -0.6)
    axes.set_xlim(0, 1.01 * makespan_s if makespan_s > 0 else 1)
    axes.set_xlabel("time from job start (s)")
    axes.grid(axis="x", alpha=0.3)
    axes.set_axisbelow(True)
    which = (
        "devices and links" if rows == every else f"the busiest {len(rows)} of {len(every)} devices and links"
    )
    axes.set_title(f"{scheme}: {which} (dotted: the last answer)", parse_math=False)
    kinds = [kind for kind in STYLES if kind in used]
    handles = [Patch(facecolor=STYLES[kind][1], label=STYLES[kind][0]) for kind in kinds]
    figure.legend(handles=handles, loc="outside lower center", ncols=3, frameon=False)
    return figure


def _tier(row: str, topology: Topology) -> str:
    return topology.device(row.split(" > ")[-1]).tier
