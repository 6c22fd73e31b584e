"""What can be told to be wrong with a run before anything is started."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from hddnn.data.datasets import Job
from hddnn.errors import DataError, InputError, NoTier, TopologyError
from hddnn.planning.costs import CostTable
from hddnn.privacy.codec import codec
from hddnn.results.records import Grader
from hddnn.schemes import SCHEMES, Scheme, make_plan
from hddnn.system.topology import Topology
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
        schemes: As for `hddnn.run`; None takes those of hddnn's own for whose tiers there are devices.
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

    measured = {device.name: cards[device.network].seconds_per_image for device in topology.devices}
    costs = CostTable.of(topology, measured, plain_bytes(topology))
    kept: list[Scheme] = []
    for scheme in made:
        try:
            make_plan(scheme, topology, job, costs, encode_at=encode_at)
        except NoTier as error:
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
