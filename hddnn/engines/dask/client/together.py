"""What devices take when all of a machine are busy at once, as they are in a job."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from statistics import median

from distributed import Client

from hddnn.engines.dask.client.discovery import (
    MEASURE_TIMEOUT_S,
    DiscoveredDevice,
    by_machine,
    rehearse_chain,
)
from hddnn.engines.dask.wire.connecting import answered
from hddnn.engines.dask.wire.messages import BUSY, DeviceSpec
from hddnn.planning.hosts import Host
from hddnn.system.topology import Topology

#: For so long all are kept busy at least, wall s, and for longer where some run at their own speed: a few devices
#: serve some batches, of many each serves one.
BUSY_S, BUSY_FREE_S = 0.1, 0.4
#: What the engine itself spends on a batch at each device, processor s: as a share of what a task of a chain takes
#: that does nothing, alone, since of many tasks each one costs less; and where that is not measured.
TASK_SHARE, TASK_S = 0.4, 0.002

#: Of one batch: begun and ended, monotonic s, and processor seconds.
Served = tuple[float, float, float]


async def measured_together(
    client: Client, topology: Topology, found: Iterable[DiscoveredDevice], *, batch_size: int, codec: str
) -> tuple[Host, ...]:
    """Have all devices serve batches at the same time, and return their machines; times in wall seconds.

    batch_size, codec: of the job. Raises ClusterError for a device that does not answer.
    """
    devices = list(found)
    own_speed = any(one.service_time is not None for one in devices)
    least_s = BUSY_FREE_S if own_speed else BUSY_S
    kinds = {one.name: ("", *DeviceSpec.of(topology, one.name).stems) for one in devices}
    parts = [parts_of(group, topology, kinds) for group in by_machine(devices)]
    serves = {name: mine for of_group in parts for name, mine in of_group.items()}

    async def busy(one: DiscoveredDevice) -> dict[str, list[Served]]:
        ask = getattr(client.rpc(one.address), BUSY)
        call = ask(kinds=serves[one.name], batch_size=batch_size, codec=codec, least_s=least_s)
        served: dict[str, list[Served]] = await answered(call, f"device {one.name}", MEASURE_TIMEOUT_S)
        return served

    answers = await asyncio.gather(*map(busy, devices))
    served = dict(zip((one.name for one in devices), answers, strict=True))
    begun_s = time.monotonic()
    if own_speed:  # loaded and connected by an earlier one
        await rehearse_chain(client, devices)
    task_s = (time.monotonic() - begun_s) / len(devices)
    hosts = []
    for group in by_machine(devices):
        names = [one.name for one in group]
        threads = {name: topology.device(name).threads for name in names}
        cores = cores_of({name: served[name] for name in names}, threads)
        taken = {
            (name, kind): median(batch[2] for batch in batches[1:] or batches) / batch_size
            for name in names
            for kind, batches in served[name].items()
        }
        work_s = {
            (name, kind): median(taken[other, kind] for other in like if (other, kind) in taken)
            for like in _alike(group, topology)
            for name in like
            for kind in kinds[name]
        }
        free = frozenset(one.name for one in group if one.service_time is not None)
        engine_s = TASK_SHARE * task_s * min(1.0, cores) if own_speed else TASK_S
        hosts.append(Host(cores, work_s, threads, engine_s, free))
    return tuple(hosts)


def parts_of(
    group: Sequence[DiscoveredDevice], topology: Topology, kinds: Mapping[str, Sequence[str]]
) -> dict[str, list[str]]:
    """Return what each device of a machine is to serve: devices that are alike share the kinds between them.

    kinds: by device, all that it does: the stems with which it encodes, and "" for its answers.
    """
    parts = {}
    for like in _alike(group, topology):
        every = kinds[like[0]]
        for place, name in enumerate(like):
            parts[name] = list(every[place :: len(like)]) or [every[place % len(every)]]
    return parts


def _alike(group: Sequence[DiscoveredDevice], topology: Topology) -> list[list[str]]:
    """Return the names of the devices of a machine, those together that do the same work."""
    like: dict[tuple[object, ...], list[str]] = {}
    for one in group:
        device = topology.device(one.name)
        of = (device.network, device.threads, device.runtime, DeviceSpec.of(topology, one.name).stems)
        like.setdefault(of, []).append(one.name)
    return list(like.values())


def cores_of(served: Mapping[str, Mapping[str, Sequence[Served]]], threads: Mapping[str, int]) -> float:
    """Return how many cores devices had together, from the batches that they served at the same time.

    As many as make the processor seconds of all what they can have had: while devices with more threads than there
    are cores are busy, all of the cores, and towards the end, when some have ended, what the others can use.
    """
    spans, used_s = [], 0.0
    for device, kinds in served.items():
        batches = [batch for of_kind in kinds.values() for batch in of_kind]
        spans.append((min(one[0] for one in batches), max(one[1] for one in batches), threads[device]))
        used_s += sum(one[2] for one in batches)
    edges = sorted({edge for begun_s, ended_s, _ in spans for edge in (begun_s, ended_s)})
    pieces = [  # (threads that are busy, for how long)
        (sum(n for begun_s, ended_s, n in spans if begun_s <= low < ended_s), high - low)
        for low, high in pairwise(edges)
    ]
    # With c cores they can have had the sum of min(c, busy) over time: linear between two numbers of threads.
    low_s, low = 0.0, 0
    for busy in sorted({busy for busy, _ in pieces if busy}):
        most_s = sum(min(busy, n) * length_s for n, length_s in pieces)
        if most_s >= used_s:
            return low + (busy - low) * (used_s - low_s) / (most_s - low_s)
        low_s, low = most_s, busy
    return float(low)
