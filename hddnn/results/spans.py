"""Who was busy when: the timestamps of a run's cube as spans of time on devices and links.

A link is one receiving device's from one tier, `end > edge-1`. Kinds of spans:

  coarse, fine   a device classifies
  encode         a device makes features, as far as that comes after the coarse answer
  receive        a device is busy receiving: over a serial link, from when it is free and the payload is sent
  link           a link is taken: a serial one until the arrival, an overlapped one for 8 bytes / bandwidth, and
                 one that the topology does not model, so a real one, from sending to arrival
  latency        the rest of a payload's way over an overlapped link, which others may share

Work whose answer was dropped or never came left no timestamps and is not here.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
import yaml

from hddnn._util import yaml12
from hddnn.errors import TopologyError, first_line
from hddnn.results.transfers import CLIENT
from hddnn.system.devices import Link
from hddnn.system.topology import Topology

if TYPE_CHECKING:
    import xarray as xr

KINDS = ("coarse", "encode", "receive", "fine", "link", "latency")
WORK = ("coarse", "encode", "fine")


@dataclass(frozen=True, eq=False)
class Spans:
    """S spans.

    row, kind: str (S,), a device or link and what it does; batch: int (S,); start_s, end_s: float (S,).
    """

    row: np.ndarray
    kind: np.ndarray
    batch: np.ndarray
    start_s: np.ndarray
    end_s: np.ndarray

    def of(self, row: str, kinds: Collection[str] = KINDS) -> Spans:
        """Return those of a row and some kinds."""
        at = self._by_row.get(row, np.array([], int))
        at = at[np.isin(self.kind[at], list(kinds))]
        return Spans(self.row[at], self.kind[at], self.batch[at], self.start_s[at], self.end_s[at])

    def covered_s(self, until_s: float) -> float:
        """Return for how many seconds of 0 to until_s there is at least one of them."""
        return covered_s(self.start_s, self.end_s, until_s)

    @cached_property
    def _by_row(self) -> dict[str, np.ndarray]:
        return places(self.row)


def own_speed(cube: xr.Dataset) -> bool:
    """Return whether a device of a cube's topology has no modelled time for its network.

    Its time is then a measured or a card's one: what a plan takes at least is a prediction, which a run may beat.
    """
    if "own_speed" in cube.attrs:
        return bool(cube.attrs["own_speed"])
    return any(device.service_time is None for device in topology_of(cube).devices)


def topology_of(cube: xr.Dataset) -> Topology:
    """Return the topology of a run's cube. Raises TopologyError."""
    try:
        data = yaml12.load(cube.attrs["topology"])
    except yaml.YAMLError as error:
        raise TopologyError(f"no YAML: {first_line(error)}") from None
    if not isinstance(data, dict):
        raise TopologyError("no topology: the YAML is no mapping")
    return Topology.from_dict(data, where="the cube's topology")


def places(names: np.ndarray) -> dict[str, np.ndarray]:
    """Return by name where it stands, ascending; names: str (N,)."""
    order = np.argsort(names, kind="stable")
    found, first = np.unique(names[order], return_index=True)
    return dict(zip(found.tolist(), np.split(order, first[1:]), strict=True)) if names.size else {}


def covered_s(start_s: np.ndarray, end_s: np.ndarray, until_s: float) -> float:
    """Return for how many seconds of 0 to until_s there is at least one of some spans; (S,) each."""
    start_s, end_s = np.clip(start_s, 0, until_s), np.clip(end_s, 0, until_s)
    order = np.argsort(start_s, kind="stable")
    start_s, end_s = start_s[order], end_s[order]
    reached_s = np.concatenate(([0.0], np.maximum.accumulate(end_s)[:-1])) if end_s.size else end_s
    return float(np.maximum(end_s - np.maximum(start_s, reached_s), 0.0).sum())


def link_name(source_tier: str, receiver: str) -> str:
    """Return the name of a receiving device's link from a tier."""
    return f"{source_tier} > {receiver}"


@dataclass(slots=True)
class _Hop:
    """One payload's way to a device: let go of at sent_s, there at received_s, done with at free_s."""

    batch: int
    receiver: str
    tier: str
    sent_s: float
    n_bytes: float
    received_s: float
    free_s: float
    only_encodes: bool = False


class _Rows:
    def __init__(self) -> None:
        self.rows: list[tuple[str, str, int, float, float]] = []

    def add(self, row: str, kind: str, batch: int, start_s: float, end_s: float) -> None:
        if end_s > start_s:  # so that NaN is none, either
            self.rows.append((row, kind, batch, start_s, end_s))

    def spans(self) -> Spans:
        row, kind, batch, start_s, end_s = zip(*self.rows, strict=True) if self.rows else ((),) * 5
        return Spans(
            np.array(row, str), np.array(kind, str), np.array(batch, int), np.array(start_s, float),
            np.array(end_s, float),
        )  # fmt: skip


def spans_of(cube: xr.Dataset, scheme: str, topology: Topology) -> Spans:
    """Return the spans of one scheme of a run's cube, in no particular order."""
    one = cube.sel(scheme=scheme)
    columns = {
        name: one[name].values.tolist()
        for name in (
            "end_device", "encoder_device", "upper_device", "end_started_s", "end_done_s", "upper_received_s",
            "upper_started_s", "upper_done_s",
        )
    }  # fmt: skip
    made = _Rows()
    for batch, (end, start_s, end_s) in enumerate(
        zip(columns["end_device"], columns["end_started_s"], columns["end_done_s"], strict=True)
    ):
        made.add(end, "coarse", batch, start_s, end_s)
    for batch, (upper, start_s, end_s) in enumerate(
        zip(columns["upper_device"], columns["upper_started_s"], columns["upper_done_s"], strict=True)
    ):
        made.add(upper, "fine", batch, start_s, end_s)
    tiers = {device.name: device.tier for device in topology.devices}
    _add_ways(made, _hops(made, cube, scheme, columns, tiers), topology, tiers)
    return made.spans()


def _hops(
    made: _Rows, cube: xr.Dataset, scheme: str, columns: dict[str, list], tiers: Mapping[str, str]
) -> list[_Hop]:
    """Return the ways of the payloads that led to an answer, and add what encoding took."""
    sent = cube.isel(transfer=(cube.transfer_scheme == scheme).values)
    sent = sent.isel(transfer=(~sent.transfer_refused & (sent.transfer_source != CLIENT)).values)
    names = ("batch", "source", "target", "at_s", "n_bytes", "encode_s")
    payloads = list(zip(*(sent[f"transfer_{name}"].values.tolist() for name in names), strict=True))
    encoders, uppers, ends = columns["encoder_device"], columns["upper_device"], columns["end_device"]
    last: dict[tuple[int, str, str], _Hop] = {}
    encoded: dict[int, tuple[float, float]] = {}  # by batch: when a device that is no end device encoded it
    for batch, source, target, at_s, n_bytes, encode_s in payloads:
        if encode_s > 0:
            # Where a modelled time covers both, encoding during the coarse work costs the device nothing more.
            own = source == ends[batch] and np.isfinite(columns["end_done_s"][batch])
            begun_s = max(at_s - encode_s, columns["end_done_s"][batch]) if own else at_s - encode_s
            made.add(source, "encode", batch, begun_s, at_s)
        arrives_s = columns["upper_received_s"][batch]
        if source == (encoders[batch] or ends[batch]) and target == uppers[batch] and at_s <= arrives_s:
            done_s = columns["upper_done_s"][batch]
            last[batch, source, target] = _Hop(batch, target, tiers[source], at_s, n_bytes, arrives_s, done_s)
            if encoders[batch] not in ("", ends[batch]):
                encoded[batch] = (at_s - encode_s, at_s)
    for batch, source, target, at_s, n_bytes, _ in payloads:
        if batch in encoded and target == encoders[batch] and at_s <= encoded[batch][0]:
            way = (batch, target, tiers[source], at_s, n_bytes, *encoded[batch])
            last[batch, source, target] = _Hop(*way, only_encodes=True)
    return list(last.values())


def _add_ways(made: _Rows, hops: Iterable[_Hop], topology: Topology, tiers: Mapping[str, str]) -> None:
    by_receiver: dict[str, list[_Hop]] = defaultdict(list)
    for hop in hops:
        by_receiver[hop.receiver].append(hop)
    modelled: dict[tuple[str, str], Link] = {(link.source, link.target): link for link in topology.links}
    for receiver, ways in by_receiver.items():
        free_s = 0.0  # the receiver, for serial links
        link_free_s: dict[str, float] = defaultdict(float)
        for hop in sorted(ways, key=lambda hop: (hop.received_s, hop.free_s)):
            name, link = link_name(hop.tier, receiver), modelled.get((hop.tier, tiers[receiver]))
            if link is None:
                made.add(name, "link", hop.batch, hop.sent_s, hop.received_s)
            elif link.mode == "serial":
                start_s = max(hop.sent_s, free_s, link_free_s[name])
                # When a payload reached a device that only encodes it is not on record: no later than modelled.
                arrived_s = min(
                    hop.received_s, start_s + _transfer_s(link, hop) + link.latency_s + link.jitter_s
                )
                arrived_s = arrived_s if hop.only_encodes else hop.received_s
                made.add(name, "link", hop.batch, start_s, arrived_s)
                made.add(receiver, "receive", hop.batch, start_s, arrived_s)
                link_free_s[name] = arrived_s
            else:
                start_s = min(max(hop.sent_s, link_free_s[name]), hop.received_s)
                taken_s = min(start_s + _transfer_s(link, hop), hop.received_s)
                made.add(name, "link", hop.batch, start_s, taken_s)
                made.add(name, "latency", hop.batch, taken_s, hop.received_s)
                link_free_s[name] = taken_s
            free_s = max(free_s, hop.free_s)


def _transfer_s(link: Link, hop: _Hop) -> float:
    return 0.0 if link.bandwidth_bps is None else 8 * hop.n_bytes / link.bandwidth_bps
