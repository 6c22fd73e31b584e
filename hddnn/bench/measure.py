"""Measure every cell of a grid, alternating, each network, runtime and number of threads in its own process."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from hddnn._util.host import processor
from hddnn.bench.grid import EVALUATOR, Grid, is_itself, left_out, on_card, references
from hddnn.bench.remote import Failed, Remote
from hddnn.data.datasets import load_dataset
from hddnn.errors import HddnnError
from hddnn.results import cubes
from hddnn.zoo import Bundle

if TYPE_CHECKING:
    import xarray as xr

DIMS = ("network", "runtime", "threads", "batch_size", "repeat")
_EVALUATOR_S = 20.0  # for the slow reference, which answers as many images as it can
_VARIABLES = {
    "seconds_per_image": (DIMS, "s", "wall time of an image, in batches"),
    "images_per_second": (DIMS, "s-1", "images a second, in batches"),
    "peak_memory": (DIMS[:3], "byte", "most resident memory of a process holding the network"),
    "load_s": (DIMS[:3], "s", "until the network is loaded, its library included"),
    "agreement": (DIMS[:2], "1", "share of images answered as the reference does (top-1), NaN of itself"),
    "agreement_on_card": (DIMS[:2], "1", "that share by the network's card, NaN where it has none"),
}


class BenchObserver:
    """Told of a bench's course; every method may be left as it is."""

    def began(self, steps: int) -> None:
        """Hear that so many steps are to be done: a network loaded, or one cell measured once."""

    def network(self, name: str) -> None:
        """Hear whose turn has come."""

    def step(self, text: str) -> None:
        """Hear what the next step is."""

    def left_out(self, network: str, runtime: str, reason: str) -> None:
        """Hear that a network cannot be measured in a runtime after all; its further steps are left out."""


def run(grid: Grid, observer: BenchObserver | None = None) -> xr.Dataset:
    """Measure and return the cube: times, images a second, peak memory and agreement, each with its long_name.

    A runtime that cannot run a network is NaN, and the attribute `left_out` says why. The cells of a network are
    measured in rounds, each in an order of its own, so that what else the machine does meets all alike.
    Raises HddnnError when not even the reference of a network can run it.
    """
    import xarray as xr

    observer = observer or BenchObserver()
    sizes: dict[str, list[Any]] = {
        "network": [bundle.card.name for bundle in grid.bundles],
        "runtime": list(grid.variants),
        "threads": list(grid.threads),
        "batch_size": list(grid.batch_sizes),
        "repeat": list(range(grid.repeats)),
    }
    values = {
        name: np.full([len(sizes[dim]) for dim in dims], np.nan) for name, (dims, _, _) in _VARIABLES.items()
    }
    reasons: dict[str, dict[str, str]] = {}
    judges: dict[str, tuple[str, int]] = {}
    observer.began(_steps(grid))
    for n, bundle in enumerate(grid.bundles):
        name = bundle.card.name
        observer.network(name)
        with tempfile.TemporaryDirectory(prefix="hddnn-bench-") as folder, ExitStack() as stack:
            images = Path(folder) / "images.npy"
            np.save(images, images_of(bundle.card.input_shape, max(grid.images, *grid.batch_sizes)))
            rows = {variable: array[n] for variable, array in values.items()}
            one = _Network(bundle, grid, images, rows, observer)
            one.load(stack)
            one.time()
            one.weigh()
            reasons[name], judges[name] = one.reasons, one.judge
    values["images_per_second"] = 1 / values["seconds_per_image"]
    data = {
        name: (dims, values[name], {"units": units, "long_name": text})
        for name, (dims, units, text) in _VARIABLES.items()
    }
    attributes = {
        "processor": processor(),
        "left_out": json.dumps({name: why for name, why in reasons.items() if why}),
        "long_name": "networks in runtimes: time, memory, agreement",
    }
    coords: dict[str, Any] = {
        **sizes,
        "reference": ("network", [by for by, _ in judges.values()]),
        "images_compared": ("network", [count for _, count in judges.values()]),
        "default": ("network", [bundle.card.runtime for bundle in grid.bundles]),
    }
    return xr.Dataset(data, coords, {**cubes.environment(), **attributes})


def images_of(shape: Sequence[int], count: int) -> np.ndarray:
    """Return the packaged images, resized and repeated as needed: uint8 (count, *shape)."""
    images = load_dataset().images
    images = images[np.arange(count) % len(images)]
    if images.shape[1:] == tuple(shape):
        return images
    size = (shape[1], shape[0])
    return np.stack(
        [np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)) for image in images]
    )


def _steps(grid: Grid) -> int:
    ways = sum(left_out(b, v, grid.variants) is None for b in grid.bundles for v in grid.variants)
    return len(grid.bundles) + ways * len(grid.threads) * (1 + grid.repeats * len(grid.batch_sizes))


class _Network:
    """The measurement of one network: fills `rows`, its part of each variable, and `reasons` by runtime."""

    def __init__(
        self, bundle: Bundle, grid: Grid, images: Path, rows: dict[str, np.ndarray], observer: BenchObserver
    ) -> None:
        self.reasons: dict[str, str] = {}
        self.judge = ("", 0)  # whose answers are the right ones, and to how many images
        self._bundle, self._grid, self._images = bundle, grid, images
        self._rows, self._observer = rows, observer
        self._held: dict[tuple[int, int], Remote] = {}  # by the numbers of variant and threads

    def load(self, stack: ExitStack) -> None:
        """Start all processes; what cannot load its network, or run it once, is left out."""
        grid, name = self._grid, self._bundle.card.name
        right = self._right_answers()
        for v, variant in enumerate(grid.variants):
            why = left_out(self._bundle, variant, grid.variants)
            if why is not None:
                self.reasons[variant] = why
                continue
            try:
                for t, threads in enumerate(grid.threads):
                    self._observer.step(f"{name}: loading {variant}, {_threads(threads)}")
                    held = stack.enter_context(Remote(self._bundle, variant, threads, self._images))
                    self._held[v, t] = held
                    self._rows["load_s"][v, t] = held.answer()["load_s"]
                    # All do the same, so that their memory can be compared; the threads change no answer.
                    classes = np.array(held.ask("answers", images=grid.images if t == 0 else 50))
                    if t == 0:
                        if not is_itself(variant, self.judge[0]):
                            self._rows["agreement"][v] = np.mean(classes[: len(right)] == right)
                        self._rows["agreement_on_card"][v] = on_card(self._bundle, variant)
                    for batch_size in grid.batch_sizes:  # a runtime may prepare for each
                        held.ask("time", batch_size=batch_size, least_s=0.0)
            except Failed as failed:
                self._leave_out(v, str(failed))

    def time(self) -> None:
        """Measure all cells in rounds."""
        grid, name = self._grid, self._bundle.card.name
        for repeat, b, (v, t) in rounds(grid, list(self._held)):
            if (v, t) not in self._held:
                continue
            threads, size = grid.threads[t], grid.batch_sizes[b]
            self._observer.step(
                f"{name}: {grid.variants[v]}, {_threads(threads)}, batch {size}, round {repeat + 1}"
            )
            try:
                taken_s = self._held[v, t].ask("time", batch_size=size, least_s=grid.least_s)
            except Failed as failed:
                self._leave_out(v, str(failed))
            else:
                self._rows["seconds_per_image"][v, t, b, repeat] = taken_s

    def weigh(self) -> None:
        """Ask all processes for the most memory that they held."""
        for (v, t), held in list(self._held.items()):
            try:
                self._rows["peak_memory"][v, t] = held.ask("memory")
            except Failed as failed:
                self._leave_out(v, str(failed))

    def _right_answers(self) -> np.ndarray:
        """Return the classes of the images that are compared, int64 (N,), by the first reference that runs it."""
        name, why = self._bundle.card.name, ""
        for variant in references(self._bundle, self._grid.variants):
            self._observer.step(f"{name}: answers of {variant}")
            with Remote(self._bundle, variant, max(self._grid.threads), self._images) as remote:
                try:
                    remote.answer()
                    within_s = _EVALUATOR_S if variant == EVALUATOR else None
                    classes = np.array(remote.ask("answers", images=self._grid.images, within_s=within_s))
                except Failed as failed:
                    why = why or f"{variant} cannot run network {name}: {failed}"
                    continue
            self.judge = variant, len(classes)
            return classes
        raise HddnnError(why)

    def _leave_out(self, v: int, reason: str) -> None:
        variant = self._grid.variants[v]
        self._held = {cell: held for cell, held in self._held.items() if cell[0] != v}
        for row in self._rows.values():
            row[v] = np.nan
        self.reasons[variant] = reason
        self._observer.left_out(self._bundle.card.name, variant, reason)


def rounds(grid: Grid, cells: list[tuple[int, int]]) -> Iterator[tuple[int, int, tuple[int, int]]]:
    """Yield (repeat, batch size's number, cell): in each round every batch size, its cells in a new order."""
    order = np.random.default_rng(0)
    for repeat in range(grid.repeats):
        for b in range(len(grid.batch_sizes)):
            for i in order.permutation(len(cells)):
                yield repeat, b, cells[i]


def _threads(count: int) -> str:
    return f"{count} thread{'s' if count > 1 else ''}"
