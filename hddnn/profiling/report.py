"""What a profile says, as tables for the terminal."""

from __future__ import annotations

import os
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.text import Text

from hddnn.profiling.comparing import RUNS, Comparison
from hddnn.profiling.measuring import LinkTime, Measured, NetworkTime, Spread
from hddnn.results.fitting import Fitted
from hddnn.results.tables import NONE, three_digits


def batches(measured: Measured) -> str:
    """Say which batches were measured."""
    sizes = f"of 1 and of {measured.batch_size} images in turn" if measured.batch_size > 1 else "of 1 image"
    return f"batches {sizes}, {measured.rounds} rounds"


def network_cells(one: NetworkTime) -> tuple[str, str, str, str, str, str]:
    """Return device, network, ms of a full batch and their quartiles, ms a batch and an image."""
    time = one.service_time
    per_batch, per_image = (three_digits(1e3 * s) for s in (time.seconds_per_batch, time.seconds_per_image))
    return one.device, one.network, *_cells(one.full_s, 1e3), per_batch, per_image


def link_cells(link: LinkTime) -> tuple[str, str, str, str, str, str]:
    """Return the tiers, the pairs of devices, latency in ms and its quartiles, Mbit/s and their quartiles."""
    rate = ("too high", NONE) if link.bandwidth_bps is None else _cells(link.bandwidth_bps, 1e-6)
    return f"{link.source} to {link.target}", str(link.pairs), *_cells(link.latency_s, 1e3), *rate


def measured_tables(measured: Measured) -> Group:
    """Return one row a device and network, and one a pair of tiers."""
    full = f"ms for\n{measured.batch_size}"
    networks = Fitted(("device", "network", full, "quartiles", "ms a\nbatch", "+ ms an\nimage"), left=(0, 1))
    for one in measured.networks:
        networks.add_row(*network_cells(one))
    parts: list[RenderableType] = [
        Text(f"Times: {batches(measured)}", style="bold"),
        networks,
        Text(f"NETWORK:stem: encoding for a device that may not see images, in {measured.codec}."),
    ]
    if measured.links:
        links = Fitted(("link", "pairs", "latency\nms", "quartiles", "Mbit/s", "quartiles"))
        for link in measured.links:
            links.add_row(*link_cells(link))
        parts += [Text("\nLinks", style="bold"), links]
        if any(link.bandwidth_bps is None for link in measured.links):
            parts.append(
                Text("Too high: large payloads take no longer than small ones; written as unlimited.")
            )
    return Group(*parts)


def comparison_table(rows: Sequence[Comparison], images: int) -> Group:
    """Return one row a scheme: the finish time by each prediction, and measured."""
    shared = any(row.cores_s for row in rows)
    headings = ["scheme", "paper's\nformula", "lower\nbound", "simu-\nlated", "cores'\nlimit", "measured"]
    table = Fitted((*headings, "least", "most", "ratio"))
    for row in rows:
        times = [row.formula_s, row.bound_s, row.simulated_s, row.cores_s if shared else float("nan")]
        cells = [three_digits(time) for time in times]
        if row.measured_s is None:
            table.add_row(row.scheme, *cells, NONE, NONE, NONE, NONE)
            continue
        spread = row.measured_s
        cells += [three_digits(time) for time in (spread.median, spread.low, spread.high)]
        ratio = f"{spread.median / row.predicted_s:.2f}" if row.predicted_s else NONE
        table.add_row(row.scheme, *cells, ratio)
    notes = [f"Seconds; measured: median of {RUNS} runs; ratio: measured / simulated."]
    if shared:
        notes.append(f"Cores' limit: all devices share the {os.cpu_count()} cores of this machine.")
        notes.append("Where it is longer than the simulated time, the ratio is to that.")
    if any(row.measured_s is None for row in rows):
        notes.append(f"{NONE}: some batches had no answer.")
    return Group(Text(f"\nFinish time of {images} images", style="bold"), table, Text("\n".join(notes)))


def _cells(spread: Spread, factor: float) -> tuple[str, str]:
    low, high = three_digits(spread.low * factor), three_digits(spread.high * factor)
    return three_digits(spread.median * factor), f"{low} to {high}"
