"""The devices of a topology as found behind a scheduler: checked to be there, ready and what was asked for."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
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
from hddnn.engines.liveness import HEARTBEAT_S
from hddnn.errors import ClusterError, first_line
from hddnn.system.times import ServiceTime
from hddnn.system.topology import Device, Link, Topology
from hddnn.zoo import Bundle

MEASURE_TIMEOUT_S = 300.0
REHEARSAL_TIMEOUT_S = 30.0
PINGS = 5
#: So many differences between topologies are told one by one.
SHOWN = 3


@dataclass(frozen=True)
class DiscoveredDevice:
    """One device as the client sees it.

    address: empty for one that was not there yet. clock_offset_s: the device's clock minus the client's; 0 where
    both are the same clock.
    service_time: measured by a device that runs at its own speed; None for one that keeps to a model.
    heartbeat_s: wall seconds between two of its heartbeats. machine: equal for devices on the same machine.
    """

    name: str
    address: str
    clock_offset_s: float
    service_time: ServiceTime | None
    tier: str
    heartbeat_s: float
    machine: str


@dataclass(frozen=True)
class Discovery:
    """What was found of a topology's devices.

    devices: by name, all of them. missing: names of those that are not there, and were allowed not to be.
    differing: what devices emulate otherwise than the topology says, each in a few words.
    """

    devices: dict[str, DiscoveredDevice]
    missing: tuple[str, ...] = ()
    differing: tuple[str, ...] = ()


class DeviceSilent(ClusterError):
    """A device is registered, and does not answer."""


async def discover(
    client: Client, topology: Topology, *, compute: Compute, time_scale: float, allow_missing: bool = False
) -> Discovery:
    """Return what was found of every device of the topology.

    allow_missing: some may be missing, or not answer, as long as an end device is there; of those the time for a
    batch is what others with their network measured, or else what its card says.

    Raises ClusterError naming the devices that are missing, and those that run another tier, network, temperature,
    version, compute mode or time scale than asked for.
    """
    # Asked anew: what the client remembers of the scheduler may be older than the last registration.
    workers = (await answered(client.scheduler.identity(n_workers=-1), scheduler_of(client)))["workers"]
    addresses = {str(info["name"]): address for address, info in workers.items()}
    missing = [device.name for device in topology.devices if device.name not in addresses]
    if missing and not allow_missing:
        raise ClusterError(_not_there(topology, missing, addresses))
    bundles = {network: zoo.bundle(network) for network in topology.networks}  # their hashes take a while
    present = [device for device in topology.devices if device.name in addresses]
    greetings = await asyncio.gather(
        *(_hello(client, device.name, addresses[device.name]) for device in present), return_exceptions=True
    )
    hellos: dict[str, tuple[dict[str, Any], float]] = {}
    for device, greeting in zip(present, greetings, strict=True):
        if isinstance(greeting, DeviceSilent) and allow_missing:
            missing.append(device.name)
        elif isinstance(greeting, BaseException):
            raise greeting
        else:
            hellos[device.name] = greeting
    if not any(device.name in hellos for device in topology.tier("end")):
        raise ClusterError(
            _not_there(topology, missing, addresses) + "; a run begins with one end device at least"
        )
    others = [
        text
        for device in topology.devices
        if device.name in hellos
        for text in _other_device(topology, device, hellos[device.name][0], bundles)
    ]
    if others:
        raise ClusterError(another_topology(others))
    differing: list[str] = []
    found: dict[str, DiscoveredDevice] = {}
    for name, (hello, offset_s) in hellos.items():
        device = topology.device(name)
        _check(topology, device, hello, bundles, compute=compute, time_scale=time_scale)
        differing += _other_model(topology, device, hello)
        found[name] = _discovered(name, addresses[name], hello, offset_s)
    measured = await _measured(client, [one for one in found.values() if hellos[one.name][0]["own_speed"]])
    for device in topology.devices:
        if device.name in found:
            found[device.name] = replace(found[device.name], service_time=measured.get(device.name))
        else:
            found[device.name] = _absent(topology, device, measured, bundles[device.network])
    ordered = {device.name: found[device.name] for device in topology.devices}
    away = tuple(name for name in ordered if name in missing)
    return Discovery(ordered, away, tuple(dict.fromkeys(differing)))


def another_topology(differences: Sequence[str]) -> str:
    """Return a line on devices that are otherwise than this topology says; differences: in a few words each."""
    more = f", and {len(differences) - SHOWN} more" if len(differences) > SHOWN else ""
    return (
        f"these devices were started with another topology: {'; '.join(differences[:SHOWN])}{more}; "
        "give theirs, or start them again with this one"
    )


def _not_there(topology: Topology, missing: Sequence[str], addresses: Mapping[str, str]) -> str:
    """Return a line on devices that are missing, with a hint where others are there instead."""
    there = ", ".join(sorted(addresses)) or "none"
    line = f"missing devices: {', '.join(missing)} (registered with the scheduler: {there})"
    known = {device.name for device in topology.devices}
    if set(addresses) and known.isdisjoint(addresses):
        line += f": these devices were started with another topology than {topology.name}; give theirs"
    return line


async def _measured(client: Client, found: Iterable[DiscoveredDevice]) -> dict[str, ServiceTime]:
    """Have devices measure what they take for a batch; return wall seconds by name."""
    measured: dict[str, ServiceTime] = {}

    async def measure(devices: list[DiscoveredDevice]) -> None:
        for one in devices:  # one at a time: together they would slow each other down
            measured[one.name] = await measured_time(client, one)

    await asyncio.gather(*(measure(devices) for devices in by_machine(found)))
    return measured


async def measured_time(client: Client, found: DiscoveredDevice) -> ServiceTime:
    """Have a device measure what it takes for a batch, wall seconds."""
    call = getattr(client.rpc(found.address), MEASURE)()
    return ServiceTime(*await answered(call, f"device {found.name}", MEASURE_TIMEOUT_S))


def _absent(
    topology: Topology, device: Device, measured: Mapping[str, ServiceTime], bundle: Bundle
) -> DiscoveredDevice:
    """Return a device that is not there, with the time that it can be expected to take."""
    time = None
    if device.service_time is None:
        alike = [
            measured[other.name]
            for other in topology.devices
            if other.name in measured and (other.network, other.threads) == (device.network, device.threads)
        ]
        time = ServiceTime.mean(alike) if alike else bundle.card.service_time
    return DiscoveredDevice(device.name, "", 0.0, time, device.tier, HEARTBEAT_S, "")


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
    if others := list(_other_device(topology, device, hello, bundles)):
        raise ClusterError(another_topology(others))
    _check(topology, device, hello, bundles, compute=compute, time_scale=time_scale)
    return _discovered(device.name, address, hello, offset_s), hello


def _discovered(name: str, address: str, hello: Mapping[str, Any], offset_s: float) -> DiscoveredDevice:
    machine = hello["boot_id"] or address
    return DiscoveredDevice(name, address, offset_s, None, hello["tier"], hello["heartbeat_s"], machine)


def _other_device(
    topology: Topology, device: Device, hello: Mapping[str, Any], bundles: Mapping[str, Bundle]
) -> Iterator[str]:
    """Yield what a device is otherwise than the topology says; nothing of one of another version."""
    if hello["version"] != __version__:
        return
    trust = {True: "dependable", False: "undependable"}
    for what, theirs, ours in (
        ("tier", hello["tier"], device.tier),
        ("network", hello["network_name"], bundles[device.network].card.name),
        ("trust", trust[hello["trusted"]], trust[device.trusted]),
    ):
        if theirs != ours:
            yield f"{device.name} has {what} {theirs}, here {ours}"
    spec = DeviceSpec.of(topology, device.name)
    for network in spec.stems:
        if network not in hello["stems"]:
            yield f"{device.name} encodes nothing for {bundles[network].card.name}, here it does"
    for name in sorted(set(spec.trusts) - set(hello["trusts"])):
        yield f"{device.name} takes {name} for undependable, here it is dependable"


def _other_model(topology: Topology, device: Device, hello: Mapping[str, Any]) -> Iterator[str]:
    """Yield what a device emulates otherwise than the topology says; what it does not emulate is real."""
    # By their last name: an own bundle may lie elsewhere on the device.
    own = {Path(network).name: network for network in device.seconds_per_image}
    for network, per_image_s in hello["seconds_per_image"].items():
        if network not in own:
            yield f"{device.name} has {per_image_s:g} s an image of {network}, here none"
            continue
        per_batch_s = hello["seconds_per_batch"].get(network, 0.0)
        for what, theirs_s, ours_s in (
            ("an image", per_image_s, device.seconds_per_image[own[network]]),
            ("a batch", per_batch_s, device.seconds_per_batch.get(own[network], 0.0)),
        ):
            if theirs_s != ours_s:
                yield f"{device.name} has {theirs_s:g} s {what} of {network}, here {ours_s:g}"
    for fields in hello["links"]:
        theirs = Link(**fields)
        ours_link = topology.link(theirs.source, theirs.target)
        real = Link(source=theirs.source, target=theirs.target, mode=theirs.mode)
        if theirs not in (real, ours_link):
            name = next(field for field in fields if getattr(theirs, field) != getattr(ours_link, field))
            way = f"the link {theirs.source} > {theirs.target} has {name}"
            yield f"{way} {_said(fields[name])}, here {_said(getattr(ours_link, name))}"


def _said(value: object) -> str:
    return "unlimited" if value is None else f"{value:g}" if isinstance(value, float) else str(value)


def _check(
    topology: Topology,
    device: Device,
    hello: Mapping[str, Any],
    bundles: Mapping[str, Bundle],
    *,
    compute: Compute,
    time_scale: float,
) -> None:
    """Raise ClusterError for a device that cannot take part as it was started, whatever its topology."""
    bundle = bundles[device.network]
    expected = {
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
    for network in DeviceSpec.of(topology, device.name).stems:
        if hello["stems"].get(network) != bundles[network].stem_digest:
            raise ClusterError(
                f"device {device.name} lacks this stem of {network}, or has another, or another noise; "
                "restart that device"
            )


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
        raise DeviceSilent(f"device {name} at {address} does not answer; restart that device") from None
    except OSError as error:
        raise DeviceSilent(
            f"device {name} at {address} does not answer ({error}); restart that device"
        ) from None
    except (AttributeError, ValueError) as error:
        raise ClusterError(f"worker {name} at {address} is no hddnn device ({error})") from None
    return hello, 0.0 if hello["boot_id"] and hello["boot_id"] == boot_id() else offset_s


async def rehearse_chain(client: Client, discovered: Iterable[DiscoveredDevice]) -> None:
    """Run a task on every end device, and one that depends on them all on every upper device."""
    name, devices = f"rehearse-{uuid.uuid4().hex[:12]}", list(discovered)
    ends = {
        found.name: client.submit(rehearse, workers=[found.address], key=(name, found.name))
        for found in devices
        if found.tier == "end"
    }
    uppers = [
        client.submit(rehearse, *ends.values(), workers=[found.address], key=(name, found.name))
        for found in devices
        if found.tier != "end"
    ]
    try:
        await asyncio.wait_for(client.gather([*ends.values(), *uppers]), REHEARSAL_TIMEOUT_S)
    except (TimeoutError, KilledWorker, NoValidWorkerError) as error:
        raise ClusterError(
            f"a device left while the job was prepared ({first_line(error)}); start again"
        ) from None
