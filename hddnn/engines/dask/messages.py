"""What client and devices say to each other: pure data, small, and never a raw image by way of the scheduler."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from hddnn.topology import Device, Link, Topology

Compute = Literal["real", "replay", "nothing"]

#: Names of the handlers that a device adds to its Dask worker; the client calls them directly.
HELLO, MEASURE, PUSH, FORGET = "hddnn_hello", "hddnn_measure", "hddnn_push", "hddnn_forget"
AFFLICT = "hddnn_afflict"

#: Wall seconds between two heartbeats of a device, unless said otherwise.
HEARTBEAT_S = 0.25


@dataclass(frozen=True)
class DeviceSpec:
    """All that one device's process needs to know before it registers.

    stems: networks of undependable upper devices; this device encodes images with their first layers.
    link: the emulated link from the end tier into this device; None when it is real, or there is none.
    batch_size: the size that the networks are warmed up for. heartbeat_s: wall seconds between two heartbeats.
    """

    device: Device
    stems: tuple[str, ...] = ()
    link: Link | None = None
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
        upper = device.tier != "end"
        stems = () if upper else _encoders(topology)
        link = topology.link("end", device.tier) if upper and emulate else None
        if not emulate:
            device = device.model_copy(update={"seconds_per_image": {}})
        return cls(device, stems, link, compute, time_scale, batch_size, seed, heartbeat_s)


def _encoders(topology: Topology) -> tuple[str, ...]:
    """Return the networks for which images must be encoded before they leave an end device."""
    return tuple(dict.fromkeys(d.network for d in topology.devices if d.tier != "end" and not d.dependable))


@dataclass(frozen=True)
class EndOrder:
    """One task of an end device: classify the batches of a parcel, and make their payloads ready to go up.

    key: the task's own; parcel: name under which the images were pushed to the device; batches, sizes: the
    batches' numbers and images.
    stem: the network whose stem encodes the payload; None sends the images as they are.
    goes_up: whether there is a payload at all; coarse: whether to classify, too, or only to make the payloads
    anew.
    """

    job: str
    topic: str
    key: Any
    parcel: str
    batches: tuple[int, ...]
    sizes: tuple[int, ...]
    goes_up: bool
    stem: str | None
    coarse: bool = True


@dataclass(frozen=True)
class UpperOrder:
    """One task of an edge device or cloud: classify the payloads that an end device's task left."""

    job: str
    topic: str
    key: Any


@dataclass(frozen=True)
class Payload:
    """One batch on its way up.

    array: uint8 images (B, H, W, 3), or float32 features (B, *stem_shape) when encoded.
    sent_s: when the end device had it ready, on the clock of the machine boot_id; n_bytes: what the link is
    charged for.
    """

    batch: int
    array: np.ndarray
    encoded: bool
    sent_s: float
    n_bytes: int
    boot_id: str


def dropped_message(job: str, batch: int, device: str) -> dict[str, Any]:
    """Return the event that says that a batch was lost on its way to a device."""
    return {"job": job, "stage": "dropped", "batch": batch, "device": device}


def answer_message(
    job: str,
    stage: Literal["coarse", "fine"],
    batch: int,
    device: str,
    answer: tuple[np.ndarray, np.ndarray],
    steps: dict[str, float],
    *,
    overrun: bool,
    link_emulated_s: float = 0.0,
    link_real_s: float = 0.0,
    n_bytes: int = 0,
) -> dict[str, Any]:
    """Return the event that carries one batch's answer, 8 bytes an image.

    answer: labels, int32 (B,), and confidence, float32 (B,); steps: seconds on the device's clock.
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
        "overrun": overrun,
        "link_emulated_s": link_emulated_s,
        "link_real_s": link_real_s,
        "n_bytes": n_bytes,
    }
