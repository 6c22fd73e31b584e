"""From orders to a Dask graph: each upper device's task depends on the end device's task. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from dask._task_spec import Task, TaskRef
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer

from hddnn.engines.dask.device import run_end, run_upper
from hddnn.engines.dask.messages import EndOrder, UpperOrder
from hddnn.topology import Device

#: Longest time that the batches of one task may take together. Above it, one batch a task: nothing is gained,
#: since a task costs the engine about 1 ms, and the upper device would wait for the whole bundle.
BUNDLE_S = 0.05
#: The same where nothing goes up: nobody waits for the bundle, and answers arrive batch by batch anyway.
BUNDLE_ALONE_S = 0.2
BUNDLE_BATCHES = 32


@dataclass(frozen=True)
class Bundle:
    """Some batches of one end device that go the same way, sent as one chain of tasks.

    number: counts the bundles of a job, retries included, so that every task has a key of its own.
    """

    number: int
    end: Device
    upper: Device | None
    batches: tuple[int, ...]
    sizes: tuple[int, ...]

    def parcel(self, job: str) -> str:
        """Return the name under which the images are pushed to the end device."""
        return f"{job}-{self.number}"


def bundle_size(slowest_s: float, pending: int, *, goes_up: bool) -> int:
    """Return how many of the pending batches go into one task, given the slowest stage's seconds a batch."""
    longest_s = BUNDLE_S if goes_up else BUNDLE_ALONE_S
    if slowest_s * 2 > longest_s:
        return 1
    fits = BUNDLE_BATCHES if slowest_s <= 0 else int(longest_s / slowest_s)
    return max(1, min(fits, BUNDLE_BATCHES, pending))


def end_order(bundle: Bundle, job: str, topic: str, key: Any) -> EndOrder:
    """Return what the end device's task is told."""
    upper = bundle.upper
    return EndOrder(
        job=job,
        topic=topic,
        key=key,
        parcel=bundle.parcel(job),
        batches=bundle.batches,
        sizes=bundle.sizes,
        goes_up=upper is not None,
        stem=upper.network if upper is not None and not upper.dependable else None,
    )


def lower(
    bundles: Iterable[Bundle], job: str, topic: str, addresses: Mapping[str, str]
) -> tuple[HighLevelGraph, list[tuple[Any, ...]]]:
    """Return the graph of some bundles and, in their order, the key of each one's last task.

    Every task is pinned to its device's address and asks for its tier's resource, so a worker that is not of
    that tier never runs it. Keys are named by stage and network: Dask averages durations by that prefix.
    """
    graph: dict[tuple[Any, ...], Task] = {}
    workers: dict[tuple[Any, ...], list[str]] = {}
    resources: dict[tuple[Any, ...], dict[str, int]] = {}
    last = []
    for bundle in bundles:
        key: tuple[Any, ...] = (f"end-{bundle.end.network}", job, bundle.number)
        graph[key] = Task(key, run_end, end_order(bundle, job, topic, key))
        workers[key], resources[key] = [addresses[bundle.end.name]], {"end": 1}
        if bundle.upper is not None:
            below, key = key, (f"{bundle.upper.tier}-{bundle.upper.network}", job, bundle.number)
            graph[key] = Task(key, run_upper, UpperOrder(job, topic, key), TaskRef(below))
            workers[key], resources[key] = [addresses[bundle.upper.name]], {bundle.upper.tier: 1}
        last.append(key)
    annotations = {"workers": workers.get, "resources": resources.get}
    layer = MaterializedLayer(graph, annotations=annotations)
    return HighLevelGraph({"hddnn": layer}, {"hddnn": set()}), last
