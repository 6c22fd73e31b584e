"""The least time that a plan can take."""

from __future__ import annotations

import numpy as np

from hddnn.planning.costs import CostTable
from hddnn.planning.plan import Plan
from hddnn.system.times import ServiceTime
from hddnn.system.topology import Topology


def lower_bound_s(plan: Plan, costs: CostTable) -> float:
    """Return the least time in s in which any schedule can finish a plan, jitter counted as 0.

    The rules: every batch lies on its end device at 0. An end device serves and encodes its batches one after
    another, an upper device serves its own one after another. A serial link's delay occupies the receiver.
    An overlapped link (a receiver has one from the end tier and one from the edge) carries one payload at a time
    for 8 bytes / bandwidth and delivers it a latency later. An edge device that encodes is busy with that.

    The result is the largest, over every device and link, of head + busy + tail: the least time before work
    can reach it, what it then has to do, and the least time from leaving it to the end. For an end device the
    rests that are longest come first; behind it, the k-th arrival bounds what is left to do after it, for
    every k. Both are the one-machine bounds of scheduling theory (Jackson 1955; Carlier 1982).
    Rounding of the sums may lift the result a little: compare with a relative tolerance of 1e-9.
    """
    end, upper, encoding = (column.astype(np.int64) for column in (plan.end, plan.upper, plan.encoder))
    n_devices = len(plan.topology.devices)
    ways, route = np.unique(np.stack([end, upper, encoding]), axis=1, return_inverse=True)
    rates = np.array([_rates(plan.topology, costs, *way) for way in ways.T.tolist()])  # (R, 14)
    steps_s = rates[route, :5] * plan.sizes[:, None] + rates[route, 5:10]
    end_s, transfer_s, work_s, to_encoder_s, encode_s = steps_s.T  # (N,) each
    latency_s, encoder_latency_s = rates[route, 10], rates[route, 11]
    serial, encoder_serial = rates[route, 12] > 0, rates[route, 13] > 0
    goes_up = upper >= 0
    way_s = to_encoder_s + encoder_latency_s + encode_s  # to the edge device that encodes, and through it
    last_s = np.where(goes_up, transfer_s + latency_s + work_s, 0.0)

    order = np.lexsort((-(way_s + last_s), end))
    bound_s = float((_running_sum(end_s[order], end[order]) + (way_s + last_s)[order]).max())
    if not goes_up.any():
        return bound_s

    def departures(target: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Return the batches that go to a target, in its order, and the least times at which they leave for it.

        The j-th batch from one end device to one target leaves no earlier than its j shortest together.
        """
        order = np.lexsort((end_s, end, target))
        order = order[np.count_nonzero(target < 0) :]
        return order, _running_sum(end_s[order], target[order] * n_devices + end[order])

    if plan.by_edge:
        order, leaves_s = departures(encoding)
        busy_s = np.where(encoder_serial, way_s, encode_s)[order]
        hop_s = np.where(encoder_serial, 0.0, to_encoder_s + encoder_latency_s)[order]
        ready_s = _reaches_s(encoding[order], leaves_s, end_s[order], hop_s)
        bound_s = max(bound_s, _serve_bound_s(encoding[order], ready_s, busy_s, last_s[order]))

    # A serial link is part of the receiver's work; what is left of it as a link takes no time.
    work_s = np.where(serial, last_s, work_s)
    transfer_s, latency_s = np.where(serial, 0.0, transfer_s), np.where(serial, 0.0, latency_s)

    # A receiver has a link from the end tier, and one from the edge.
    link = np.where(goes_up, 2 * upper + (encoding >= 0), -1)
    order, leaves_s = departures(link)
    group = link[order]  # sorted; every array below lies in this order of links
    transfer_s, latency_s, work_s = transfer_s[order], latency_s[order], work_s[order]
    leaves_s = _reaches_s(group, leaves_s, end_s[order], way_s[order])
    bound_s = max(bound_s, _serve_bound_s(group, leaves_s, transfer_s, latency_s + work_s))

    # The k-th payload arrives after the k-th departure and its own transfer, and after k transfers in a row.
    shortest_s = _sorted(transfer_s, group)
    starts, counts = _groups(group)
    arrives_s = latency_s + np.maximum(
        leaves_s + np.repeat(shortest_s[starts], counts),
        np.repeat(leaves_s[starts], counts) + _running_sum(shortest_s, group),
    )
    by_device = np.lexsort((arrives_s, group // 2))
    group, arrives_s, work_s = group[by_device] // 2, arrives_s[by_device], work_s[by_device]
    return max(bound_s, _serve_bound_s(group, arrives_s, work_s, np.zeros_like(work_s)))


def _rates(topology: Topology, costs: CostTable, end: int, upper: int, encoding: int) -> tuple[float, ...]:
    """Return what a way costs.

    Five steps: on the end device, over the link up, on the upper device, over the link to the edge device that
    encodes, and to encode there. Of each the seconds an image, then of each the seconds a batch. Seconds: the
    latency of either link. 1 where either is serial.
    """
    devices, nothing = topology.devices, ServiceTime(0.0)
    source = devices[end]
    end_time = costs.service_times[source.name]
    if upper < 0:
        return *_columns(end_time, nothing, nothing, nothing, nothing), 0.0, 0.0, 0.0, 0.0
    target = devices[upper]
    work = costs.service_times[target.name]
    if encoding < 0:
        end_time += nothing if target.trusted else costs.encode_time(source, target.network)
        link, sent = costs.link(source, target), ServiceTime(costs.transfer_s(source, target, 1))
        steps = _columns(end_time, sent, work, nothing, nothing)
        return *steps, link.latency_s, 0.0, float(link.mode == "serial"), 0.0
    encoder = devices[encoding]
    first, last = costs.link(source, encoder), costs.link(encoder, target)
    return (
        *_columns(
            end_time,
            ServiceTime(costs.transfer_s(encoder, target, 1)),
            work,
            ServiceTime(costs.transfer_s(source, encoder, 1)),
            costs.encode_time(encoder, target.network),
        ),
        last.latency_s,
        first.latency_s,
        float(last.mode == "serial"),
        float(first.mode == "serial"),
    )


def _columns(*steps: ServiceTime) -> tuple[float, ...]:
    """Return the steps' seconds an image, then their seconds a batch."""
    return *(step.seconds_per_image for step in steps), *(step.seconds_per_batch for step in steps)


def _groups(group: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the first position and the length of each run of equal values."""
    starts = np.flatnonzero(np.concatenate(([True], group[1:] != group[:-1])))
    return starts, np.diff(np.append(starts, len(group)))


def _sorted(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return the values ascending in each group; group is sorted."""
    return values[np.lexsort((values, group))]


def _reaches_s(group: np.ndarray, leaves_s: np.ndarray, end_s: np.ndarray, way_s: np.ndarray) -> np.ndarray:
    """Return the least times in s of the k-th arrivals at each group's link or device, ascending in a group.

    All of shape (N,), in order of group: least departures, and each batch's own service and way. Which batch
    leaves k-th is open, so that the k-th departure has only the shortest way behind it; and no batch is there
    before its own service and way are over.
    """
    starts, counts = _groups(group)
    shortest_s = np.repeat(np.minimum.reduceat(way_s, starts), counts)
    return np.maximum(_sorted(leaves_s, group) + shortest_s, _sorted(end_s + way_s, group))


def _running_sum(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Return the sum of the values up to each position, begun anew where the group changes."""
    total = np.cumsum(values)
    starts, counts = _groups(group)
    return total - np.repeat(total[starts] - values[starts], counts)


def _serve_bound_s(group: np.ndarray, ready_s: np.ndarray, busy_s: np.ndarray, tail_s: np.ndarray) -> float:
    """Return the least time in s until each group's server has served what arrives, and its least tail.

    All of shape (N,), in order of group; ready_s ascending in a group: the least time of its k-th arrival.
    Which batch comes k-th is open, so that the work left from then on is that of its shortest batches.
    """
    longest_first = busy_s[np.lexsort((-busy_s, group))]
    left_s = _running_sum(longest_first[::-1], group[::-1])[::-1]
    starts, _ = _groups(group)
    served_s = np.maximum.reduceat(ready_s + left_s, starts)
    return float((served_s + np.minimum.reduceat(tail_s, starts)).max())
