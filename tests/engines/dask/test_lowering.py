"""Lowering: the graph pins every task, and ties the upper task to the end task."""

from __future__ import annotations

import pickle

import pytest
from systems import packaged_system

from hddnn.engines.dask.device import run_end, run_upper
from hddnn.engines.dask.lowering import (
    BUNDLE_ALONE_S,
    BUNDLE_BATCHES,
    BUNDLE_S,
    Bundle,
    bundle_size,
    end_order,
    lower,
)

SYSTEM = packaged_system()
END, EDGE, CLOUD = SYSTEM.device("end-1"), SYSTEM.device("edge-1"), SYSTEM.device("cloud-1")
ADDRESSES = {"end-1": "tcp://a", "edge-1": "tcp://b", "cloud-1": "tcp://c"}


def test_an_upper_task_depends_on_its_end_task_and_both_are_pinned() -> None:
    graph, keys = lower([Bundle(1, END, EDGE, (0, 1), (20, 20))], "job", "topic", ADDRESSES)
    tasks = dict(graph)
    (upper,) = keys
    (end,) = tasks[upper].dependencies
    assert tasks[end].func is run_end
    assert tasks[upper].func is run_upper
    annotations = graph.layers["hddnn"].annotations
    assert annotations["workers"](end) == ["tcp://a"]
    assert annotations["workers"](upper) == ["tcp://b"]
    assert annotations["resources"](end) == {"end": 1}
    assert annotations["resources"](upper) == {"edge": 1}


def test_without_an_upper_device_the_end_task_is_the_last() -> None:
    graph, keys = lower([Bundle(1, END, None, (0,), (20,))], "job", "topic", ADDRESSES)
    assert keys == list(graph)


def test_only_an_undependable_upper_device_gets_features() -> None:
    assert end_order(Bundle(1, END, EDGE, (0,), (20,)), "job", "t", "key").stem is None
    assert end_order(Bundle(1, END, CLOUD, (0,), (20,)), "job", "t", "key").stem == "wrn16_4"


def test_the_graph_holds_no_images() -> None:
    bundles = [Bundle(n, END, CLOUD, (n,), (50,)) for n in range(100)]
    graph, _ = lower(bundles, "job", "topic", ADDRESSES)
    assert len(pickle.dumps(graph)) < 100 * 1000  # one raw batch alone is 153,600 bytes


@pytest.mark.parametrize(
    ("slowest_s", "pending", "size"),
    [
        (0.0, 1000, BUNDLE_BATCHES),
        (0.0, 3, 3),
        (BUNDLE_S / 10, 1000, 10),
        (BUNDLE_S, 1000, 1),
        (1.0, 1000, 1),
        (0.001, 1, 1),
    ],
)
def test_batches_share_a_task_only_while_that_task_is_short(
    slowest_s: float, pending: int, size: int
) -> None:
    assert bundle_size(slowest_s, pending, goes_up=True) == size


def test_a_task_may_be_longer_when_no_upper_device_waits_for_it() -> None:
    assert bundle_size(BUNDLE_S / 2, 1000, goes_up=False) == BUNDLE_ALONE_S / (BUNDLE_S / 2)
    assert bundle_size(BUNDLE_ALONE_S, 1000, goes_up=False) == 1
