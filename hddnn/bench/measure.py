"""Measure every cell of a grid, alternating, each network, runtime and number of threads in its own process."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from hddnn import cubes
from hddnn.bench.grid import Grid, left_out, reference
from hddnn.errors import HddnnError
from hddnn.machine import processor
from hddnn.zoo import Bundle

if TYPE_CHECKING:
    import xarray as xr

_END_S = 5.0  # for a process to end by itself when it is no longer needed
# Compiling takes as long, without a pool of processes that outlives its use.
_ENVIRONMENT = {"TORCHINDUCTOR_COMPILE_THREADS": "1"}

DIMS = ("network", "runtime", "threads", "batch_size", "repeat")
_VARIABLES = {
    "seconds_per_image": (DIMS, "s", "wall time of an image, in batches"),
    "images_per_second": (DIMS, "s-1", "images a second, in batches"),
    "peak_memory": (DIMS[:3], "byte", "most resident memory of a process holding the network"),
    "load_s": (DIMS[:3], "s", "until the network is loaded, its library included"),
    "agreement": (DIMS[:2], "1", "share of images answered as the reference answers them (top-1)"),
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
        """Hear that a network cannot be measured in a runtime after all."""


class _Failed(HddnnError):
    """A process could not load or run its network."""


class _Remote:
    """The other end of hddnn.bench.process: a network held by a process of its own, ended on exit."""

    def __init__(self, bundle: Bundle, variant: str, threads: int) -> None:
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed on exit, with the process
        command = [sys.executable, "-m", "hddnn.bench.process", str(bundle.path), variant, str(threads)]
        # A session of its own, so that Ctrl-C reaches this process alone, which then ends the others.
        self._process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            text=True,
            env=os.environ | _ENVIRONMENT,
            start_new_session=True,
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        try:
            if error[0] is not None:
                self._process.kill()
            self._process.communicate(timeout=_END_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()
        finally:
            self._errors.close()

    def answer(self) -> dict[str, Any]:
        """Return the next line; raises _Failed with the reason when there is none."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            said = self._errors.read().split("\n")
            last = next((text.strip() for text in reversed(said) if text.strip()), "it said nothing")
            raise _Failed(f"its process ended ({last})")
        answer: dict[str, Any] = json.loads(line)
        if "error" in answer:
            raise _Failed(answer["error"])
        return answer

    def ask(self, do: str, **what: Any) -> Any:
        """Return the one value of the answer to a question."""
        assert self._process.stdin is not None
        with suppress(BrokenPipeError):  # answer() says why it ended
            print(json.dumps({"do": do, **what}), file=self._process.stdin, flush=True)
        (value,) = self.answer().values()
        return value


def run(grid: Grid, observer: BenchObserver | None = None) -> xr.Dataset:
    """Measure and return the cube: seconds_per_image, images_per_second, peak_memory, load_s, agreement.

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
    observer.began(_steps(grid))
    for n, bundle in enumerate(grid.bundles):
        observer.network(bundle.card.name)
        rows = {name: array[n] for name, array in values.items()}
        reasons[bundle.card.name] = _measure(bundle, grid, rows, observer)
    values["images_per_second"] = 1 / values["seconds_per_image"]
    data = {
        name: (dims, values[name], {"units": units, "long_name": text})
        for name, (dims, units, text) in _VARIABLES.items()
    }
    attributes = {
        "processor": processor(),
        "images_compared": grid.images,
        "left_out": json.dumps({name: why for name, why in reasons.items() if why}),
        "long_name": "networks in runtimes: time, memory, agreement",
    }
    coords: dict[str, Any] = {**sizes, "reference": ("network", [reference(b) for b in grid.bundles])}
    return xr.Dataset(data, coords, {**cubes.environment(), **attributes})


def _steps(grid: Grid) -> int:
    ways = sum(left_out(b, v, grid.variants) is None for b in grid.bundles for v in grid.variants)
    return ways * len(grid.threads) * (1 + grid.repeats * len(grid.batch_sizes))


def _measure(
    bundle: Bundle, grid: Grid, rows: dict[str, np.ndarray], observer: BenchObserver
) -> dict[str, str]:
    """Fill one network's part of each variable; return why runtimes were left out, by runtime."""
    name = bundle.card.name
    reasons: dict[str, str] = {}
    right = _answers_of_reference(bundle, grid, observer)
    with ExitStack() as stack:
        holders: dict[tuple[int, int], _Remote] = {}
        for v, variant in enumerate(grid.variants):
            why = left_out(bundle, variant, grid.variants)
            if why is not None:
                reasons[variant] = why
                continue
            try:
                for t, threads in enumerate(grid.threads):
                    observer.step(f"{name}: loading {variant}, {_threads(threads)}")
                    holder = stack.enter_context(_Remote(bundle, variant, threads))
                    rows["load_s"][v, t] = holder.answer()["load_s"]
                    if t == 0:
                        classes = np.array(holder.ask("answers", images=grid.images))
                        rows["agreement"][v] = np.mean(classes == right)
                    for batch_size in grid.batch_sizes:  # a runtime may prepare for each
                        holder.ask("time", batch_size=batch_size, least_s=0.0)
                    holders[v, t] = holder
            except _Failed as failed:
                holders = {cell: holder for cell, holder in holders.items() if cell[0] != v}
                rows["load_s"][v] = rows["agreement"][v] = np.nan
                reasons[variant] = str(failed)
                observer.left_out(name, variant, str(failed))
        for repeat, b, (v, t) in _rounds(grid, list(holders)):
            threads, batch_size = grid.threads[t], grid.batch_sizes[b]
            observer.step(
                f"{name}: {grid.variants[v]}, {_threads(threads)}, batch {batch_size}, round {repeat + 1}"
            )
            try:
                taken_s = holders[v, t].ask("time", batch_size=batch_size, least_s=grid.least_s)
            except _Failed as failed:
                raise HddnnError(f"network {name} failed in {grid.variants[v]}: {failed}") from failed
            rows["seconds_per_image"][v, t, b, repeat] = taken_s
        for (v, t), holder in holders.items():
            rows["peak_memory"][v, t] = holder.ask("memory")
    return reasons


def _answers_of_reference(bundle: Bundle, grid: Grid, observer: BenchObserver) -> np.ndarray:
    """Return the reference's classes of the images that are compared, int64 (N,)."""
    variant = reference(bundle)
    observer.step(f"{bundle.card.name}: answers of {variant}")
    with _Remote(bundle, variant, max(grid.threads)) as holder:
        try:
            holder.answer()
            return np.array(holder.ask("answers", images=grid.images))
        except _Failed as failed:
            raise HddnnError(f"{variant} cannot run network {bundle.card.name}: {failed}") from failed


def _rounds(grid: Grid, cells: list[tuple[int, int]]) -> Iterator[tuple[int, int, tuple[int, int]]]:
    """Yield (repeat, batch size's number, cell): in each round every batch size, its cells in a new order."""
    order = np.random.default_rng(0)
    for repeat in range(grid.repeats):
        for b in range(len(grid.batch_sizes)):
            for i in order.permutation(len(cells)):
                yield repeat, b, cells[i]


def _threads(count: int) -> str:
    return f"{count} thread{'s' if count > 1 else ''}"
