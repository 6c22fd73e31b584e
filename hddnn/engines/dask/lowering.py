"""From orders to a Dask graph: each upper device's task depends on the end device's task. Pure."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dask._task_spec import Task, TaskRef
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer

from hddnn.bounds import lower_bound_s
from hddnn.engines.dask.device import run_encode, run_end, run_upper
from hddnn.engines.dask.messages import EncodeOrder, EndOrder, Target, UpperOrder
from hddnn.plan import NO_DEVICE, Plan
from hddnn.policies import Work
from hddnn.timing import CostTable
from hddnn.topology import Device

#: Longest time that the batches of one task may take together. Above it, one batch a task: nothing is gained,
#: since a task costs the engine about 1 ms, and the upper device would wait for the whole bundle.
BUNDLE_S = 0.05
#: The same where nothing goes up: nobody waits for the bundle, and answers arrive batch by batch anyway.
BUNDLE_ALONE_S = 0.2
BUNDLE_BATCHES = 32
#: Batches in flight for each end device, at the least. Bounds the memory of client and devices.
WINDOW = 8
#: No job is predicted to take less than so many wall seconds: a machine has hiccups.
LEAST_S = 2.0
#: Wall seconds by which a step may be late without anything being wrong: a bundle's length, and a hiccup as long.
SLACK_S = 2 * BUNDLE_S


@dataclass(frozen=True)
class Bundle:
    """Some batches of one end device that go the same way, sent as one chain of tasks.

    number: counts the bundles of a job, retries included, so that every task has a key of its own. coarse: whether
    the end device is to answer the batches, too. encoder: the edge device that encodes them, where the end device
    does not.
    """

    number: int
    end: Device
    upper: Device | None
    batches: tuple[int, ...]
    sizes: tuple[int, ...]
    coarse: bool = True
    encoder: Device | None = None

    def parcel(self, job: str) -> str:
        """Return the name under which the images are pushed to the end device; job: CLIENT/JOB."""
        return f"{job}/{self.number}."  # no name begins as another one does


def bundle_size(slowest_s: float, pending: int, *, goes_up: bool) -> int:
    """Return how many of the pending batches go into one task, given the slowest stage's seconds a batch."""
    longest_s = BUNDLE_S if goes_up else BUNDLE_ALONE_S
    if slowest_s * 2 > longest_s:
        return 1
    fits = BUNDLE_BATCHES if slowest_s <= 0 else int(longest_s / slowest_s)
    return max(1, min(fits, BUNDLE_BATCHES, pending))


def make_work(plan: Plan, costs: CostTable, time_scale: float, *, own_speed: int) -> Work:
    """Return a job as a policy sees it: what is sent at once, and how much may be under way.

    An end device's window holds at least two bundles, so that the next is there when one is done, and two batches
    for each upper device that it feeds, so that none of them waits for the window. own_speed: devices without a
    modelled time; the predicted time takes them to share this machine's cores.
    """
    devices, size = plan.topology.devices, int(plan.sizes[0])
    bundles: dict[tuple[int, int], int] = {}
    fed: dict[int, int] = {}
    for (end, upper), batches in plan.routes().items():
        stages = [costs.service_s(devices[end], size)]
        if upper != NO_DEVICE:
            via = int(plan.via[batches[0]])
            encoder = None if via == NO_DEVICE else devices[via]
            way_s = costs.way_s(devices[end], devices[upper], size, encoder)
            stages += [costs.service_s(devices[upper], size), way_s]
        bundles[end, upper] = bundle_size(max(stages) * time_scale, len(batches), goes_up=upper != NO_DEVICE)
        fed[end] = fed.get(end, 0) + 1
    largest = {end: max(n for (source, _), n in bundles.items() if source == end) for end in fed}
    ends = [index for index, device in enumerate(devices) if device.tier == "end"]
    windows = {end: max(WINDOW, 2 * largest.get(end, 1), 2 * fed.get(end, 0)) for end in ends}
    sharing = max(1.0, own_speed / (os.cpu_count() or 1))
    predicted_s = max(lower_bound_s(plan, costs) * sharing, LEAST_S / time_scale if time_scale else LEAST_S)
    slack_s = SLACK_S / time_scale if time_scale else 0.0
    return Work(plan, costs, bundles, windows, predicted_s, slack_s)


@dataclass(frozen=True)
class Features:
    """How features are written down: the codec, and what an image of a network's then takes, by network."""

    codec: str
    bytes_per_image: Mapping[str, int]


def lower(
    bundles: Iterable[Bundle], job: str, topic: str, addresses: Mapping[str, str], features: Features
) -> tuple[HighLevelGraph, list[tuple[Any, ...]]]:
    """Return the graph of some bundles and, in their order, the key of each one's last task.

    Every task is pinned to its device's address and asks for its tier's resource, so a worker that is not of
    that tier never runs it. Keys are named by stage and network: Dask averages durations by that prefix; then come
    the job and the bundle's number.
    """
    graph: dict[tuple[Any, ...], Task] = {}
    workers: dict[tuple[Any, ...], list[str]] = {}
    resources: dict[tuple[Any, ...], dict[str, int]] = {}
    last = []

    def add(device: Device, function: Callable[..., Any], order: Any, below: list[Any]) -> list[Any]:
        key = order.key
        graph[key] = Task(key, function, order, *below)
        workers[key], resources[key] = [addresses[device.name]], {device.tier: 1}
        return [TaskRef(key)]

    for bundle in bundles:
        end, encoder, upper = bundle.end, bundle.encoder, bundle.upper
        chain = [end, *(device for device in (encoder, upper) if device is not None)]
        targets = [Target(device.name, addresses[device.name]) for device in chain[1:]]
        encoded = upper.network if upper is not None and not upper.dependable else None
        stand_in_bytes = features.bytes_per_image.get(encoded or "", 0)
        order: Any = EndOrder(
            job=job,
            topic=topic,
            key=(f"end-{end.network}", job, bundle.number),
            parcel=bundle.parcel(job),
            batches=bundle.batches,
            sizes=bundle.sizes,
            target=targets[0] if targets else None,
            stem=None if encoder is not None else encoded,
            codec=features.codec,
            coarse=bundle.coarse,
            stand_in_bytes=stand_in_bytes,
        )
        below = add(end, run_end, order, [])
        if encoder is not None and encoded is not None:
            key = (f"encode-{encoded}", job, bundle.number)
            order = EncodeOrder(job, topic, key, targets[1], encoded, features.codec, stand_in_bytes)
            below = add(encoder, run_encode, order, below)
        if upper is not None:
            order = UpperOrder(job, topic, (f"{upper.tier}-{upper.network}", job, bundle.number))
            add(upper, run_upper, order, below)
        last.append(order.key)
    annotations = {"workers": workers.get, "resources": resources.get}
    layer = MaterializedLayer(graph, annotations=annotations)
    return HighLevelGraph({"hddnn": layer}, {"hddnn": set()}), last
