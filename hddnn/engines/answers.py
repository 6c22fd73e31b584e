"""What every engine needs to judge answers: the networks' cards, and a recorder that knows the right labels."""

from __future__ import annotations

from collections.abc import Mapping

from hddnn import zoo
from hddnn.data import Job
from hddnn.plan import Plan
from hddnn.records import Grader, Progress, Recorder
from hddnn.topology import Topology
from hddnn.zoo import Card


def network_cards(topology: Topology) -> dict[str, Card]:
    """Return the card of each network of a topology. Raises BundleError for one that is not there."""
    return {network: zoo.bundle(network).card for network in topology.networks}


def make_recorder(
    plan: Plan, job: Job, cards: Mapping[str, Card], progress: Progress | None = None
) -> Recorder:
    """Return a recorder for one plan. Raises DataError when a network lacks a class of the data set."""
    by_network = {name: Grader.of(card.task, card.labels, job.data) for name, card in cards.items()}
    graders = {device.name: by_network[device.network] for device in plan.topology.devices}
    return Recorder(plan, job, graders=graders, progress=progress)


def payload_bytes(cards: Mapping[str, Card]) -> dict[str, tuple[int, int]]:
    """Return, by network, the bytes an image takes on its way up: (raw, features)."""
    return {name: (card.raw_bytes, card.feature_bytes) for name, card in cards.items()}
