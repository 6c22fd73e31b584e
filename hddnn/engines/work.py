"""What is sent at once, and how much may be under way: the same for every engine that executes plans."""

from __future__ import annotations

import os

from hddnn.planning.bounds import lower_bound_s
from hddnn.planning.costs import CostTable
from hddnn.planning.plan import NO_DEVICE, Plan
from hddnn.policies import Work

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


def bundle_size(slowest_s: float, pending: int, *, goes_up: bool) -> int:
    """Return how many of the pending batches go into one task, given the slowest stage's seconds a batch."""
    longest_s = BUNDLE_S if goes_up else BUNDLE_ALONE_S
    if slowest_s * 2 > longest_s:
        return 1
    fits = BUNDLE_BATCHES if slowest_s <= 0 else int(longest_s / slowest_s)
    return max(1, min(fits, BUNDLE_BATCHES, pending))


def make_work(plan: Plan, costs: CostTable, time_scale: float = 1.0, *, own_speed: int = 0) -> Work:
    """Return a job as a policy sees it: what is sent at once, and how much may be under way.

    An end device's window holds at least two bundles, so that the next is there when one is done, and two batches
    for each upper device that it feeds, so that none of them waits for the window. own_speed: devices without a
    modelled time; the predicted time takes them to share this machine's cores.
    """
    devices, size = plan.topology.devices, int(plan.sizes[0])
    bundles: dict[tuple[int, int], int] = {}
    fed: dict[int, int] = {}
    largest: dict[int, int] = {}
    for (end, upper), batches in plan.routes().items():
        stages = [costs.service_s(devices[end], size)]
        if upper != NO_DEVICE:
            via = int(plan.via[batches[0]])
            encoder = None if via == NO_DEVICE else devices[via]
            way_s = costs.way_s(devices[end], devices[upper], size, encoder)
            stages += [costs.service_s(devices[upper], size), way_s]
        count = bundle_size(max(stages) * time_scale, len(batches), goes_up=upper != NO_DEVICE)
        bundles[end, upper] = count
        fed[end] = fed.get(end, 0) + 1
        largest[end] = max(largest.get(end, 1), count)
    ends = [index for index, device in enumerate(devices) if device.tier == "end"]
    windows = {end: max(WINDOW, 2 * largest.get(end, 1), 2 * fed.get(end, 0)) for end in ends}
    sharing = max(1.0, own_speed / (os.cpu_count() or 1))
    predicted_s = max(lower_bound_s(plan, costs) * sharing, LEAST_S / time_scale if time_scale else LEAST_S)
    slack_s = SLACK_S / time_scale if time_scale else 0.0
    return Work(plan, costs, bundles, windows, predicted_s, slack_s)
