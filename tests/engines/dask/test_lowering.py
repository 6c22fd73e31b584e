"""Lowering: the graph pins every task, and ties the upper task to the end task."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
import pytest
from systems import packaged_system

from hddnn.engines.common import GROUP_ALONE_S, GROUP_BATCHES, GROUP_S, group_size
from hddnn.engines.dask.client.lowering import BatchGroup, Features, lower
from hddnn.engines.dask.device.pipeline import run_encode, run_end, run_upper
from hddnn.engines.dask.wire.messages import Payload, Target

SYSTEM = packaged_system()
END, EDGE, CLOUD = SYSTEM.device("end-1"), SYSTEM.device("edge-1"), SYSTEM.device("cloud-1")
ADDRESSES = {"end-1": "tcp://a", "edge-1": "tcp://b", "cloud-1": "tcp://c"}
FEATURES = Features("float32", {"wrn16_4": 65536})


def lowered(*groups: BatchGroup) -> tuple[Any, list[tuple[Any, ...]]]:
    return lower(groups, "job", "topic", ADDRESSES, FEATURES)


def orders(*groups: BatchGroup) -> list[Any]:
    """Return what the tasks of some groups are told, in the order of their chain."""
    graph, _ = lowered(*groups)
    return [task.args[0] for task in dict(graph).values()]


def test_an_upper_task_depends_on_its_end_task_and_both_are_pinned() -> None:
    graph, keys = lowered(BatchGroup(1, END, EDGE, (0, 1), (20, 20)))
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
    graph, keys = lowered(BatchGroup(1, END, None, (0,), (20,)))
    assert keys == list(graph)


def test_only_an_undependable_upper_device_gets_features() -> None:
    raw, _ = orders(BatchGroup(1, END, EDGE, (0,), (20,)))
    assert raw.stem is None
    assert raw.target == Target("edge-1", "tcp://b")
    features, _ = orders(BatchGroup(1, END, CLOUD, (0,), (20,)))
    assert features.stem == "wrn16_4"
    assert features.codec == "float32"
    assert features.placeholder_bytes == 65536


def test_an_edge_device_that_encodes_stands_between() -> None:
    graph, keys = lowered(BatchGroup(1, END, CLOUD, (0,), (20,), encoder=EDGE))
    tasks = dict(graph)
    (upper,) = keys
    (encode,) = tasks[upper].dependencies
    (end,) = tasks[encode].dependencies
    assert tasks[encode].func is run_encode
    assert graph.layers["hddnn"].annotations["workers"](encode) == ["tcp://b"]
    assert graph.layers["hddnn"].annotations["resources"](encode) == {"edge": 1}
    assert tasks[end].args[0].stem is None
    assert tasks[end].args[0].target == Target("edge-1", "tcp://b")
    assert tasks[encode].args[0].stem == "wrn16_4"
    assert tasks[encode].args[0].target == Target("cloud-1", "tcp://c")


def test_the_graph_holds_no_images() -> None:
    groups = [BatchGroup(n, END, CLOUD, (n,), (50,)) for n in range(100)]
    graph, _ = lowered(*groups)
    assert len(pickle.dumps(graph)) < 100 * 1000  # one raw batch alone is 153,600 bytes


@pytest.mark.parametrize(
    ("slowest_s", "pending", "size"),
    [
        (0.0, 1000, GROUP_BATCHES),
        (0.0, 3, 3),
        (GROUP_S / 10, 1000, 10),
        (GROUP_S, 1000, 1),
        (1.0, 1000, 1),
        (0.001, 1, 1),
        (5e-324, 1000, GROUP_BATCHES),  # what is nearly nothing
    ],
)
def test_batches_share_a_task_only_while_that_task_is_short(
    slowest_s: float, pending: int, size: int
) -> None:
    assert group_size(slowest_s, pending, goes_up=True) == size


def test_a_task_may_be_longer_when_no_upper_device_waits_for_it() -> None:
    assert group_size(GROUP_S / 2, 1000, goes_up=False) == GROUP_ALONE_S / (GROUP_S / 2)
    assert group_size(GROUP_ALONE_S, 1000, goes_up=False) == 1


def test_a_payload_that_is_quoted_shows_nothing_of_its_images() -> None:
    pixels = np.arange(200, dtype=np.uint8)
    payload = Payload(3, 1, pixels, "images", "end-1", "end", Target("edge-1", "tcp://b"), 0.0, 200, "boot")
    for quoted in (repr(payload), str([payload]), f"{payload}"):
        assert "edge-1" in quoted
        assert "array" not in quoted
        assert "197" not in quoted


def test_a_device_takes_its_groups_in_the_order_of_their_numbers() -> None:
    graph, _ = lowered(*(BatchGroup(number, END, EDGE, (number,), (20,)) for number in (3, 1, 2)))
    priority = graph.layers["hddnn"].annotations["priority"]
    ends = [key for key, task in dict(graph).items() if task.func is run_end]
    assert [key[-1] for key in sorted(ends, key=priority, reverse=True)] == [
        1,
        2,
        3,
    ]  # the highest goes first


def test_only_what_lies_on_its_device_as_the_job_begins_is_told_of_that_moment() -> None:
    groups = [BatchGroup(1, END, EDGE, (0,), (20,), laid_out=True), BatchGroup(2, END, EDGE, (1,), (20,))]
    graph, _ = lower(groups, "job", "topic", ADDRESSES, FEATURES, {"end-1": 7.5})
    assert [task.args[0].begun_s for task in dict(graph).values() if task.func is run_end] == [7.5, None]
