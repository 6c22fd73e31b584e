"""What every engine needs to judge answers: the networks' cards, and a recorder that knows the right labels."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from hddnn import zoo
from hddnn.data.datasets import Job
from hddnn.errors import TopologyError
from hddnn.planning.costs import CostTable
from hddnn.planning.plan import Plan
from hddnn.results.records import Grader, Progress, Recorder
from hddnn.system.topology import Topology
from hddnn.zoo import Card
from hddnn.zoo.card import ONNX_ONLY


def network_cards(topology: Topology) -> dict[str, Card]:
    """Return the card of each network of a topology.

    Raises BundleError for one that is not there, TopologyError for one that its device's runtime cannot run.
    """
    cards = {network: zoo.bundle(network).card for network in topology.networks}
    encoded = [d.network for d in topology.devices if not d.dependable]
    for device in topology.devices:
        run_here = [device.network, *(encoded if device.tier == "end" else ())]
        for network in run_here if device.runtime == "torch" else ():
            if cards[network].architecture == ONNX_ONLY:
                raise TopologyError(
                    f"topology {topology.name}: device {device.name} has runtime torch, which has no definition "
                    f"of network {network}; take runtime openvino"
                )
    return cards


def card_costs(
    topology: Topology, cards: Mapping[str, Card], payload_bytes: Mapping[str, tuple[int, int]]
) -> CostTable:
    """Return modelled times; where the topology has none, those measured when the bundle was made."""
    measured = {device.name: cards[device.network].seconds_per_image for device in topology.devices}
    return CostTable.of(topology, measured, payload_bytes)


def make_recorder(
    plan: Plan,
    job: Job,
    cards: Mapping[str, Card],
    progress: Progress | None = None,
    kind: Callable[..., Recorder] = Recorder,
) -> Recorder:
    """Return a recorder of some kind for one plan.

    Raises DataError when a network lacks a class of the data set.
    """
    by_network = {name: Grader.of(card.task, card.labels, job.data) for name, card in cards.items()}
    graders = {device.name: by_network[device.network] for device in plan.topology.devices}
    return kind(plan, job, graders=graders, progress=progress)
