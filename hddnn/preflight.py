"""What can be told to be wrong with a run before anything is started."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from hddnn.data.datasets import Job
from hddnn.errors import DataError, InputError, NoLink, NoTier, PlanError, TopologyError
from hddnn.planning.costs import CostTable
from hddnn.policies import Policy
from hddnn.privacy.codec import codec
from hddnn.results.records import Grader
from hddnn.schemes import ENCODERS, SCHEMES, Scheme, make_plan
from hddnn.system.topology import Tier, Topology
from hddnn.zoo import Card


def chosen_schemes(
    topology: Topology,
    job: Job,
    schemes: Scheme | str | Sequence[Scheme | str] | None,
    codec_name: str,
    encode_at: str,
    noted: Callable[[str], object] = lambda text: None,
) -> list[Scheme]:
    """Return the schemes of a run, each with a plan for this topology, data and codec; starts nothing.

    Args:
        topology: Devices, links and trust.
        job: Images and batch size.
        schemes: As for `hddnn.run`; None takes those of hddnn's own for whose tiers there are devices and links.
        codec_name: How features are written down.
        encode_at: Where that is done.
        noted: Called with a line on each scheme that was left out.

    Raises:
        InputError: Networks, tiers, data, schemes and codec do not fit together.
    """
    codec(codec_name)
    made = named_schemes(schemes)
    cards = check_fit(topology, job)
    # Times measured when the networks were packaged are good enough to see whether there is a plan at all.
    from hddnn.privacy.sizes import plain_bytes

    measured = {device.name: cards[device.network].service_time for device in topology.devices}
    costs = CostTable.of(topology, measured, plain_bytes(topology))
    kept: list[Scheme] = []
    for scheme in made:
        try:
            make_plan(scheme, topology, job, costs, encode_at=encode_at)
        except (NoTier, NoLink) as error:
            if schemes is not None:
                raise
            left_out = error
            noted(f"left out: {error}")
        else:
            kept.append(scheme)
    if not kept:
        raise left_out
    return kept


def made_schemes(schemes: Scheme | str | Sequence[Scheme | str]) -> list[Scheme]:
    """Return schemes as objects: one, or several. Raises InputError when there is none of a name."""
    return [SCHEMES.make(one) for one in ([schemes] if isinstance(schemes, Scheme | str) else schemes)]


def named_schemes(schemes: Scheme | str | Sequence[Scheme | str] | None) -> list[Scheme]:
    """Return schemes as objects: one, several, or None for all of hddnn's own; each stands once.

    Raises:
        InputError: There is none of that name, none at all, or one twice.
    """
    made = made_schemes(list(SCHEMES.own) if schemes is None else schemes)
    labels = [one.label for one in made]
    if not made or len(set(labels)) != len(labels):
        raise InputError(f"schemes: give one or more, none of them twice, not '{','.join(labels)}'")
    return made


def check_topology(topology: Topology) -> dict[str, Card]:
    """See that a topology's devices can run their networks, in their tiers, and on the same images.

    All that does not depend on a job: `hddnn topology check` asks it, and so does every run.

    Args:
        topology: Devices, networks and options of schemes.

    Returns:
        The card of each network, by its name.

    Raises:
        TopologyError: Something of that is not so, or an option of a scheme is none.
        BundleError: A network is not there, or damaged.
    """
    from hddnn.engines.common import network_cards

    for name, options in topology.schemes.items():
        try:
            SCHEMES.check(name, options)
        except InputError as error:
            raise TopologyError(f"topology {topology.name}: schemes: {error}") from None
    return network_cards(topology)


def forgotten_links(topology: Topology, cards: Mapping[str, Card]) -> Iterator[str]:
    """Yield a line on each pair of tiers without a link in a topology that names others, and what needs it.

    Args:
        topology: That `check_topology` has passed.
        cards: What that returned.
    """
    from hddnn.privacy.sizes import plain_bytes

    if not topology.unlinked:
        return
    times = {device.name: cards[device.network].service_time for device in topology.devices}
    costs = CostTable.of(topology, times, plain_bytes(topology))
    need: dict[tuple[Tier, Tier], list[str]] = {pair: [] for pair in topology.unlinked}
    bare = topology.model_copy(update={"links": ()})
    for encode_at, scheme in product(ENCODERS, SCHEMES.own):
        what = scheme if encode_at == "end" else f"{scheme} with --encode-at {encode_at}"
        try:
            pairs = make_plan(
                scheme, bare, _EachEnd(len(topology.tier("end"))), costs, encode_at=encode_at
            ).tier_pairs()
        except PlanError:
            continue  # it has no plan here, whatever the links
        for pair in pairs & need.keys():
            if scheme not in need[pair]:
                need[pair].append(what)
    for (low, high), whose in need.items():
        yield (
            f"no link from {low} to {high}"
            + (f", so {', '.join(whose)} cannot be run" if whose else "")
            + f": add {{from: {low}, to: {high}, latency_s: ..., bandwidth_bps: ...}} to links, without the last "
            "two if sending costs nothing there"
        )


@dataclass(frozen=True)
class _EachEnd:
    """A batch of one image for each end device."""

    n_batches: int

    @property
    def sizes(self) -> np.ndarray:
        return np.ones(self.n_batches, np.int64)


def check_fallback(topology: Topology, policy: Policy) -> None:
    """Raise NoLink where a policy falls back on edge devices to which a topology that names links has none."""
    if policy.fallback == "edge" and ("end", "edge") in topology.unlinked:
        raise NoLink(
            f"policy {policy.label} falls back on edge devices, and topology {topology.name} has links, but none "
            "from end to edge; add {from: end, to: edge, latency_s: ..., bandwidth_bps: ...} to its links, or "
            "take another --fallback"
        )


def check_fit(topology: Topology, job: Job) -> dict[str, Card]:
    """Return the card of each network; raises InputError when networks, tiers and data do not fit together."""
    cards = check_topology(topology)
    for network, card in cards.items():
        if card.input_shape != job.data.images.shape[1:]:
            given, taken = (
                "x".join(map(str, shape)) for shape in (job.data.images.shape[1:], card.input_shape)
            )
            raise DataError(
                f"data set {job.data.name} and network {network} do not fit: images are {given}, it takes "
                f"{taken}; take a folder of images, or add the network with --image-size "
                f"{given.rpartition('x')[0]}"
            )
        try:
            Grader.of(card.task, card.labels, job.data)
        except DataError as error:
            raise DataError(f"data set {job.data.name} and network {network} do not fit: {error}") from None
    return cards
