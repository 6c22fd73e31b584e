"""Tables for the terminal, from cubes, topologies and network cards."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING

import numpy as np
from rich.table import Table

from hddnn.topology import Topology
from hddnn.zoo import Card

if TYPE_CHECKING:
    import xarray as xr

NONE = "–"


def summary(cube: xr.Dataset) -> Table:
    """Return one row a scheme: times, accuracies, responses, bytes, overruns, unanswered batches."""
    table = Table(title=f"{cube.attrs['topology_name']}: {cube.attrs['images']} images, {_how(cube)}")
    table.add_column("scheme", style="bold")
    for heading in (
        "finish\ns", "paper's\nformula s", "lower\nbound s", "coarse\naccuracy", "fine\naccuracy",
        "coarse median\n(p95) s", "fine median\n(p95) s", "sent up\nMB", "overruns", "answered",
    ):  # fmt: skip
        table.add_column(heading, justify="right")
    for scheme in cube.scheme.values:
        row = cube.sel(scheme=scheme)
        done = int((row.outcome == "ok").sum())
        table.add_row(
            str(scheme),
            _number(row.makespan_s),
            _number(row.closed_form_s),
            _number(row.bound_s),
            _number(row.coarse_accuracy, 3),
            _number(row.fine_accuracy, 3),
            _spread(row.coarse_s - row.submitted_s),
            _spread(row.fine_s - row.submitted_s),
            _number(row.bytes_up.sum() / 1e6, 1) if int(row.bytes_up.sum()) else NONE,
            str(int(row.overrun.sum())),
            f"{done}/{row.sizes['batch']}",
        )
    return table


def networks(cards: Iterable[Card]) -> Table:
    """Return one row a network."""
    table = Table(title="Packaged networks")
    table.add_column("network", style="bold")
    for heading in ("answers", "parameters", "stem output", "coarse\naccuracy", "fine\naccuracy", "ms an image"):
        table.add_column(heading, justify="right")
    for card in cards:
        table.add_row(
            card.name,
            f"{len(card.labels)} {card.task}",
            f"{card.parameters:,}",
            "x".join(str(n) for n in card.stem_shape),
            _number(card.accuracy.get("coarse", float("nan")), 3),
            _number(card.accuracy.get("fine", float("nan")), 3),
            _number(card.seconds_per_image * 1e3, 3),
        )
    return table


def devices(topology: Topology) -> Table:
    """Return one row a device."""
    table = Table(title=f"{topology.name}: {len(topology.devices)} devices")
    for heading in ("device", "tier", "network", "threads", "trust", "modelled ms an image", "link from end"):
        table.add_column(heading)
    for device in topology.devices:
        modelled = device.seconds_per_image.get(device.network)
        link = topology.link("end", device.tier) if device.tier != "end" else None
        table.add_row(
            device.name,
            device.tier,
            device.network,
            str(device.threads),
            "dependable" if device.dependable else "undependable",
            "own speed" if modelled is None else f"{modelled * 1e3:g}",
            NONE if link is None else _link(link.latency_s, link.bandwidth_bps, link.mode),
        )
    return table


def _link(latency_s: float, bandwidth_bps: float | None, mode: str) -> str:
    rate = "" if bandwidth_bps is None else f", {bandwidth_bps / 1e6:g} Mbit/s"
    return f"{latency_s:g} s{rate}, {mode}"


def _how(cube: xr.Dataset) -> str:
    scale = cube.attrs["time_scale"]
    how = f"engine {cube.attrs['engine']}, compute {cube.attrs['compute']}"
    return how if scale == 1 else f"{how}, time scale {scale:g} (times are the scenario's)"


def _number(value: float | xr.DataArray, digits: int = 2) -> str:
    number = float(value)
    return NONE if np.isnan(number) else f"{number:.{digits}f}"


def _spread(values: xr.DataArray) -> str:
    present = values.values[~np.isnan(values.values)]
    if not present.size:
        return NONE
    return f"{np.median(present):.2f} ({np.quantile(present, 0.95):.2f})"
