"""What client and devices say to each other: pure data, small, and never a raw image by way of the scheduler."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np

from hddnn.engines.liveness import HEARTBEAT_S
from hddnn.results.transfers import Kind
from hddnn.system.topology import TIERS, Device, Link, Tier, Topology

Compute = Literal["real", "replay", "nothing"]

#: Names of the handlers that a device adds to its Dask worker; the client calls them directly.
HELLO, MEASURE, PUSH, FORGET = "hddnn_hello", "hddnn_measure", "hddnn_push", "hddnn_forget"
HEAD_START, SET_FAULT = "hddnn_head_start", "hddnn_set_fault"
TIME, PROBE, TAKE = "hddnn_time", "hddnn_probe", "hddnn_take"
BUSY = "hddnn_busy"


@dataclass(frozen=True)
class DeviceSpec:
    """All that one device's process needs to know before it registers.

    stems: networks of undependable upper devices; this device encodes images with their first layers.
    trusts: names of the upper devices that may see images; this one gives them to no other, whoever asks.
    links: the emulated links into this device, by the tier they come from; a tier without one has a real link.
    batch_size: the size that the networks are warmed up for. heartbeat_s: wall seconds between two heartbeats.
    """

    device: Device
    stems: tuple[str, ...] = ()
    trusts: tuple[str, ...] = ()
    links: Mapping[Tier, Link] = field(default_factory=dict)
    compute: Compute = "real"
    time_scale: float = 1.0
    batch_size: int = 50
    seed: int = 0
    heartbeat_s: float = HEARTBEAT_S

    @classmethod
    def of(
        cls,
        topology: Topology,
        name: str,
        *,
        compute: Compute = "real",
        time_scale: float = 1.0,
        batch_size: int = 50,
        emulate: bool = True,
        seed: int = 0,
        heartbeat_s: float = HEARTBEAT_S,
    ) -> DeviceSpec:
        """Return the specification of one device of a topology; not emulated, it keeps to no modelled time."""
        device = topology.device(name)
        links: dict[Tier, Link] = {}
        if emulate:
            below = TIERS[: TIERS.index(device.tier)]
            links = {tier: topology.link(tier, device.tier) for tier in below}
        else:
            device = device.at_own_speed()
        trusts = tuple(d.name for d in topology.devices if d.tier != "end" and d.trusted)
        stems = _encoders(topology, device)
        return cls(device, stems, trusts, links, compute, time_scale, batch_size, seed, heartbeat_s)


def _encoders(topology: Topology, device: Device) -> tuple[str, ...]:
    """Return the networks for which a device may have to encode images."""
    tiers = {"end": ("edge", "cloud"), "edge": ("cloud",)}.get(device.tier, ()) if device.trusted else ()
    return tuple(dict.fromkeys(d.network for d in topology.devices if d.tier in tiers and not d.trusted))


@dataclass(frozen=True)
class Target:
    """The device that a payload is for: its name and its address."""

    name: str
    address: str


@dataclass(frozen=True)
class EndOrder:
    """One task of an end device: classify the batches of an upload, and make their payloads ready to go up.

    key: the task's own; upload: name under which the images were pushed to the device; batches, sizes: the
    batches' numbers and images.
    target: who gets the payloads, None when there are none. stem: the network whose stem encodes them, None to
    send the images as they are; codec: how features are written down.
    coarse: whether to classify, too, or only to make the payloads anew.
    begun_s: the job's beginning on the device's clock, where the images lay there by then; None: they came later.
    placeholder_bytes: what an image of features would take, where a replay has only placeholders for them.
    """

    job: str
    topic: str
    key: Any
    upload: str
    batches: tuple[int, ...]
    sizes: tuple[int, ...]
    target: Target | None
    stem: str | None
    codec: str
    coarse: bool = True
    begun_s: float | None = None
    placeholder_bytes: int = 0


@dataclass(frozen=True)
class EncodeOrder:
    """One task of a dependable edge device: encode the images of an end device's task for a cloud."""

    job: str
    topic: str
    key: Any
    target: Target
    stem: str
    codec: str
    placeholder_bytes: int = 0


@dataclass(frozen=True)
class UpperOrder:
    """One task of an edge device or cloud: classify the payloads that the task before it left."""

    job: str
    topic: str
    key: Any


@dataclass(frozen=True)
class Payload:
    """One batch on its way up.

    data: sealed images or features (see hddnn.privacy.payload), uint8 (bytes,); no log or error may quote it.
    kind: what it shows; source: the device that made it, and its tier; target: the one that it is for.
    sent_s: when its maker had it ready, on the clock of the machine boot_id; n_bytes: what the link is charged
    for.
    """

    batch: int
    size: int
    data: np.ndarray = field(repr=False)
    kind: Kind
    source: str
    tier: Tier
    target: Target
    sent_s: float
    n_bytes: int
    boot_id: str


def dropped_message(job: str, batch: int, device: str) -> dict[str, Any]:
    """Return the event that says that a batch was lost on its way to a device."""
    return {"job": job, "stage": "dropped", "batch": batch, "device": device}


def released_message(
    job: str, payloads: Sequence[Payload], codec: str, encode_s: Sequence[float]
) -> dict[str, Any]:
    """Return the event that says which payloads a device has ready for another, and what it spent on them.

    It is logged before the task ends, so that it is here before anything that the other device says of them.
    """
    first = payloads[0]
    return {
        "job": job,
        "stage": "released",
        "device": first.source,
        "target": first.target.name,
        "kind": first.kind,
        "codec": codec,
        "batches": [p.batch for p in payloads],
        "at_s": [p.sent_s for p in payloads],
        "n_bytes": [p.n_bytes for p in payloads],
        "encode_s": list(encode_s),
    }


def refused_message(job: str, device: str, who: str, at_s: float) -> dict[str, Any]:
    """Return the event that says that somebody asked a device for images that are not for them."""
    return {"job": job, "stage": "refused", "device": device, "who": who, "at_s": at_s}


def answer_message(
    job: str,
    stage: Literal["coarse", "fine"],
    batch: int,
    device: str,
    answer: tuple[np.ndarray, np.ndarray],
    steps: dict[str, float],
    *,
    overrun_s: float,
    link_emulated_s: float = 0.0,
    link_real_s: float = 0.0,
    encoder: str = "",
) -> dict[str, Any]:
    """Return the event that carries one batch's answer, 8 bytes an image.

    answer: labels, int32 (B,), and confidence, float32 (B,); steps: seconds on the device's clock; overrun_s: so
    many too long its work took; encoder: the device that made the features.
    """
    labels, confidence = answer
    return {
        "job": job,
        "stage": stage,
        "batch": batch,
        "device": device,
        "labels": labels.tobytes(),
        "confidence": confidence.tobytes(),
        "steps": steps,
        "overrun_s": overrun_s,
        "link_emulated_s": link_emulated_s,
        "link_real_s": link_real_s,
        "encoder": encoder,
    }
