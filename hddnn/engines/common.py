"""What every engine that executes plans needs.

The networks' cards, a recorder that knows the right labels, what is sent at once, and how much may be under way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from hddnn import runtimes, zoo
from hddnn.data.datasets import Dataset, Job, load_dataset
from hddnn.errors import InputError, TopologyError
from hddnn.planning.bounds import lower_bound_s
from hddnn.planning.costs import CostTable
from hddnn.planning.plan import NO_DEVICE, Plan
from hddnn.policies import Work
from hddnn.results.overruns import named
from hddnn.results.records import Grader, Progress, Recorder
from hddnn.system.topology import Topology
from hddnn.zoo import Card

#: Longest time that the batches of one task may take together. Above it, one batch a task: nothing is gained,
#: since a task costs the engine about 1 ms, and the upper device would wait for the whole group.
GROUP_S = 0.05
#: The same where nothing goes up: nobody waits for the group, and answers arrive batch by batch anyway.
GROUP_ALONE_S = 0.2
GROUP_BATCHES = 32
#: Batches in flight for each end device, at the least. Bounds the memory of client and devices.
WINDOW = 8
#: How long a job's beginning may wait for the true work of what lies on end devices with modelled times, wall s.
HEAD_START_S = 2.0
#: No job is predicted to take less than so many wall seconds: a machine has hiccups.
LEAST_S = 2.0
#: Wall seconds by which a step may be late without anything being wrong: a group's length, and a hiccup as long.
SLACK_S = 2 * GROUP_S


def network_cards(topology: Topology) -> dict[str, Card]:
    """Return the card of each network of a topology, once it is seen that the devices can work together.

    Whoever runs or checks a topology asks this, so that what one takes another does not refuse.

    Raises:
        BundleError: A network is not there.
        TopologyError: A device's runtime is not there or cannot run its network, a network answers what another
            tier answers, or networks take images of different sizes.
    """
    cards = {network: zoo.bundle(network).card for network in topology.networks}
    encoded = dict.fromkeys(d.network for d in topology.devices if not d.trusted)
    asked: dict[tuple[str, str], str] = {}  # (runtime, network) -> the first device that asks for it
    for device in topology.devices if any(device.runtime for device in topology.devices) else ():
        for network in (device.network, *(encoded if device.tier == "end" else ())):
            if device.runtime is not None:
                asked.setdefault((device.runtime, network), device.name)
    for (runtime, network), name in asked.items():
        try:
            runtimes.check(runtime, cards[network])
        except InputError as error:
            raise TopologyError(f"topology {topology.name}: device {name}: {error}") from error
    for device in topology.devices:
        card, level = cards[device.network], "coarse" if device.tier == "end" else "fine"
        if card.task != level:
            raise TopologyError(
                f"topology {topology.name}: device {device.name} of tier {device.tier} has network "
                f"{device.network}, which answers {card.task} classes; this tier answers {level} ones"
            )
    _one_shape(topology, cards)
    return cards


def check_accuracies(topology: Topology, engine: str, otherwise: str = "") -> None:
    """Look whether all networks have the accuracy that an engine takes for the answers that it does not make.

    Args:
        topology: Whose networks.
        engine: What users call it.
        otherwise: What else a user may do than to measure it, as " or ...".

    Raises:
        BundleError: A network is not there.
        InputError: One was added without data to measure it on.
    """
    for network in topology.networks:
        card = zoo.bundle(network).card
        if card.task not in card.accuracy:
            raise InputError(
                f"network {network} has no measured accuracy, which engine {engine} goes by: add it again with "
                f"--data{otherwise}"
            )


def expected_right(card: Card, images: int) -> tuple[float, float]:
    """Return how many right answers a network's card leads to expect.

    Args:
        card: With the accuracy of its own level, as `check_accuracies` sees to.
        images: So many are answered.

    Returns:
        Right answers, and those that are right when each is judged by its coarse class: NaN where the card does
        not say how often that is.
    """
    return card.accuracy[card.task] * images, card.accuracy.get("coarse", float("nan")) * images


def image_shape(topology: Topology) -> tuple[int, int, int]:
    """Return the shape of the images that all networks of a topology take.

    Returns:
        (height, width, channels).

    Raises:
        BundleError: A network is not there.
        TopologyError: They take different ones.
    """
    return _one_shape(topology, {network: zoo.bundle(network).card for network in topology.networks})


def _one_shape(topology: Topology, cards: Mapping[str, Card]) -> tuple[int, int, int]:
    """Return the shape of the networks' images; an image goes to several of them, so that there is but one."""
    shapes = {network: card.input_shape for network, card in cards.items()}
    if len(set(shapes.values())) > 1:
        sizes = ", ".join(
            f"{Path(name).name} {height}x{width}" for name, (height, width, _) in shapes.items()
        )
        raise TopologyError(
            f"topology {topology.name}: the networks take images of different sizes ({sizes}); add yours anew "
            "with `hddnn zoo add --image-size` as the others have it, and they resize them themselves"
        )
    return next(iter(shapes.values()))


def load_data(topology: Topology, spec: str, root: Path | None = None, *, download: bool = False) -> Dataset:
    """Load a data set for a topology: the images of a folder get the size that its networks take.

    Args:
        topology: Whose networks are to answer them.
        spec: As for `hddnn.load_dataset`, and so are root and download.

    Raises:
        DataError: It is not there or cannot be read.
        TopologyError: The networks take images of different sizes.
    """
    if not Path(spec).is_dir():  # the others have a size of their own
        return load_dataset(spec, root, download=download)
    height, width, _ = image_shape(topology)
    return load_dataset(spec, root, download=download, image_size=(height, width))


def card_costs(
    topology: Topology, cards: Mapping[str, Card], payload_bytes: Mapping[str, tuple[int, int]]
) -> CostTable:
    """Return modelled times; where the topology has none, those measured when the bundle was made."""
    measured = {device.name: cards[device.network].service_time for device in topology.devices}
    return CostTable.of(topology, measured, payload_bytes)


def card_times(topology: Topology) -> str:
    """Return a line on whose times devices without a modelled one have where nothing runs: empty without such."""
    places: dict[str, list[str]] = {}
    for device in topology.devices:
        if device.service_time is None:
            card = zoo.bundle(device.network).card
            places.setdefault(card.measured_on or "a machine that was not noted", []).append(device.name)
    said = [
        f"{named(names)}: times from their networks' cards, measured on {place}"
        for place, names in places.items()
    ]
    return "; ".join([*said, "`hddnn profile` measures this machine's"]) if said else ""


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


def group_size(slowest_s: float, pending: int, *, goes_up: bool) -> int:
    """Return how many of the pending batches go into one task, given the slowest stage's seconds a batch."""
    longest_s = GROUP_S if goes_up else GROUP_ALONE_S
    if slowest_s * 2 > longest_s:
        return 1
    fits = GROUP_BATCHES if slowest_s <= 0 else longest_s / slowest_s
    return max(1, int(min(fits, GROUP_BATCHES, pending)))


def make_work(plan: Plan, costs: CostTable, time_scale: float = 1.0) -> Work:
    """Return a job as a policy sees it: what is sent at once, and how much may be under way.

    An end device's window holds at least two groups, so that the next is there when one is done, and two batches
    for each upper device that it feeds, so that none of them waits for the window.
    """
    devices, size = plan.topology.devices, int(plan.sizes[0])
    groups: dict[tuple[int, int], int] = {}
    fed: dict[int, int] = {}
    largest: dict[int, int] = {}
    for (end, upper), batches in plan.routes().items():
        stages = [costs.service_s(devices[end], size)]
        if upper != NO_DEVICE:
            encoding = int(plan.encoder[batches[0]])
            encoder = None if encoding == NO_DEVICE else devices[encoding]
            way_s = costs.way_s(devices[end], devices[upper], size, encoder)
            stages += [costs.service_s(devices[upper], size), way_s]
        count = group_size(max(stages) * time_scale, len(batches), goes_up=upper != NO_DEVICE)
        groups[end, upper] = count
        fed[end] = fed.get(end, 0) + 1
        largest[end] = max(largest.get(end, 1), count)
    ends = [index for index, device in enumerate(devices) if device.tier == "end"]
    windows = {end: max(WINDOW, 2 * largest.get(end, 1), 2 * fed.get(end, 0)) for end in ends}
    predicted_s = max(lower_bound_s(plan, costs), LEAST_S / time_scale if time_scale else LEAST_S)
    slack_s = SLACK_S / time_scale if time_scale else 0.0
    return Work(plan, costs, groups, windows, predicted_s, slack_s)
