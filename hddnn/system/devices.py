"""Devices, links, and the entries of a topology file that describe them."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from itertools import groupby
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import (
    AfterValidator,
    Field,
    StringConstraints,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from hddnn._util.validation import StrictModel, first_problem, problem
from hddnn.errors import TopologyError
from hddnn.system.times import ServiceTime

Tier = Literal["end", "edge", "cloud"]
TIERS: tuple[Tier, ...] = ("end", "edge", "cloud")
#: The simulator, which handles most, was made for so many: 100,000 take it five minutes and 3.4 GB.
MOST_DEVICES = 1_000_000
STEM_SUFFIX = ":stem"  # "resnet34:stem" in a device's times: that of the network's stem alone


# Names become worker names, task keys and values of a results cube, so they are plain words.
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


def _printable(text: str) -> str:
    # Some unseen characters do not survive in a YAML file, and none belongs in a table's heading.
    odd = [character for character in text if not (character.isprintable() or character == "\n")]
    if odd:
        raise problem(f"character U+{ord(odd[0]):04X} is not allowed; use printable text")
    return text


def _shown(text: str) -> str:
    # What stands for a class gets into commands, tables and labels, as that of a command line does.
    if not text.isprintable():
        raise problem(f"{text!r:.100} has characters that cannot be printed; leave them out")
    return text


# A name is a file's, too, with a number and a suffix behind it; a network's may be a path.
Name = Annotated[str, StringConstraints(strict=True, max_length=200)]
Text = Annotated[str, StringConstraints(strict=True, max_length=4096)]
Prose = Annotated[Text, AfterValidator(_printable)]
# The bounds are far beyond what there is (30 years, an exabit a second), and sums of such numbers stay finite.
Seconds = Annotated[float, Field(ge=0, le=1e9, allow_inf_nan=False, strict=True)]
Rate = Annotated[float, Field(ge=1e-3, le=1e18, allow_inf_nan=False, strict=True)]
Count = Annotated[int, Field(ge=1, le=MOST_DEVICES, strict=True)]
Threads = Annotated[int, Field(ge=1, le=1024, strict=True)]


class _DeviceFields(StrictModel):
    name: Name
    tier: Tier
    network: Text
    threads: Threads = 1
    runtime: Text | None = None
    seconds_per_image: dict[str, Seconds] = Field(default_factory=dict)
    seconds_per_batch: dict[str, Seconds] = Field(default_factory=dict)

    @field_validator("name")
    @classmethod
    def _plain_name(cls, name: str) -> str:
        if not _NAME.fullmatch(name):
            raise problem(f"'{name}' is not a name; use letters, digits, '.', '_' and '-'")
        return name

    @field_validator("network")
    @classmethod
    def _some_network(cls, network: str) -> str:
        if not network.strip():
            raise problem("is empty; give a network's name, or the path of a bundle")
        return network

    @field_validator("runtime")
    @classmethod
    def _some_runtime(cls, runtime: str | None) -> str | None:
        if runtime is not None and not runtime.strip():
            raise problem("is empty; give a runtime's name, or leave it out")
        return runtime if runtime is None else _shown(runtime)

    @model_validator(mode="after")
    def _whole_times(self) -> Self:
        # Else nobody could tell whether the device keeps to a model, and a misspelled network went unseen.
        for network in self.seconds_per_batch:
            if network not in self.seconds_per_image:
                raise problem(
                    f"of {network} needs its seconds_per_image, too; give that (0 where only batches count), "
                    "or leave this out",
                    key="seconds_per_batch",
                )
        return self


class _LinkFields(StrictModel):
    source: Tier
    target: Tier
    latency_s: Seconds = 0.0
    bandwidth_bps: Rate | None = None
    jitter_s: Seconds = 0.0
    mode: Literal["serial", "overlapped"] = "overlapped"

    @model_validator(mode="after")
    def _upwards(self) -> Self:
        if TIERS.index(self.source) >= TIERS.index(self.target):
            raise problem(
                f"a link from {self.source} to {self.target} is not allowed; "
                "allowed: end to edge, end to cloud, edge to cloud"
            )
        return self


class CheckedModel(StrictModel):
    """A model that, built in Python, raises TopologyError where pydantic would raise its own."""

    def __init__(self, **data: Any) -> None:
        try:
            super().__init__(**data)
        except ValidationError as fault:
            raise TopologyError(f"{type(self).__name__}: {first_problem(fault)}") from None


class Device(CheckedModel, _DeviceFields):
    """One device: its place, its network, and whether it may see raw images.

    Attributes:
        name: What the device is called.
        tier: "end", "edge" or "cloud".
        network: A network's name, or a bundle's path.
        threads: What it computes with.
        runtime: What computes its network: a name or FILE.py:CLASS, with options ("torch:device=cuda"); None for
            what the network's card says. Whether it is there is seen when the networks' cards are read.
        seconds_per_image: Modelled service time, s an image, by network name, or by "NETWORK:stem" for encoding
            with that network's stem; a device without one runs at its own speed.
        seconds_per_batch: What a batch takes on top, however many images it has, s; by the same names, of which
            each needs its seconds_per_image. 0 where it is left out.
        trusted: May receive raw images; every end device of a topology is.

    Example:
        >>> Device(name="gateway", tier="edge", network="resnet34", trusted=False).threads
        1
    """

    trusted: bool = True

    @property
    def service_time(self) -> ServiceTime | None:
        """Return what the device's own network is modelled to take; None where it runs at its own speed."""
        return self._modelled(self.network)

    def encode_time(self, network: str) -> ServiceTime | None:
        """Return what encoding is modelled to take; None where the topology does not say.

        Args:
            network: The one whose stem encodes.
        """
        return self._modelled(network + STEM_SUFFIX)

    def at_own_speed(self) -> Device:
        """Return the device without any modelled time."""
        return self.model_copy(update={"seconds_per_image": {}, "seconds_per_batch": {}})

    def placed(self, place: Callable[[str], str]) -> Device:
        """Return the device with its networks' places changed.

        Args:
            place: Called with a network's name or path, or such a one with ":stem" behind it.
        """
        return self.model_copy(
            update={
                "network": place(self.network),
                "seconds_per_image": {place(key): s for key, s in self.seconds_per_image.items()},
                "seconds_per_batch": {place(key): s for key, s in self.seconds_per_batch.items()},
            }
        )

    def _modelled(self, key: str) -> ServiceTime | None:
        per_image_s = self.seconds_per_image.get(key)
        if per_image_s is None:
            return None
        return ServiceTime(per_image_s, self.seconds_per_batch.get(key, 0.0))


class Link(CheckedModel, _LinkFields):
    """What it costs to send from a device of one tier up to a device of another.

    Every receiving device has its own link of this kind. A payload takes its wait for the link, plus bytes /
    bandwidth, plus latency and jitter.

    Attributes:
        source: The tier that sends.
        target: The tier that receives.
        latency_s: What every payload takes on top, s.
        bandwidth_bps: What passes, bits/s; None for unlimited.
        jitter_s: Up to this much more, drawn for each payload, s.
        mode: "serial": the receiver is busy while it receives; "overlapped": it computes meanwhile.

    Example:
        >>> Link(source="end", target="cloud", latency_s=0.02, bandwidth_bps=50e6).mode
        'overlapped'
    """


class DeviceEntry(_DeviceFields):
    """An entry of a file's `devices`: one device, or `count` of them."""

    trust: Literal["dependable", "undependable"] = "dependable"
    count: Count | None = None
    first: Annotated[int, Field(ge=0, le=10**9, strict=True)] | None = None

    @field_validator("seconds_per_image", "seconds_per_batch", mode="before")
    @classmethod
    def _by_network(cls, value: Any, info: ValidationInfo) -> Any:
        if isinstance(value, Mapping):
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return {info.data.get("network", ""): value}
        raise problem(f"{value!r:.60} is not allowed; it must be a number of seconds, or network: seconds")

    @model_validator(mode="after")
    def _first_of_many(self) -> Self:
        if self.first is not None and self.count is None:
            raise problem("needs count; without count the name is used as it is", key="first")
        return self

    def devices(self) -> list[Device]:
        names = [self.name]
        if self.count is not None:
            start = 1 if self.first is None else self.first
            names = [f"{self.name}-{number}" for number in range(start, start + self.count)]
        settings = self.model_dump(exclude={"name", "trust", "count", "first"})
        one = Device(name=self.name, trusted=self.trust == "dependable", **settings)
        return [one.model_copy(update={"name": name}) for name in names]


class LinkEntry(_LinkFields):
    """An entry of a file's `links`."""

    source: Tier = Field(alias="from")
    target: Tier = Field(alias="to")


#: By scheme, its options on this topology, where a user gives none: {"mapping": {"n_map": 2}}.
SchemeOptions = dict[
    Annotated[str, AfterValidator(_shown)],
    dict[Annotated[str, AfterValidator(_shown)], bool | int | float | str | None],
]


class TopologyFile(StrictModel):
    """A whole topology file."""

    moved: ClassVar[Mapping[str, str]] = {"n_map": "`schemes: {{mapping: {{n_map: {value}}}}}`"}

    name: Prose | None = None
    description: Prose = ""
    devices: tuple[DeviceEntry, ...]
    links: tuple[LinkEntry, ...] = ()
    schemes: SchemeOptions = Field(default_factory=dict)

    @field_validator("devices")
    @classmethod
    def _not_too_many(cls, entries: tuple[DeviceEntry, ...]) -> tuple[DeviceEntry, ...]:
        check_count(sum(entry.count or 1 for entry in entries))
        return entries


def check_count(n: int) -> None:
    """Raise a validator's error when a topology is to have more devices than MOST_DEVICES."""
    if n > MOST_DEVICES:
        raise problem(f"{n:,} devices are too many; at most {MOST_DEVICES:,} are allowed in a topology")


def split_number(name: str) -> tuple[str, int | None]:
    """Split "end-3" in ("end", 3); a name without a number, or with a padded one, stays whole."""
    match = re.fullmatch(r"(.+)-(0|[1-9][0-9]*)", name)
    return (match[1], int(match[2])) if match else (name, None)


def entries_of(devices: Iterable[Device]) -> list[dict[str, Any]]:
    """Return the entries of a file that make these devices: numbered neighbours that are alike share one."""
    made: list[dict[str, Any]] = []

    def run(item: tuple[int, Device]) -> tuple[Any, ...]:
        # Neighbours are alike when all but the name's number agrees, and the numbers count up by one.
        place, device = item
        stem, number = split_number(device.name)
        return stem, None if number is None else number - place, device.model_dump(exclude={"name"})

    for (stem, offset, _), group in groupby(enumerate(devices), run):
        members = [device for _, device in group]
        one, count = members[0], len(members)
        entry: dict[str, Any] = {"name": one.name, "tier": one.tier}
        if count > 1 and offset is not None:
            entry |= {"name": stem, "count": count}
            first = split_number(one.name)[1]
            entry |= {} if first == 1 else {"first": first}
        entry["network"] = one.network
        entry |= {} if one.threads == 1 else {"threads": one.threads}
        entry |= {} if one.runtime is None else {"runtime": one.runtime}
        entry["trust"] = "dependable" if one.trusted else "undependable"
        for key in ("seconds_per_image", "seconds_per_batch"):
            if times := getattr(one, key):
                entry[key] = times[one.network] if list(times) == [one.network] else dict(times)
        made.append(entry)
    return made
