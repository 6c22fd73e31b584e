"""What limits a run: for how much of its finish time each device, link and the client was busy.

Shares are of the makespan, from the spans of hddnn.results.spans; one that is used by nobody has 0:

  end, edge, cloud devices   a device works: it classifies or encodes
  link end > cloud           the link to a receiving device is taken; an overlapped link's latency does not take it
  client                     the assigner: an end device waits for it to release batches. It is idle, more of its
                             batches are to come, and none of them is under way, which is from its images' arrival
                             to the end of its last step on a device. So a client that holds batches back since
                             enough are under way keeps nobody waiting. Work that was lost or dropped looks like
                             waiting: after faults, read this share with that in mind.

What limits: a device is occupied while it works or receives over a serial link, a link while it is taken. The one
that is occupied most limits when that is for LIMIT or more of the time; where none is, the client does, when end
devices wait for it for WAITING or more; else none is the limit, and the busiest is named all the same. Where more
than UNANSWERED of the batches have not all their answers, no limit is named: something else kept them from it.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from textwrap import shorten
from typing import TYPE_CHECKING

import numpy as np

from hddnn.results.spans import WORK, Spans, covered_s, link_name, places, spans_of, topology_of
from hddnn.system.topology import TIERS, Device, Topology

if TYPE_CHECKING:
    import xarray as xr

CLIENT = "client"
LIMIT, WAITING = 0.8, 0.2
#: A device that receives for a smaller share does not limit by that.
SMALL = 0.05
#: Of what a device is occupied with, receiving or work that is a smaller part of it is not named.
PART = 0.25
#: So large a share of batches without all their answers leaves nothing to be said on limits.
UNANSWERED = 0.05
#: How many reasons for that are given.
REASONS = 3


@dataclass(frozen=True)
class _Load:
    """One resource under one scheme. busy: share by device or link."""

    busy: dict[str, float]

    @property
    def mean(self) -> float:
        return float(np.mean(list(self.busy.values()))) if self.busy else 0.0

    @property
    def busiest(self) -> str:
        return max(self.busy, key=self.busy.__getitem__) if any(self.busy.values()) else ""


@dataclass(frozen=True)
class _Limit:
    """What may limit: resources, for what share they are occupied, how that is said, and who it is, in brief."""

    resources: tuple[str, ...]
    share: float
    text: str
    brief: str


def bottlenecks(cube: xr.Dataset) -> xr.Dataset:
    """Return for what share of a run each tier, link and the client was busy, and which of them limits it.

    Args:
        cube: A run's, as `run` returns it.

    Returns:
        A cube of dims scheme and resource: `share`, mean over a tier's devices, or a tier's links of one kind;
        `busiest_share` and `busiest`, the largest, and whose it is; `limiting`, whether the resource limits;
        and `verdict` (scheme), that in a sentence. NaN for a scheme without answers.

    Raises:
        TopologyError: The cube's attributes hold no topology that can be read.

    Example:
        >>> from hddnn import Job, load_dataset, run
        >>> cube = run("paper", Job(load_dataset("sample"), images=1000), ["end-cloud"], engine="sim")
        >>> shares = bottlenecks(cube).sel(scheme="end-cloud")
        >>> [str(name) for name in shares.resource[shares.limiting].values]
        ['link end > cloud', 'cloud devices']
    """
    import xarray as xr

    topology = topology_of(cube)
    schemes = [str(name) for name in cube.scheme.values]
    resources = list(_resources(topology))
    shape = (len(schemes), len(resources))
    share, most = np.full(shape, np.nan), np.full(shape, np.nan)
    busiest, limiting = np.full(shape, "", object), np.zeros(shape, bool)
    verdicts = []
    for row, scheme in enumerate(schemes):
        makespan_s = float(cube.makespan_s.sel(scheme=scheme))
        if not (np.isfinite(makespan_s) and makespan_s > 0):
            verdicts.append(f"{scheme}: no answer, so nothing to say.")
            continue
        spans = spans_of(cube, scheme, topology)
        loads = _loads(spans, topology, makespan_s)
        loads[CLIENT] = _Load(_waiting(cube.sel(scheme=scheme), spans, topology, makespan_s))
        limit, verdict = _limit(spans, topology, makespan_s, loads)
        if "outcome" in cube:
            outcomes = cube.outcome.sel(scheme=scheme).values.astype(str)
            unanswered = _unanswered(outcomes)
            if np.mean(outcomes != "ok") > UNANSWERED:
                limit, verdict = (), f"{unanswered}, so no limit is named."
            elif unanswered:
                verdict = f"{unanswered}; as for the others, {verdict}"
        for column, name in enumerate(resources):
            load = loads[name]
            share[row, column], busiest[row, column] = load.mean, load.busiest
            most[row, column] = max(load.busy.values(), default=0.0)
            limiting[row, column] = name in limit
        verdicts.append(f"{scheme}: {verdict}")

    def variable(values: np.ndarray, long_name: str) -> tuple[tuple[str, str], np.ndarray, dict[str, str]]:
        return ("scheme", "resource"), values, {"units": "1", "long_name": long_name}

    about = {"units": "1", "long_name": "what limits the scheme"}
    return xr.Dataset(
        {
            "share": variable(share, "share of the finish time that it is busy, mean of its devices or links"),
            "busiest_share": variable(most, "the same of the busiest one"),
            "busiest": variable(busiest.astype(str), "the busiest one; of the client: who waits longest for it"),
            "limiting": variable(limiting, "whether it limits the finish time"),
            "verdict": (("scheme",), np.array(verdicts, str), about),
        },
        {"scheme": cube.scheme.values, "resource": np.array(resources, str)},
    )  # fmt: skip


def _resources(topology: Topology) -> Iterator[str]:
    """Yield the client, and each tier of the topology behind its links, on the way up."""
    yield CLIENT
    for tier in TIERS:
        if topology.tier(tier):
            for low in TIERS[: TIERS.index(tier)]:
                if topology.tier(low):
                    yield f"link {low} > {tier}"
            yield f"{tier} devices"


def _loads(spans: Spans, topology: Topology, makespan_s: float) -> dict[str, _Load]:
    loads = {}
    for tier in TIERS:
        devices = topology.tier(tier)
        work = {d.name: spans.of(d.name, WORK).covered_s(makespan_s) / makespan_s for d in devices}
        loads[f"{tier} devices"] = _Load(work)
        for low in TIERS[: TIERS.index(tier)]:
            names = [link_name(low, device.name) for device in devices]
            taken = {name: spans.of(name, ("link",)).covered_s(makespan_s) / makespan_s for name in names}
            loads[f"link {low} > {tier}"] = _Load(taken)
    return loads


def _waiting(one: xr.Dataset, spans: Spans, topology: Topology, makespan_s: float) -> dict[str, float]:
    """Return by end device the share of time for which it waits for the client; 0 where it gets no batch."""
    received_s = one.end_received_s.values
    done_s = np.fmax(one.end_done_s.values, one.upper_done_s.values)
    for batch, end_s in zip(spans.batch.tolist(), spans.end_s.tolist(), strict=True):
        done_s[batch] = np.fmax(done_s[batch], end_s)
    shares = dict.fromkeys((device.name for device in topology.tier("end")), 0.0)
    for name, mine in places(one.end_device.values).items():
        mine = mine[np.isfinite(received_s[mine]) & np.isfinite(done_s[mine])]
        if not mine.size:
            continue
        until_s = min(float(received_s[mine].max()), makespan_s)
        under_way_s = covered_s(received_s[mine], done_s[mine], until_s)
        shares[name] = max(0.0, until_s - under_way_s) / makespan_s
    return shares


def _limit(
    spans: Spans, topology: Topology, makespan_s: float, loads: dict[str, _Load]
) -> tuple[tuple[str, ...], str]:
    """Return the resources that limit, and that in a sentence."""
    candidates = [_of_device(device, spans, loads, makespan_s) for device in topology.devices]
    for name, load in loads.items():
        if name.startswith("link ") and load.busiest:
            share = max(load.busy.values())
            text = f"the link {name.removeprefix('link ')} is busy {_percent(load.mean)} of the time"
            if _percent(share) != _percent(load.mean):
                text += f" on average, {load.busiest} {_percent(share)}"
            # A serial link is never occupied for longer than its receiver, which then comes first.
            candidates.append(_Limit((name,), share, text, f"the link {load.busiest} ({_percent(share)})"))
    worst = max(candidates, key=lambda limit: limit.share)
    waiting = loads[CLIENT]
    several = len(worst.resources) > 1
    if worst.share >= LIMIT:
        together, serial = ("together they are", ", as that link is serial") if several else ("that is", "")
        return worst.resources, f"{worst.text}: {together} the limit{serial}."
    if waiting.mean >= WAITING:
        return (CLIENT,), (
            f"end devices wait {_percent(waiting.mean)} of the time for the client to release batches: "
            f"that is the limit (the busiest resource: {worst.text})."
        )
    return worst.resources, (
        f"no device or link is busy for as much as {_percent(LIMIT)} of the time, so none is the limit; busiest "
        f"{'are' if several else 'is'} {worst.brief}."
    )


def _of_device(device: Device, spans: Spans, loads: dict[str, _Load], makespan_s: float) -> _Limit:
    """Return a device as a limit, with the serial links by which it is kept receiving."""
    tier = f"{device.tier} devices"
    alone = len(loads[tier].busy) == 1
    who = f"the {device.tier}" if alone else device.name
    work = loads[tier].busy[device.name]
    receiving_s = spans.of(device.name, ("receive",)).covered_s(makespan_s)
    occupied = spans.of(device.name, (*WORK, "receive")).covered_s(makespan_s) / makespan_s
    if receiving_s <= SMALL * makespan_s:
        text = f"{who} is busy {_percent(work)} of the time"
        if not alone:
            text = f"the {tier} are busy {_percent(loads[tier].mean)} of the time"
            text += f", {who} {_percent(work)}" if _percent(work) != _percent(loads[tier].mean) else ""
        return _Limit((tier,), occupied, text, f"{who} ({_percent(work)})")
    links = {}  # name of resource -> name of this device's link, and the share for which it is taken
    for low in TIERS[: TIERS.index(device.tier)]:
        resource = f"link {low} > {device.tier}"
        taken = loads[resource].busy[link_name(low, device.name)]
        if taken >= PART * occupied:
            named = f"{low} > {device.tier}" if alone else link_name(low, device.name)
            links[resource] = f"the link {named}", taken
    if not links:
        text = f"{who} is busy {_percent(occupied)} of the time, receiving included"
        return _Limit((tier,), occupied, text, f"{who} ({_percent(occupied)})")
    shares = [*links.values(), *([(who, work)] if work >= PART * occupied else [])]
    parts = [
        f"{named} is busy {_percent(share)} of the time" if place < len(links) else f"{who} {_percent(share)}"
        for place, (named, share) in enumerate(shares)
    ]
    brief = " and ".join(f"{named} ({_percent(share)})" for named, share in shares)
    resources = (*links, tier) if len(shares) > len(links) else tuple(links)
    return _Limit(resources, occupied, " and ".join(parts), brief)


def _unanswered(outcomes: np.ndarray) -> str:
    """Say how many batches have not all their answers, and why; str (N,), "" where all have them."""
    reasons = Counter(outcomes[outcomes != "ok"].tolist())
    count = reasons.total()
    if not count:
        return ""
    verb, what = "has" if count == 1 else "have", "no answer"
    if "coarse-only" in reasons:
        what = "no fine answer" if len(reasons) == 1 else "no answer, or a coarse one only"
    common = [f"{n} {_reason(reason)}" for reason, n in reasons.most_common(REASONS)]
    if len(reasons) == 1:
        common = [_reason(next(iter(reasons)))]
    others = count - sum(n for _, n in reasons.most_common(REASONS))
    why = ", ".join([*common, *([f"{others} for other reasons"] if others else [])])
    return f"{count} of {outcomes.size} batches {verb} {what} ({why})"


def _reason(outcome: str) -> str:
    """Return an outcome as a reason, of a sentence's length."""
    return shorten(outcome, 60, placeholder=" ...")


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
