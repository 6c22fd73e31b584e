"""What each step of a job costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from itertools import combinations
from statistics import fmean
from typing import Protocol

import numpy as np

from hddnn.errors import PlanError
from hddnn.planning.hosts import Host
from hddnn.system.times import ServiceTime
from hddnn.system.topology import TIERS, Device, Link, Tier, Topology


class JobShape(Protocol):
    """The size of a job: all that a scheme needs to know of it."""

    @property
    def n_batches(self) -> int:
        """Number of batches."""
        ...

    @property
    def sizes(self) -> np.ndarray:
        """Images in each batch: int, shape (n_batches,)."""
        ...


@dataclass(frozen=True)
class CostTable:
    """The time and the bytes of each step.

    Bytes are proportional to the number of images, times affine: a batch of n takes a + b n.

    service_times: device name -> what that device's network takes.
    links: (source tier, target tier) -> link.
    bytes_per_image: network name -> (raw, features), bytes an image as sent up.
    encode_times: (device name, network) -> what encoding with that network's stem takes, where it was measured.
    hosts: that some of the devices share, where that was measured, too.
    """

    service_times: Mapping[str, ServiceTime]
    links: Mapping[tuple[Tier, Tier], Link]
    bytes_per_image: Mapping[str, tuple[int, int]]
    encode_times: Mapping[tuple[str, str], ServiceTime] = field(default_factory=dict)
    hosts: tuple[Host, ...] = ()

    @classmethod
    def of(
        cls,
        topology: Topology,
        measured: Mapping[str, ServiceTime] | None = None,
        payload_bytes: Mapping[str, tuple[int, int]] | None = None,
    ) -> CostTable:
        """Return the costs of a topology; a time that the topology models wins over a measured one.

        measured: by device name; payload_bytes: network name -> (raw, features), bytes an image.
        Raises PlanError naming the devices that have neither a modelled nor a measured time.
        """
        measured = measured or {}
        times: dict[str, ServiceTime] = {}
        for device in topology.devices:
            modelled = device.service_time
            time = measured.get(device.name) if modelled is None else modelled
            if time is not None:
                times[device.name] = time
        missing = [device.name for device in topology.devices if device.name not in times]
        if missing:
            raise PlanError(
                f"no service time for {', '.join(missing)}: "
                "give the device seconds_per_image in the topology, or measure it"
            )
        links = {(low, high): topology.link(low, high) for low, high in combinations(TIERS, 2)}
        return cls(times, links, dict(payload_bytes or {}))

    def service_s(self, device: Device, n_images: int, n_batches: int = 1) -> float:
        """Return the time in s that the device's own network takes for n_images, in so many batches."""
        return self.service_times[device.name].total_s(n_images, n_batches)

    def encode_time(self, device: Device, network: str) -> ServiceTime:
        """Return what the network's stem takes on a device.

        What was measured, or else what the topology models as "NETWORK:stem" in the device's times, or else 0.
        """
        measured = self.encode_times.get((device.name, network))
        return measured or device.encode_time(network) or ServiceTime(0.0)

    def encode_s(self, device: Device, network: str, n_images: int) -> float:
        """Return the time in s to pass a batch of n_images through the network's stem on a device."""
        return self.encode_time(device, network).total_s(n_images)

    def link(self, source: Device, target: Device) -> Link:
        """Return the link over which the target receives from the source's tier."""
        return self.links[source.tier, target.tier]

    def payload_bytes(self, target: Device, n_images: int) -> int:
        """Return the bytes sent up for n_images: raw to a dependable device, features to another.

        Raises PlanError when the payload sizes of the target's network are not known.
        """
        try:
            raw, features = self.bytes_per_image[target.network]
        except KeyError:
            raise PlanError(
                f"no payload size for network {target.network} of {target.name}: give (raw, features) bytes "
                f"an image; known are {', '.join(self.bytes_per_image) or 'none'}"
            ) from None
        return (raw if target.trusted else features) * n_images

    def transfer_s(self, source: Device, target: Device, n_images: int) -> float:
        """Return the time in s that a payload of n_images occupies the link: 8 bytes / bandwidth."""
        bandwidth_bps = self.link(source, target).bandwidth_bps
        return 0.0 if bandwidth_bps is None else 8 * self.payload_bytes(target, n_images) / bandwidth_bps

    def delay_s(self, source: Device, target: Device, n_images: int) -> float:
        """Return the one-way delay in s of a payload of n_images on a free link, without jitter.

        Latency + 8 bytes / bandwidth: tc of eq. 18, with the protocol's share counted as latency.
        """
        return self.link(source, target).latency_s + self.transfer_s(source, target, n_images)

    def way_s(self, source: Device, target: Device, n_images: int, encoder: Device | None = None) -> float:
        """Return the delay in s from an end device to an upper one, by way of the one that encodes, if any."""
        if encoder is None:
            return self.delay_s(source, target, n_images)
        return (
            self.delay_s(source, encoder, n_images)
            + self.encode_s(encoder, target.network, n_images)
            + self.delay_s(encoder, target, n_images)
        )


def tier_means_s(topology: Topology, tier: Tier, costs: CostTable, n_images: int) -> tuple[float, float]:
    """Return (tc, tp) in s, a tier's mean communication and processing time of a batch of n_images.

    tc of the end tier is 0: a batch starts on its end device. Raises PlanError when the tier is empty.
    """
    devices = topology.tier(tier)
    if not devices:
        raise PlanError(f"topology {topology.name} has no {tier} device: add one to its devices")
    tp_s = fmean(costs.service_s(device, n_images) for device in devices)
    if tier == "end":
        return 0.0, tp_s
    source = topology.tier("end")[0]
    return fmean(costs.delay_s(source, device, n_images) for device in devices), tp_s
