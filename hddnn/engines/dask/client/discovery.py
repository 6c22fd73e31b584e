"""The devices of a topology as found behind a scheduler: checked to be there, ready and what was asked for."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from distributed import Client
from distributed.core import send_recv
from distributed.scheduler import KilledWorker, NoValidWorkerError

from hddnn import zoo
from hddnn._util.host import boot_id
from hddnn._version import __version__
from hddnn.engines.dask.device.pipeline import rehearse
from hddnn.engines.dask.wire.connecting import answered, scheduler_of
from hddnn.engines.dask.wire.messages import HELLO, MEASURE, Compute, DeviceSpec
from hddnn.engines.dask.wire.tls import CONNECT_TIMEOUT_S, connected
from hddnn.errors import ClusterError, first_line
from hddnn.system.topology import Device, Topology
from hddnn.zoo import Bundle

MEASURE_TIMEOUT_S = 300.0
REHEARSAL_TIMEOUT_S = 30.0
PINGS = 5


@dataclass(frozen=True)
class DiscoveredDevice:
    """One device as the client sees it.

    clock_offset_s: the device's clock minus the client's; 0 where both are the same clock.
    seconds_per_image: measured by a device that runs at its own speed; None for one that keeps to a model.
    heartbeat_s: wall seconds between two of its heartbeats. machine: equal for devices on the same machine.
    """

    name: str
    address: str
    clock_offset_s: float
    seconds_per_image: float | None
    tier: str
    heartbeat_s: float
    machine: str


async def discover(
    client: Client, topology: Topology, *, compute: Compute, time_scale: float
) -> dict[str, DiscoveredDevice]:
    """Return what was found of every device of the topology, by name.

    Raises ClusterError naming the devices that are missing, and those that run another tier, network, temperature,
    version, compute mode or time scale than asked for.
    """
    # Asked anew: what the client remembers of the scheduler may be older than the last registration.
    workers = (await answered(client.scheduler.identity(n_workers=-1), scheduler_of(client)))["workers"]
    addresses = {str(info["name"]): address for address, info in workers.items()}
    missing = [device.name for device in topology.devices if device.name not in addresses]
    if missing:
        there = ", ".join(sorted(addresses)) or "none"
        raise ClusterError(f"missing devices: {', '.join(missing)} (registered with the scheduler: {there})")
    bundles = {network: zoo.bundle(network) for network in topology.networks}  # their hashes take a while
    meetings = await asyncio.gather(
        *(
            meet(
                client,
                topology,
                device,
                addresses[device.name],
                bundles,
                compute=compute,
                time_scale=time_scale,
            )
            for device in topology.devices
        )
    )
    own_speed = [found for found, hello in meetings if hello["own_speed"]]
    measured: dict[str, float] = {}

    async def measure(devices: list[DiscoveredDevice]) -> None:
        for found in devices:  # one at a time: together they would slow each other down
            call = getattr(client.rpc(found.address), MEASURE)()
            measured[found.name] = await answered(call, f"device {found.name}", MEASURE_TIMEOUT_S)

    await asyncio.gather(*(measure(devices) for devices in by_machine(own_speed)))
    return {found.name: replace(found, seconds_per_image=measured.get(found.name)) for found, _ in meetings}


def by_machine(discovered: Iterable[DiscoveredDevice]) -> list[list[DiscoveredDevice]]:
    """Return the devices of each machine."""
    machines: dict[str, list[DiscoveredDevice]] = {}
    for found in discovered:
        machines.setdefault(found.machine, []).append(found)
    return list(machines.values())


async def meet(
    client: Client,
    topology: Topology,
    device: Device,
    address: str,
    bundles: Mapping[str, Bundle],
    *,
    compute: Compute,
    time_scale: float,
) -> tuple[DiscoveredDevice, dict[str, Any]]:
    """Return what a device is found to be, its speed not measured, and what it says of itself.

    bundles: by network. Raises ClusterError as above, and when it has other stems than asked for, or takes a
    device for undependable that the topology says is dependable.
    """
    hello, offset_s = await _hello(client, device.name, address)
    bundle, spec = bundles[device.network], DeviceSpec.of(topology, device.name)
    expected = {
        "tier": device.tier,
        # By content, not by name: an own bundle may lie elsewhere on the device.
        "network": bundle.digest,
        "temperature": bundle.card.temperature,
        "version": __version__,
        "compute": compute,
        "time_scale": time_scale,
    }
    for key, value in expected.items():
        if hello[key] != value:
            raise ClusterError(
                f"device {device.name} has {key} {hello[key]}, the job needs {value}; restart that device"
            )
    for network in spec.stems:
        if hello["stems"].get(network) != bundles[network].stem_digest:
            raise ClusterError(
                f"device {device.name} lacks this stem of {network}, or has another, or another noise; "
                "restart that device"
            )
    for name in sorted(set(spec.trusts) - set(hello["trusts"])):
        raise ClusterError(
            f"device {device.name} takes {name} for undependable, the job does not; let their topologies agree"
        )
    machine = hello["boot_id"] or address
    return DiscoveredDevice(
        device.name, address, offset_s, None, device.tier, hello["heartbeat_s"], machine
    ), hello


async def _hello(client: Client, name: str, address: str) -> tuple[dict[str, Any], float]:
    """Ask a device what it is, a few times; the quickest answer gives its clock's offset."""
    best_s, offset_s, hello = float("inf"), 0.0, {}
    try:
        async with asyncio.timeout(CONNECT_TIMEOUT_S), connected(client, name, address) as comm:
            for _ in range(PINGS):
                asked_s = time.monotonic()
                hello = await send_recv(comm, op=HELLO)
                answered_s = time.monotonic()
                if answered_s - asked_s < best_s:
                    best_s = answered_s - asked_s
                    offset_s = hello["clock_s"] - (asked_s + answered_s) / 2
    except TimeoutError:
        raise ClusterError(f"device {name} at {address} does not answer; restart that device") from None
    except (OSError, AttributeError, ValueError) as error:
        raise ClusterError(f"worker {name} at {address} is no hddnn device ({error})") from None
    return hello, 0.0 if hello["boot_id"] and hello["boot_id"] == boot_id() else offset_s


async def rehearse_chain(client: Client, discovered: Mapping[str, DiscoveredDevice]) -> None:
    """Run a task on every end device, and one that depends on them all on every upper device."""
    name = f"rehearse-{uuid.uuid4().hex[:12]}"
    ends = {
        found.name: client.submit(rehearse, workers=[found.address], key=(name, found.name))
        for found in discovered.values()
        if found.tier == "end"
    }
    uppers = [
        client.submit(rehearse, *ends.values(), workers=[found.address], key=(name, found.name))
        for found in discovered.values()
        if found.tier != "end"
    ]
    try:
        await asyncio.wait_for(client.gather([*ends.values(), *uppers]), REHEARSAL_TIMEOUT_S)
    except (TimeoutError, KilledWorker, NoValidWorkerError) as error:
        raise ClusterError(
            f"a device left while the job was prepared ({first_line(error)}); start again"
        ) from None
