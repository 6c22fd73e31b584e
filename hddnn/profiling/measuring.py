"""Measure the devices behind a scheduler, and the links between them."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations, product
from pathlib import Path
from typing import Any, Self

import numpy as np

from hddnn.data.datasets import Job
from hddnn.engines.dask.client.discovery import DiscoveredDevice, by_machine
from hddnn.engines.dask.client.engine import DaskEngine
from hddnn.engines.dask.wire.connecting import close, connect
from hddnn.engines.dask.wire.messages import PROBE, TIME, DeviceSpec
from hddnn.engines.observer import Observer
from hddnn.errors import ClusterError
from hddnn.system.times import ServiceTime
from hddnn.system.topology import STEM_SUFFIX, TIERS, Link, Tier, Topology

#: Pairs of devices that stand for a pair of tiers, at the most.
MOST_PAIRS = 12


class ProfileObserver(Observer):
    """Hear of a profile's course, too."""

    def measured(self, what: str, done: int, total: int) -> None:
        """So many of all the networks, or links, are measured."""


@dataclass(frozen=True)
class Spread:
    """A median, and the quartiles around it. Of several spreads: the median of medians, and the outermost."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float] | np.ndarray) -> Self:
        """Return the spread of some values."""
        low, median, high = np.quantile(values, [0.25, 0.5, 0.75]).tolist()
        return cls(median, low, high)

    @classmethod
    def over(cls, spreads: Sequence[Spread]) -> Self:
        """Return the spread of several."""
        median = float(np.median([spread.median for spread in spreads]))
        return cls(median, min(spread.low for spread in spreads), max(spread.high for spread in spreads))


@dataclass(frozen=True)
class NetworkTime:
    """What a device takes for a network: its own, or one's stem with which it encodes, as NETWORK:stem.

    full_s: of full batches, s.
    """

    device: str
    network: str
    full_s: Spread
    service_time: ServiceTime

    @classmethod
    def of(cls, device: str, network: str, taken: Iterable[tuple[int, Sequence[float]]]) -> Self:
        """Return it from (images in a batch, seconds by round), of one size or more."""
        spreads = {n: Spread.of(seconds) for n, seconds in taken}
        fitted = ServiceTime.through({n: spread.median for n, spread in spreads.items()})
        return cls(device, network, spreads[max(spreads)], fitted)


@dataclass(frozen=True)
class LinkTime:
    """What it takes to send from a tier up to another; pairs: of devices, that this was measured between.

    bandwidth_bps: None where larger payloads did not take longer than small ones by more than these varied.
    """

    source: Tier
    target: Tier
    pairs: int
    latency_s: Spread
    bandwidth_bps: Spread | None


@dataclass(frozen=True)
class Measured:
    """What was measured, with batches of so many images, in so many rounds; topology: the one that has it."""

    topology: Topology
    networks: tuple[NetworkTime, ...]
    links: tuple[LinkTime, ...]
    batch_size: int
    rounds: int
    codec: str


def devices(
    topology: Topology,
    job: Job,
    *,
    codec: str,
    address: str | None = None,
    tls: Path | None = None,
    wait_s: float = 0.0,
    observer: ProfileObserver,
) -> DaskEngine:
    """Return the engine, not yet entered, of a topology's devices at their own speed, with real links.

    address: where they are; by default they are started on this machine, and nothing of them is emulated. wait_s:
    seconds for which those behind the address are waited for, at most.
    """
    own = tuple(device.at_own_speed() for device in topology.devices)
    bare = Topology(**{**dict(topology), "devices": own, "links": ()})
    return DaskEngine(
        bare,
        job,
        codec=codec,
        address=address,
        tls=tls,
        wait_s=wait_s,
        awaiting=observer.awaiting,
        on_ready=observer.device_ready,
        on_change=observer.device_changed,
    )


def measure(
    engine: DaskEngine,
    topology: Topology,
    *,
    rounds: int,
    tls: Path | None = None,
    observer: ProfileObserver,
) -> Measured:
    """Measure the devices of an engine; topology: the one that gets the numbers.

    A link is written as overlapped, as real ones are, and without jitter. Raises ClusterError for a device
    that keeps to modelled times, does not reach another, or left.
    """
    try:
        return asyncio.run(_measure(engine, topology, rounds, tls, observer))
    except OSError as error:
        raise ClusterError(f"a device left while it was measured ({error}); start again") from None


async def _measure(
    engine: DaskEngine, topology: Topology, rounds: int, tls: Path | None, observer: ProfileObserver
) -> Measured:
    client = await connect(engine.scheduler_address, tls)
    try:
        discovered = engine.discovered
        for name, found in discovered.items():
            if found.service_time is None:
                raise ClusterError(f"device {name} keeps to modelled times; start it without --emulate")
        batch_size = engine.job.batch_size
        networks = await _networks(client, topology, discovered, batch_size, engine.codec, rounds, observer)
        links = await _links(client, topology, discovered, rounds, observer)
    finally:
        await close(client)
    return Measured(
        _with_numbers(topology, networks, links), networks, links, batch_size, rounds, engine.codec
    )


async def _networks(
    client: Any,
    topology: Topology,
    discovered: dict[str, DiscoveredDevice],
    batch_size: int,
    codec: str,
    rounds: int,
    observer: ProfileObserver,
) -> tuple[NetworkTime, ...]:
    held = {device.name: ("", *DeviceSpec.of(topology, device.name).stems) for device in topology.devices}
    total, found = sum(map(len, held.values())), dict[tuple[str, str], NetworkTime]()

    async def ask(machine: list[DiscoveredDevice]) -> None:
        for one in machine:  # one at a time: together they would slow each other down
            for stem in held[one.name]:
                ask = getattr(client.rpc(one.address), TIME)
                taken = await ask(stem=stem, batch_size=batch_size, codec=codec, rounds=rounds)
                network = f"{stem}{STEM_SUFFIX}" if stem else topology.device(one.name).network
                found[one.name, stem] = NetworkTime.of(one.name, network, taken)
                observer.measured("networks", len(found), total)

    await asyncio.gather(*(ask(machine) for machine in by_machine(discovered.values())))
    return tuple(found[name, stem] for name, stems in held.items() for stem in stems)


async def _links(
    client: Any,
    topology: Topology,
    discovered: dict[str, DiscoveredDevice],
    rounds: int,
    observer: ProfileObserver,
) -> tuple[LinkTime, ...]:
    pairs = {
        (low, high): _some(list(product(topology.tier(low), topology.tier(high))))
        for low, high in combinations(TIERS, 2)
    }
    total, done, links = sum(map(len, pairs.values())), 0, []
    for (low, high), between in pairs.items():
        latencies, bandwidths = [], []
        for source, target in between:  # one at a time: they may share a wire
            ask = getattr(client.rpc(discovered[source.name].address), PROBE)
            taken = await ask(name=target.name, address=discovered[target.name].address, rounds=rounds)
            latencies.append(Spread.of(np.array(taken[0][1]) / 2))
            bandwidths.append(bandwidth(taken))
            done += 1
            observer.measured("links", done, total)
        if between:
            told = [spread for spread in bandwidths if spread is not None]
            known = Spread.over(told) if 2 * len(told) > len(between) else None
            links.append(LinkTime(low, high, len(between), Spread.over(latencies), known))
    return tuple(links)


def bandwidth(taken: Sequence[tuple[int, Sequence[float]]]) -> Spread | None:
    """Return bits a second, from the seconds that payloads of some bytes took: the largest against the smallest.

    None when the quartiles of their times overlap: they are too quick to tell apart.
    """
    (small, small_s), (large, large_s) = taken[1], taken[-1]
    if np.quantile(large_s, 0.25) <= np.quantile(small_s, 0.75):
        return None
    added = Spread.of(np.array(large_s) - np.median(small_s))
    bits = 8 * (large - small)
    return Spread(bits / added.median, bits / added.high, bits / added.low)


def _some(pairs: list[Any]) -> list[Any]:
    """Return all pairs, or as many as may be, drawn in the same way each time."""
    return random.Random(0).sample(pairs, MOST_PAIRS) if len(pairs) > MOST_PAIRS else pairs


def _with_numbers(topology: Topology, networks: Sequence[NetworkTime], links: Sequence[LinkTime]) -> Topology:
    """Return a topology with measured numbers in place of its own."""
    per_image, per_batch = (
        {d.name: dict(getattr(d, key)) for d in topology.devices}
        for key in ("seconds_per_image", "seconds_per_batch")
    )
    for one in networks:
        per_image[one.device][one.network] = _rounded(one.service_time.seconds_per_image)
        per_batch[one.device][one.network] = _rounded(one.service_time.seconds_per_batch)
    measured = [
        device.model_copy(
            update={
                "seconds_per_image": per_image[device.name],
                "seconds_per_batch": {key: s for key, s in per_batch[device.name].items() if s},
            }
        )
        for device in topology.devices
    ]
    known = {
        (link.source, link.target): Link(
            source=link.source,
            target=link.target,
            latency_s=_rounded(link.latency_s.median),
            bandwidth_bps=None if link.bandwidth_bps is None else _rounded(link.bandwidth_bps.median),
        )
        for link in links
    }
    others = [link for link in topology.links if (link.source, link.target) not in known]
    return Topology(**{**dict(topology), "devices": tuple(measured), "links": (*known.values(), *others)})


def _rounded(value: float) -> float:
    return float(f"{value:.4g}")
