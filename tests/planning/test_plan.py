"""A plan keeps its arrays, finds its devices, and refuses what its topology does not allow."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from systems import Shape, systems, tiers

from hddnn.errors import PlanError, TrustViolation
from hddnn.planning.plan import NO_DEVICE, Plan, encoded_at_edge, make_routes
from hddnn.system.topology import Topology

# Devices 0, 1: end; 2: dependable edge; 3: undependable edge; 4: cloud.
TOPOLOGY = tiers(2, 2, 1)


def plan(**changes: Any) -> Plan:
    fields: dict[str, Any] = {
        "sizes": [50, 50, 50, 7],
        "end": [0, 1, 0, 1],
        "upper": [2, 3, NO_DEVICE, 4],
        "encoded": [False, True, False, True],
    }
    return Plan("test", TOPOLOGY, **(fields | changes))


def test_fields() -> None:
    made = plan()
    assert made.n_batches == 4
    assert [made.end_device(b).name for b in range(4)] == ["end-0", "end-1", "end-0", "end-1"]
    uppers = [made.upper_device(b) for b in range(4)]
    assert [u and u.name for u in uppers] == ["edge-0", "edge-1", None, "cloud-0"]
    dtypes = [made.sizes.dtype, made.end.dtype, made.upper.dtype, made.encoded.dtype]
    assert dtypes == [np.int64, np.int32, np.int32, np.bool_]


def test_arrays_cannot_be_changed_from_either_side() -> None:
    sizes = np.array([50, 50, 50, 7])
    made = plan(sizes=sizes)
    sizes[0] = 1
    assert made.sizes[0] == 50
    with pytest.raises(ValueError, match="read-only"):
        made.end[0] = 1


def test_routes() -> None:
    made = make_routes(
        "test", TOPOLOGY, Shape.of(6), np.array([0, 1, 0, 1, 0, 1]), np.array([2, 4, 2, 4, 4, -1])
    )
    found = {route: batches.tolist() for route, batches in made.routes().items()}
    assert found == {(0, 2): [0, 2], (0, 4): [4], (1, 4): [1, 3], (1, -1): [5]}


def test_a_million_batches() -> None:
    n = 1_000_000
    made = make_routes("test", TOPOLOGY, Shape.of(n), np.arange(n) % 2, 2 + np.arange(n) % 3)
    assert sum(len(batches) for batches in made.routes().values()) == n
    assert len(made.routes()) == 6


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"sizes": [50, 0, 50, 7]}, r"batch 1 \(end 1, upper 3, 0 images\) has no image"),
        ({"sizes": []}, "end has shape"),
        ({"sizes": [], "end": [], "upper": [], "encoded": []}, "at least one batch"),
        ({"end": [0, 1]}, r"end has shape \(2,\), sizes \(4,\)"),
        ({"end": [[0], [1], [0], [1]]}, "end has shape"),
        ({"end": [0, 9, 0, 1]}, "batch 1 .* no such end device"),
        ({"end": [-1, 0, 0, 1]}, "batch 0 .* no such end device"),
        ({"end": [0, 1, 2, 1]}, "batch 2 .* not of the end tier"),
        ({"upper": [2, 3, -2, 4]}, "batch 2 .* no such upper device"),
        ({"upper": [2, 3, -1, 5]}, "batch 3 .* no such upper device"),
        ({"upper": [1, 3, -1, 4]}, "batch 0 .* goes up to a device of the end tier"),
        ({"encoded": [True, True, False, True]}, "batch 0 .* no undependable device"),
        ({"encoded": [False, True, True, True]}, "batch 2 .* no undependable device"),
        ({"encoder": [-1, -1]}, r"encoder has shape \(2,\)"),
        ({"encoder": [-1, -1, -1, 5]}, "batch 3 .* no such encoding device"),
        ({"encoder": [-1, -1, -1, 0]}, "batch 3 .* a device that is no edge"),
        ({"encoder": [2, -1, -1, -1]}, "batch 0 .* a device to encode it, and is not encoded"),
        ({"encoder": [-1, 2, -1, -1]}, "batch 1 .* encoded at an edge, for no cloud"),
    ],
)
def test_refuses(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(PlanError, match=message):
        plan(**changes)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"encoded": [False, False, False, True]}, "batch 1 .* raw images to an undependable"),
        ({"encoded": [False, True, False, False]}, "batch 3 .* raw images to an undependable"),
        ({"encoder": [-1, -1, -1, 3]}, "batch 3 .* encoded by an undependable"),
    ],
)
def test_no_plan_shows_images_to_an_undependable_device(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(TrustViolation, match=message):
        plan(**changes)


@given(topology=systems(), data=st.data())
def test_no_route_of_raw_images_to_an_undependable_device_can_be_made(
    topology: Topology, data: st.DataObject
) -> None:
    index = st.integers(-1, len(topology.devices) - 1)
    end, upper, encoder, encoded = (
        data.draw(st.lists(kind, min_size=3, max_size=3)) for kind in (index, index, index, st.booleans())
    )
    try:
        made = Plan("any", topology, [1, 1, 1], end, upper, encoded, encoder=encoder)  # type: ignore[arg-type]
    except PlanError:
        return
    for batch in range(3):
        upper_device, encoder = made.upper_device(batch), made.encoder[batch]
        seen = [] if upper_device is None or made.encoded[batch] else [upper_device]
        seen += [] if encoder == NO_DEVICE else [topology.devices[encoder]]
        assert all(device.trusted for device in [made.end_device(batch), *seen])


def test_the_encoding_edge_devices_are_taken_in_turn() -> None:
    topology = tiers(3, 4, 1)  # edge-0 and edge-2 are dependable: indices 3 and 5
    made = make_routes("test", topology, Shape.of(6), np.arange(6) % 3, np.array([7, 7, 7, 7, 3, 4]))
    assert encoded_at_edge(made).encoder.tolist() == [3, 5, 3, 3, NO_DEVICE, NO_DEVICE]
    none = make_routes("test", tiers(1, 0, 1), Shape.of(2), np.zeros(2, int), np.ones(2, int))
    with pytest.raises(PlanError, match="no dependable edge device to encode at"):
        encoded_at_edge(none)
