"""A whole system: its devices, the links between their tiers, and the YAML file that describes both.

`hddnn/system/topologies/paper.yaml` and `laptop.yaml` explain the file's keys one by one.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping
from functools import cached_property
from itertools import combinations
from pathlib import Path
from typing import Any, Self

from pydantic import Field, ValidationError, model_validator

from hddnn._util import yaml12
from hddnn._util.extensions import placed
from hddnn._util.validation import first_problem, read_yaml, unknown
from hddnn.errors import TopologyError
from hddnn.system.devices import (
    MOST_DEVICES,
    STEM_SUFFIX,
    TIERS,
    CheckedModel,
    Device,
    Link,
    Prose,
    SchemeOptions,
    Tier,
    TopologyFile,
    check_count,
    entries_of,
    split_number,
)

__all__ = ["STEM_SUFFIX", "TIERS", "Device", "Link", "Tier", "Topology", "packaged_topologies"]

_PACKAGED = Path(__file__).parent / "topologies"


class Topology(CheckedModel):
    """Devices, and the links between their tiers.

    Attributes:
        name: What the system is called.
        description: What it stands for.
        devices: In the file's order; a name stands once, and there is at least one end device.
        links: At most one for each pair of tiers. Without any, no link is modelled: sending costs nothing.
            Where there are some, a pair that is left out counts as forgotten: no plan may send over it.
        schemes: Options of schemes that hold here unless a user gives others: `{"mapping": {"n_map": 2}}`.

    Raises:
        TopologyError: A name stands twice, no end device is there, an end device is not trusted, or two links
            join the same tiers.

    Example:
        >>> topology = Topology.load("paper")
        >>> {tier: len(topology.tier(tier)) for tier in ("end", "edge", "cloud")}
        {'end': 8, 'edge': 4, 'cloud': 1}
        >>> topology.link("end", "cloud").latency_s
        1.0
    """

    name: Prose
    description: Prose = ""
    devices: tuple[Device, ...]
    links: tuple[Link, ...] = ()
    schemes: SchemeOptions = Field(default_factory=dict)

    @model_validator(mode="after")
    def _fits_together(self) -> Self:
        check_count(len(self.devices))
        _check(
            f"topology {self.name}",
            ((f"devices[{i}]", device) for i, device in enumerate(self.devices)),
            ((f"links[{i}]", link) for i, link in enumerate(self.links)),
        )
        return self

    @classmethod
    def load(cls, spec: str | Path, networks: Collection[str] | None = None) -> Topology:
        """Read a topology.

        Args:
            spec: A packaged one's name ("paper", "laptop"), or a file. A network that is given there as a
                relative path, one with a "/", lies relative to the file, and so does the file of a runtime.
            networks: The known networks' names; None leaves them unchecked.

        Returns:
            The topology.

        Raises:
            TopologyError: Naming the file, the key, what is wrong and what is allowed.
        """
        packaged = packaged_topologies()
        path = Path(spec)
        if isinstance(spec, str) and spec in packaged:
            path, where = packaged[spec], f"{spec}.yaml (packaged)"
        elif path.name == str(spec) and not path.suffix and not path.exists():
            raise TopologyError(
                unknown("topology", str(spec), list(packaged), label="packaged") + "; or give a file"
            )
        else:
            where = str(spec)
        data = read_yaml(path, TopologyError, where=where)
        loaded = cls.from_dict({"name": path.stem, **data}, where=where, networks=networks)
        folder = path.absolute().parent
        return cls(**{**dict(loaded), "devices": tuple(_placed(d, folder) for d in loaded.devices)})

    @classmethod
    def from_dict(
        cls, data: Mapping[str, Any], *, where: str = "topology", networks: Collection[str] | None = None
    ) -> Topology:
        """Build a topology from a file's content.

        Args:
            data: The keys of a topology file.
            where: What errors call the file.
            networks: The known networks' names; None leaves them unchecked.

        Returns:
            The topology.

        Raises:
            TopologyError: Naming the key, what is wrong and what is allowed.

        Example:
            >>> small = Topology.from_dict({"name": "small", "devices": [
            ...     {"name": "camera", "tier": "end", "count": 2, "network": "mobilenet"}]})
            >>> [device.name for device in small.devices]
            ['camera-1', 'camera-2']
        """
        try:
            file = TopologyFile.model_validate(data)
        except ValidationError as fault:
            raise TopologyError(f"{where}: {first_problem(fault)}") from None
        devices = [(f"devices[{i}]", d) for i, entry in enumerate(file.devices) for d in entry.devices()]
        links = [(f"links[{i}]", Link(**entry.model_dump())) for i, entry in enumerate(file.links)]
        _check(where, devices, links, networks)
        return cls(
            name=file.name if file.name is not None else Path(where).stem,
            description=file.description,
            devices=tuple(device for _, device in devices),
            links=tuple(link for _, link in links),
            schemes=file.schemes,
        )

    def tier(self, tier: Tier) -> tuple[Device, ...]:
        """Return the devices of a tier, in the file's order.

        Args:
            tier: "end", "edge" or "cloud".
        """
        return self._tiers[tier]

    def device(self, name: str) -> Device:
        """Return a device.

        Args:
            name: Its name.

        Raises:
            TopologyError: There is none of that name.
        """
        try:
            return self._by_name[name]
        except KeyError:
            shown = list(self._by_name)[:20]
            raise TopologyError(f"topology {self.name}: {unknown('device', name, shown)}") from None

    def link(self, source: Tier, target: Tier) -> Link:
        """Return the link between two tiers; one that costs nothing when the topology gives none.

        Args:
            source: The tier that sends.
            target: The tier that receives.
        """
        for link in self.links:
            if (link.source, link.target) == (source, target):
                return link
        return Link(source=source, target=target)

    @property
    def unlinked(self) -> tuple[tuple[Tier, Tier], ...]:
        """Return the pairs of tiers with devices, low and high, for which a file that names links has none.

        A file that names no link at all models none, and has none of these.

        Example:
            >>> Topology.load("paper").unlinked
            ()
        """
        named = {(link.source, link.target) for link in self.links}
        there = [tier for tier in TIERS if self.tier(tier)]
        return tuple(pair for pair in combinations(there, 2) if named and pair not in named)

    @property
    def networks(self) -> tuple[str, ...]:
        """Return the names of the networks in use, each once, in the order of the devices."""
        return tuple(dict.fromkeys(device.network for device in self.devices))

    def with_end_devices(self, n: int) -> Topology:
        """Return this topology with so many end devices: its first ones, or copies of all of them in turn.

        Args:
            n: How many. A copy is named after the device it copies, with the next free number.

        Raises:
            TopologyError: N is below 1, or above `MOST_DEVICES`.

        Example:
            >>> [device.name for device in Topology.load("laptop").with_end_devices(2).tier("end")]
            ['camera-1', 'camera-2']
        """
        if not 1 <= n <= MOST_DEVICES:
            bound = "at least 1" if n < 1 else f"at most {MOST_DEVICES:,}"
            raise TopologyError(f"topology {self.name}: {n} end devices are not allowed; it must be {bound}")
        ends, others = self.tier("end"), [device for device in self.devices if device.tier != "end"]
        kept, taken, number = list(ends[:n]), set(self._by_name), dict[str, int]()
        for i in range(len(ends), n):
            like = ends[i % len(ends)]
            stem = split_number(like.name)[0]
            number[stem] = number.get(stem, 0) + 1
            while (name := f"{stem}-{number[stem]}") in taken:
                number[stem] += 1
            taken.add(name)
            kept.append(like.model_copy(update={"name": name}))
        return Topology(**{**dict(self), "devices": (*kept, *others)})

    def to_yaml(self) -> str:
        """Return the text of a file that describes this topology."""
        data: dict[str, Any] = {"name": self.name}
        data |= self.model_dump(include={"description", "schemes"}, exclude_defaults=True)
        data["devices"] = entries_of(self.devices)
        data["links"] = [
            {"from": link.source, "to": link.target}
            | link.model_dump(exclude_defaults=True, exclude={"source", "target"})
            for link in self.links
        ]
        return yaml12.dump(data)

    @cached_property
    def _by_name(self) -> dict[str, Device]:
        return {device.name: device for device in self.devices}

    @cached_property
    def _tiers(self) -> dict[Tier, tuple[Device, ...]]:
        return {tier: tuple(device for device in self.devices if device.tier == tier) for tier in TIERS}


def packaged_topologies() -> dict[str, Path]:
    """Return the packaged topologies' files by name."""
    return {path.stem: path for path in sorted(_PACKAGED.glob("*.yaml"))}


def _check(
    where: str,
    devices: Iterable[tuple[str, Device]],
    links: Iterable[tuple[str, Link]],
    networks: Collection[str] | None = None,
) -> None:
    """Raise TopologyError unless devices and links fit together; each comes with its key path."""
    seen: dict[str, str] = {}
    any_end = False
    for path, device in devices:
        if device.name in seen:
            raise TopologyError(
                f"{where}: {path}.name: '{device.name}' is already the name of {seen[device.name]}; "
                "every device needs its own"
            )
        seen[device.name] = path
        if device.tier == "end" and not device.trusted:
            raise TopologyError(
                f"{where}: {path}.trust: 'undependable' is not allowed for an end device, where the raw "
                "images start; allowed: dependable"
            )
        for key, name in _named_networks(device):
            # A path names a bundle of the user's own; the zoo checks it when it opens it.
            if networks is not None and name not in networks and "/" not in name:
                raise TopologyError(f"{where}: {path}.{key}: {unknown('network', name, sorted(networks))}")
        any_end = any_end or device.tier == "end"
    if not any_end:
        raise TopologyError(f"{where}: devices: no end device; at least one device needs tier: end")
    pairs: dict[tuple[Tier, Tier], str] = {}
    for path, link in links:
        pair = (link.source, link.target)
        if pair in pairs:
            raise TopologyError(
                f"{where}: {path}: a link from {pair[0]} to {pair[1]} is already given in {pairs[pair]}; "
                "one for each pair of tiers is allowed"
            )
        pairs[pair] = path


def _placed(device: Device, folder: Path) -> Device:
    """Return a device whose networks' and runtime's relative paths have become absolute ones."""
    if device.runtime is not None and (runtime := placed(device.runtime, folder)) != device.runtime:
        device = device.model_copy(update={"runtime": runtime})
    if not any("/" in network for network in (device.network, *device.seconds_per_image)):
        return device

    def place(network: str) -> str:
        return os.path.normpath(folder / network) if "/" in network else network

    return device.placed(place)


def _named_networks(device: Device) -> list[tuple[str, str]]:
    """Return every network that a device names, with the key that names it."""
    timed = [(f"seconds_per_image.{key}", key.removesuffix(STEM_SUFFIX)) for key in device.seconds_per_image]
    return [("network", device.network), *timed]
