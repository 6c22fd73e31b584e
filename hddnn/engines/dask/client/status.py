"""What a running system looks like from outside: each device, whether it answers, and how quickly."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from distributed import Client
from distributed.core import send_recv

from hddnn.engines.dask.wire.connecting import answered, close, connect, scheduler_of
from hddnn.engines.dask.wire.heartbeat import DEVICES, keep_list
from hddnn.engines.dask.wire.messages import HELLO
from hddnn.engines.dask.wire.tls import connected
from hddnn.engines.liveness import LONGEST_S
from hddnn.errors import ClusterError
from hddnn.system.topology import TIERS, Topology

#: What an answer takes at most, unless the scheduler's list says that the device is live.
ANSWER_TIMEOUT_S = 1.0
ROUND_TRIPS = 3
#: How often to look again while devices are waited for.
AGAIN_S = 0.5
#: States of a device: it answers; it is registered and does not answer; it is in the topology and not registered;
#: it is a worker and no device; the topology does not know it.
LIVE, SILENT, MISSING, NO_DEVICE, UNKNOWN = "live", "silent", "missing", "no device", "unknown"


@dataclass(frozen=True)
class DeviceStatus:
    """One device as it is now; None: nobody can tell.

    queue: tasks that wait or run; done: tasks done since it started; memory_bytes: of its process;
    round_trip_s: the quickest of a few questions to the device itself, from here.
    """

    name: str
    state: str
    tier: str | None = None
    network: str | None = None
    trusted: bool | None = None
    queue: int | None = None
    done: int | None = None
    memory_bytes: int | None = None
    round_trip_s: float | None = None
    address: str | None = None


async def statuses(address: str, tls: Path | None, topology: Topology | None) -> list[DeviceStatus]:
    """Return every device that is registered with a scheduler, by tier, and what is missing of a topology.

    Raises ClusterError when no scheduler answers, or one that lacks hddnn.
    """
    client = await connect(address, tls)
    try:
        await answered(keep_list(client), scheduler_of(client))
        workers = (await answered(client.scheduler.identity(n_workers=-1), scheduler_of(client)))["workers"]
        asked = await asyncio.gather(*(_ask(client, info, where) for where, info in workers.items()))
        seen = await _seen(client, [one for one in asked if one.state == LIVE])
    finally:
        await close(client)
    known = [_measured(one, seen.get(one.address or "")) for one in asked]
    known.sort(key=lambda one: (TIERS.index(one.tier) if one.tier in TIERS else len(TIERS), one.name))
    return known if topology is None else _by_topology(known, topology)


def away(found: Sequence[DeviceStatus], topology: Topology | None) -> list[DeviceStatus]:
    """Return the devices that should be live and are not; a worker that the topology does not know may be."""
    expected = {device.name for device in topology.devices} if topology else {one.name for one in found}
    return [one for one in found if one.name in expected and one.state != LIVE]


async def awaited(
    address: str,
    tls: Path | None,
    topology: Topology | None,
    wait_s: float,
    waiting: Callable[[Sequence[str]], object] = lambda names: None,
) -> list[DeviceStatus]:
    """Return what `statuses` does, once all devices are live, or when wait_s is over.

    waiting: called with the names of who is not live, whenever these are others than before. Raises ClusterError
    when there is no scheduler in the end, either.
    """
    deadline_s, told = time.monotonic() + wait_s, None
    while True:
        late = time.monotonic() >= deadline_s
        try:
            found = await statuses(address, tls, topology)
            names = [one.name for one in away(found, topology)]
            if not names or late:
                return found
        except ClusterError:  # no scheduler yet
            if late:
                raise
            names = [device.name for device in topology.devices] if topology else []
        if names != told:
            told = names
            waiting(names)
        await asyncio.sleep(min(AGAIN_S, max(0.0, deadline_s - time.monotonic())))


async def _ask(client: Client, info: Mapping[str, Any], address: str) -> DeviceStatus:
    """Ask a worker what device it is, a few times; the quickest answer tells the way's length.

    info: what the scheduler knows of it.
    """
    name, tier = str(info["name"]), next((tier for tier in TIERS if tier in info["resources"]), None)
    status = DeviceStatus(name, SILENT, tier, address=address)
    asking = asyncio.create_task(_asked(client, name, address))
    if not await _in_time(client, address, asking):
        return status
    try:
        hello, quickest_s = asking.result()
    except OSError:  # TimeoutError, too
        return status
    except (AttributeError, ValueError, ClusterError):  # no such handler, or another's certificate
        return replace(status, state=NO_DEVICE)
    return replace(
        status,
        state=LIVE,
        tier=hello["tier"],
        network=hello["network_name"],
        trusted=hello["trusted"],
        round_trip_s=quickest_s,
    )


async def _asked(client: Client, name: str, address: str) -> tuple[dict[str, Any], float]:
    """Return what a device says of itself, and the s that its quickest answer took."""
    quickest_s = float("inf")
    async with connected(client, name, address) as comm:
        for _ in range(ROUND_TRIPS):
            asked_s = time.monotonic()
            hello = await send_recv(comm, op=HELLO)
            quickest_s = min(quickest_s, time.monotonic() - asked_s)
    return hello, quickest_s


async def _in_time(client: Client, address: str, asking: asyncio.Task[Any]) -> bool:
    """Wait for what a device is asked, and return whether it answered; else it is asked no longer.

    One that is on the list of live devices is slow to answer, and not silent: its machine is loaded.
    """
    deadline_s = time.monotonic() + LONGEST_S
    try:
        while not (await asyncio.wait({asking}, timeout=ANSWER_TIMEOUT_S))[0]:
            if time.monotonic() > deadline_s or address not in await _listed(client, live=True):
                return False
        return True
    finally:
        asking.cancel()
        await asyncio.wait({asking})


async def _listed(client: Client, *, live: bool = False) -> dict[str, dict[str, Any]]:
    """Return the scheduler's list of devices by address; live: of those alone that are."""
    listed = await answered(getattr(client.scheduler, DEVICES)(), scheduler_of(client))
    return {entry["address"]: entry for entry in listed if entry["live"] or not live}


async def _seen(client: Client, live: list[DeviceStatus]) -> dict[str, dict[str, Any]]:
    """Return what the devices' last heartbeats said, by address; a list begun just now has to hear one of each."""
    deadline_s = time.monotonic() + ANSWER_TIMEOUT_S
    while True:
        seen = await _listed(client)
        if all(one.address in seen for one in live) or time.monotonic() > deadline_s:
            return seen
        await asyncio.sleep(0.05)


def _measured(status: DeviceStatus, seen: Mapping[str, Any] | None) -> DeviceStatus:
    if seen is None or status.state != LIVE:
        return status
    return replace(status, queue=seen["queue"], done=seen["done"], memory_bytes=seen["memory_bytes"])


def _by_topology(known: list[DeviceStatus], topology: Topology) -> list[DeviceStatus]:
    """Return the devices of a topology, what is missing told from it, and then those it does not know."""
    by_name = {one.name: one for one in known}
    ordered = []
    for device in topology.devices:
        one = by_name.pop(device.name, DeviceStatus(device.name, MISSING))
        if one.network is None:
            one = replace(one, tier=device.tier, network=device.network, trusted=device.trusted)
        ordered.append(one)
    return ordered + [replace(one, state=UNKNOWN) for one in by_name.values()]
