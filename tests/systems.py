"""Small systems and jobs for tests of plans and times, by hand or by hypothesis."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from hypothesis import strategies as st

from hddnn.planning.costs import CostTable
from hddnn.system.topology import Device, Link, Topology
from hddnn.testing.systems import Shape
from hddnn.testing.systems import small_system as packaged_system

__all__ = ["NETWORK", "PAYLOAD", "Shape", "packaged_system"]  # beside what is made here

PAYLOAD = {"coarse-net": (3072, 3072), "edge-net": (3072, 65536), "cloud-net": (3072, 16384)}
NETWORK = {"end": "coarse-net", "edge": "edge-net", "cloud": "cloud-net"}


def device(
    name: str, tier: Any, seconds: float, *, batch_s: float = 0.0, trusted: bool = True, **encode_s: float
) -> Device:
    """Make a device; seconds: s an image; encode_s: network (with _ for -) -> s an image of its stem.

    batch_s: s a batch on top, for its network and for each stem.
    """
    times = {NETWORK[tier]: seconds} | {f"{net.replace('_', '-')}:stem": s for net, s in encode_s.items()}
    return Device(
        name=name,
        tier=tier,
        network=NETWORK[tier],
        trusted=trusted,
        seconds_per_image=times,
        seconds_per_batch=dict.fromkeys(times, batch_s) if batch_s else {},
    )


def system(*devices: Device, links: Sequence[Link] = (), n_map: int | None = None) -> Topology:
    schemes = {} if n_map is None else {"mapping": {"n_map": n_map}}
    return Topology(name="test", devices=tuple(devices), links=tuple(links), schemes=schemes)


def tiers(n_end: int, n_edge: int, n_cloud: int, n_map: int | None = None) -> Topology:
    """Make a system by its counts: 1 ms an image everywhere; odd edge devices and the clouds undependable."""
    devices = [device(f"end-{i}", "end", 0.001) for i in range(n_end)]
    devices += [device(f"edge-{i}", "edge", 0.001, trusted=i % 2 == 0) for i in range(n_edge)]
    devices += [device(f"cloud-{i}", "cloud", 0.001, trusted=False) for i in range(n_cloud)]
    return system(*devices, n_map=n_map)


def costs_of(topology: Topology) -> CostTable:
    return CostTable.of(topology, payload_bytes=PAYLOAD)


seconds = st.floats(0, 0.05, allow_subnormal=False)
#: What a batch takes on top: nothing, as in the paper's system, or up to what its images take.
batch_seconds = st.just(0.0) | st.floats(0, 2, allow_subnormal=False)


@st.composite
def links_to(draw: st.DrawFn, target: Any) -> Link:
    return Link(
        source="end",
        target=target,
        latency_s=draw(st.floats(0, 2, allow_subnormal=False)),
        bandwidth_bps=draw(st.none() | st.floats(1e5, 1e9)),
        mode=draw(st.sampled_from(["serial", "overlapped"])),
    )


@st.composite
def systems(draw: st.DrawFn) -> Topology:
    """Draw a system of 1 to 4 end devices, 1 to 3 edge devices and 1 or 2 clouds with any times and links."""
    devices = []
    for tier, most in (("end", 4), ("edge", 3), ("cloud", 2)):
        for i in range(draw(st.integers(1, most))):
            stems = {"cloud_net": draw(seconds)} | ({"edge_net": draw(seconds)} if tier == "end" else {})
            trusted = tier == "end" or draw(st.booleans())
            batch_s = draw(batch_seconds)
            devices.append(
                device(f"{tier}-{i}", tier, draw(seconds), batch_s=batch_s, trusted=trusted, **stems)
            )
    above = draw(links_to("cloud")).model_copy(update={"source": "edge"})
    return system(*devices, links=[draw(links_to("edge")), draw(links_to("cloud")), above])
