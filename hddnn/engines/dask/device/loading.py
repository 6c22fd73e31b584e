"""The networks of devices: read, compiled, checked and warmed up; once for all devices that are forked afterwards.

A launcher prepares what several devices need and then forks them. What was loaded outlives the fork where its
runtime says so: eight end devices compile their network once, and share its memory. Each device opens its bundles
by itself all the same, takes what is there only where that is of these very files, and then answers its known
image. What a single device needs it loads by itself, beside the others.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from hddnn import runtimes, zoo
from hddnn.engines.dask.device.memory import check_memory, free_bytes, needed_bytes
from hddnn.engines.dask.wire.messages import DeviceSpec
from hddnn.errors import HddnnError
from hddnn.runtimes import Part, Runtime
from hddnn.runtimes.known import check_known_answer, known_image
from hddnn.zoo import Bundle


@dataclass(frozen=True)
class DeviceNetworks:
    """What one device computes with. stems: of the networks that it encodes for, by their names."""

    own: Runtime
    stems: Mapping[str, Runtime]


@dataclass(frozen=True)
class Need:
    """A part of a network that a device loads; network: as the topology names it."""

    network: str
    part: Part
    runtime: str | None
    threads: int


def needs(spec: DeviceSpec) -> list[Need]:
    """Return what a device loads where it computes: with a body also its stem, which the known image needs."""
    own, part = spec.device, _own_part(spec)
    stems = [*spec.stems, own.network] if part == "body" else spec.stems
    parts: list[tuple[str, Part]] = [(own.network, part), *((name, "stem") for name in stems)]
    computes = spec.compute == "real"
    return [Need(name, part, own.runtime, own.threads) for name, part in dict.fromkeys(parts) if computes]


def shared(specs: Iterable[DeviceSpec]) -> frozenset[Need]:
    """Return what several of these devices load."""
    count = Counter(need for spec in specs for need in needs(spec))
    return frozenset(need for need, devices in count.items() if devices > 1)


@dataclass(frozen=True)
class _Place:
    """What a loaded network is for."""

    runtime: str
    path: Path
    threads: int
    part: Part


class Networks:
    """Networks that this process has loaded, or had when it was forked."""

    def __init__(self) -> None:
        self._kept: dict[_Place, Runtime] = {}

    def prepare(self, spec: DeviceSpec, among: Collection[Need]) -> None:
        """Load and keep what a device needs, as far as it outlives the fork that makes the device.

        What goes wrong is the device's to say, which then loads its networks by itself.

        among: what is to be prepared at all; see `shared`.
        """
        with suppress(HddnnError):
            for need in needs(spec):
                if need in among:
                    self._keep(spec, zoo.bundle(need.network), need.part)

    def load(self, spec: DeviceSpec) -> DeviceNetworks:
        """Return a device's networks, checked and warmed up.

        Raises BundleError for a damaged or unfitting network, or one that does not give its known answer here,
        ClusterError when there is too little memory for them.
        """
        bundle, stems = zoo.bundle(spec.device.network), {name: zoo.bundle(name) for name in spec.stems}
        part = _own_part(spec)
        if spec.compute == "real":
            there = self._kept_for(spec, bundle, part) is not None
            needed = needed_bytes(bundle, stems.values(), spec.batch_size, loaded=there)
            check_memory(spec.device.name, needed, free_bytes())
        own = self._kept_for(spec, bundle, part) or _warm(spec, _loaded(spec, bundle, part))
        if spec.compute == "real":
            self._check_answer(spec, own)
        encoders = {
            name: self._kept_for(spec, stem, "stem") or _warm(spec, _loaded(spec, stem, "stem"))
            for name, stem in stems.items()
        }
        return DeviceNetworks(own, encoders)

    def _check_answer(self, spec: DeviceSpec, own: Runtime) -> None:
        """Raise BundleError unless a network answers as it did when its bundle was made."""
        bundle = own.bundle
        image = known_image(bundle.card)
        if own.parts == (
            "body",
        ):  # without the part that makes features of images, which only the check needs
            stem = self._kept_for(spec, bundle, "stem") or _loaded(spec, bundle, "stem")
            logits = own.body(stem.stem(image))
        else:
            logits = own.run(image)
        check_known_answer(bundle, logits)

    def _kept_for(self, spec: DeviceSpec, bundle: Bundle, part: Part) -> Runtime | None:
        """Return what is kept of a bundle, unless its files or card are others now."""
        kept = self._kept.get(_place(spec, bundle, part))
        return kept if kept is not None and kept.bundle == bundle else None

    def _keep(self, spec: DeviceSpec, bundle: Bundle, part: Part) -> None:
        place = _place(spec, bundle, part)
        if not runtimes.outlives_fork(place.runtime, place.threads) or self._kept_for(spec, bundle, part):
            return
        whole = self._kept_for(spec, bundle, "whole")
        network = whole.narrowed(part) if whole is not None else None
        if network is None:
            check_memory(spec.device.name, needed_bytes(bundle, (), spec.batch_size), free_bytes())
            network = _loaded(spec, bundle, part)
            network.warm_up(1, runs=0)  # code is made for each size of batch, and the known image is one
            _warm(spec, network)
        self._kept[place] = network


def _own_part(spec: DeviceSpec) -> Part:
    """Return which part of its own network a device needs: it is sent raw images only where it may see them."""
    return "whole" if spec.device.trusted else "body"


def _runtime(spec: DeviceSpec, bundle: Bundle) -> str:
    return runtimes.chosen(spec.device.runtime if spec.compute == "real" else spec.compute, bundle.card)


def _place(spec: DeviceSpec, bundle: Bundle, part: Part) -> _Place:
    return _Place(_runtime(spec, bundle), bundle.path, spec.device.threads, part)


def _loaded(spec: DeviceSpec, bundle: Bundle, part: Part) -> Runtime:
    return runtimes.load(_runtime(spec, bundle), bundle, threads=spec.device.threads, parts=(part,))


def _warm(spec: DeviceSpec, network: Runtime) -> Runtime:
    network.warm_up(spec.batch_size, runs=0)
    return network
