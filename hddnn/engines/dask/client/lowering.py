"""From orders to a Dask graph: each upper device's task depends on the end device's task. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any

from dask._task_spec import Task, TaskRef
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer

from hddnn.engines.dask.device.pipeline import run_encode, run_end, run_upper
from hddnn.engines.dask.wire.messages import EncodeOrder, EndOrder, Target, UpperOrder
from hddnn.system.topology import Device


@dataclass(frozen=True)
class BatchGroup:
    """Some batches of one end device that go the same way, sent as one chain of tasks.

    number: counts the groups of a job, retries included, so that every task has a key of its own. coarse: whether
    the end device is to answer the batches, too. encoder: the edge device that encodes them, where the end device
    does not. laid_out: whether its images lie on the end device as the job's time begins.
    """

    number: int
    end: Device
    upper: Device | None
    batches: tuple[int, ...]
    sizes: tuple[int, ...]
    coarse: bool = True
    encoder: Device | None = None
    laid_out: bool = False

    @property
    def encoded(self) -> str | None:
        """Return the network whose features go up instead of the images, None where these do."""
        return self.upper.network if self.upper is not None and not self.upper.trusted else None

    def upload(self, job: str) -> str:
        """Return the name under which the images are pushed to the end device; job: CLIENT/JOB."""
        return f"{job}/{self.number}."  # no name begins as another one does


@dataclass(frozen=True)
class Features:
    """How features are written down: the codec, and what an image of a network's then takes, by network."""

    codec: str
    bytes_per_image: Mapping[str, int]


def end_order(
    group: BatchGroup,
    job: str,
    topic: str,
    addresses: Mapping[str, str],
    features: Features,
    begun_s: float | None = None,
) -> EndOrder:
    """Return what the end device is told to do with a group; begun_s: as in the order."""
    above = group.encoder or group.upper
    return EndOrder(
        job=job,
        topic=topic,
        key=(f"end-{group.end.network}", job, group.number),
        upload=group.upload(job),
        batches=group.batches,
        sizes=group.sizes,
        target=None if above is None else Target(above.name, addresses[above.name]),
        stem=None if group.encoder is not None else group.encoded,
        codec=features.codec,
        coarse=group.coarse,
        begun_s=begun_s,
        placeholder_bytes=features.bytes_per_image.get(group.encoded or "", 0),
    )


def lower(
    groups: Iterable[BatchGroup],
    job: str,
    topic: str,
    addresses: Mapping[str, str],
    features: Features,
    begun_s: Mapping[str, float] = MappingProxyType({}),
) -> tuple[HighLevelGraph, list[tuple[Any, ...]]]:
    """Return the graph of some groups and, in their order, the key of each one's last task.

    begun_s: when the job began on each device's clock, for groups that are laid out.

    Every task is pinned to its device's address and asks for its tier's resource, so a worker that is not of
    that tier never runs it. A device's tasks go in the order of their groups, as in the simulation; Dask's own
    order of a graph is another one. Keys are named by stage and network: Dask averages durations by that prefix;
    then come the job and the group's number.
    """
    graph: dict[tuple[Any, ...], Task] = {}
    workers: dict[tuple[Any, ...], list[str]] = {}
    resources: dict[tuple[Any, ...], dict[str, int]] = {}
    priority: dict[tuple[Any, ...], int] = {}
    last = []

    def add(device: Device, function: Callable[..., Any], order: Any, below: list[Any]) -> list[Any]:
        key = order.key
        graph[key] = Task(key, function, order, *below)
        workers[key], resources[key] = [addresses[device.name]], {device.tier: 1}
        priority[key] = -order.key[-1]  # the highest goes first
        return [TaskRef(key)]

    for group in groups:
        end, encoder, upper = group.end, group.encoder, group.upper
        order: Any = end_order(
            group, job, topic, addresses, features, begun_s[end.name] if group.laid_out else None
        )
        below = add(end, run_end, order, [])
        if encoder is not None and (encoded := group.encoded) is not None:
            assert upper is not None
            key, target = (f"encode-{encoded}", job, group.number), Target(upper.name, addresses[upper.name])
            order = EncodeOrder(job, topic, key, target, encoded, features.codec, order.placeholder_bytes)
            below = add(encoder, run_encode, order, below)
        if upper is not None:
            order = UpperOrder(job, topic, (f"{upper.tier}-{upper.network}", job, group.number))
            add(upper, run_upper, order, below)
        last.append(order.key)
    annotations = {"workers": workers.get, "resources": resources.get, "priority": priority.get}
    layer = MaterializedLayer(graph, annotations=annotations)
    return HighLevelGraph({"hddnn": layer}, {"hddnn": set()}), last
