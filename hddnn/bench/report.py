"""What a bench says: a table, a verdict on the default runtime, and a figure."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from itertools import cycle
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

import numpy as np
from rich.console import Group
from rich.text import Text

from hddnn.bench.grid import AGREES, CUDA, DEFINITION, runtime_of
from hddnn.results.fitting import Fitted
from hddnn.results.tables import number

if TYPE_CHECKING:
    import xarray as xr
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

BASE = DEFINITION  # what the others are compared with
#: By way to run: a colour of Okabe and Ito's palette, a marker and a hatch.
_STYLES = {
    "openvino": ("#009E73", "o", ""),
    "openvino-f32": ("#56B4E9", "s", ".."),
    "openvino-bf16": ("#0072B2", "D", "xx"),
    "onnxruntime": ("#E69F00", "^", "//"),
    "torch": ("#D55E00", "v", "\\\\"),
    "torch-compiled": ("#CC79A7", "P", "++"),
    "torch-cuda": ("#666666", "X", "--"),
}
_MARKERS = "*hdp<>8"  # of runtimes of a user's own, in black


def _styles(ways: Iterable[str]) -> dict[str, tuple[str, str, str]]:
    """Return colour, marker and hatch by way, a marker each for those that are a user's own."""
    marked = zip((way for way in ways if way not in _STYLES), cycle(_MARKERS))
    return _STYLES | {way: ("#000000", marker, "") for way, marker in marked}


def _short(way: str) -> str:
    """Return a way's name for a figure: of a file its name alone."""
    place, colon, rest = way.partition(":")
    return f"{PurePath(place).name}{colon}{rest}"


def table(cube: xr.Dataset) -> Group:
    """Return a table for each network, a row for each runtime and number of threads, and the verdict."""
    parts: list[Fitted | Text] = []
    for name in cube.network.values:
        parts += [Text(str(name), style="bold"), _of_network(cube.sel(network=name)), Text("")]
    return Group(*parts, Text("\n".join(_notes(cube))))


def _of_network(one: xr.Dataset) -> Fitted:
    times = [f"ms at\nbatch\n{size}" for size in one.batch_size.values]
    made = Fitted(
        ("runtime", "thr", *times, "images\n/s", "spread\n%", f"times\n{BASE}", "memory\nMB", "agrees\n%")
    )
    largest = one.batch_size.values[-1]
    for threads in one.threads.values:
        row = one.sel(threads=threads)
        median = row.seconds_per_image.median("repeat")
        measured = [str(v) for v in one.runtime.values if not np.isnan(median.sel(runtime=v)).all()]
        for variant in sorted(measured, key=lambda v: float(median.sel(runtime=v, batch_size=largest))):
            at = row.sel(runtime=variant)
            made.add_row(
                variant,
                str(threads),
                *(_milliseconds(float(seconds)) for seconds in median.sel(runtime=variant)),
                f"{1 / float(median.sel(runtime=variant, batch_size=largest)):.0f}",
                f"{float(spread(at.seconds_per_image).max()) * 100:.0f}",
                number(speedup(row, variant, largest), 1),
                f"{float(at.peak_memory) / 1e6:.0f}",
                number(float(at.agreement) * 100, 2),
            )
    return made


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:#.3g}"


def spread(times: xr.DataArray) -> xr.DataArray:
    """Return the distance of the quartiles over the median, by all dims but repeat."""
    low, middle, high = (times.quantile(share, "repeat") for share in (0.25, 0.5, 0.75))
    return (high - low) / middle


def speedup(row: xr.Dataset, variant: str, batch_size: int) -> float:
    """Return how many times as fast as torch a way is: the median of the ratios of each round; NaN without torch.

    row: the cube of one network and number of threads.
    """
    if BASE not in row.runtime.values:
        return float("nan")
    times = row.seconds_per_image.sel(batch_size=batch_size)
    return float((times.sel(runtime=BASE) / times.sel(runtime=variant)).median("repeat"))


def on_cpu(cube: xr.Dataset, name: str, threads: int, batch_size: int) -> dict[str, float]:
    """Return the median seconds an image by CPU runtime, of those that were measured."""
    one = cube.sel(network=name, threads=threads, batch_size=batch_size)
    median = one.seconds_per_image.median("repeat")
    names = [str(v) for v in one.runtime.values if "device=cuda" not in runtime_of(str(v))]
    return {v: float(median.sel(runtime=v)) for v in names if not np.isnan(median.sel(runtime=v))}


def fastest(cube: xr.Dataset, name: str, threads: int, batch_size: int) -> str | None:
    """Return the fastest CPU runtime of those whose answers agree, here and by the card; None where none does."""
    times = on_cpu(cube, name, threads, batch_size)
    one = cube.sel(network=name)
    share = np.fmin(one.agreement, one.agreement_on_card)  # fmin: what is NaN is not counted
    agreeing = [v for v in times if float(share.sel(runtime=v)) >= AGREES]
    return min(agreeing, key=times.__getitem__) if agreeing else None


def _notes(cube: xr.Dataset) -> Iterator[str]:
    """Yield the verdict on each network, and what a reader has to know."""
    threads, size = cube.threads.values[0], cube.batch_size.values[-1]
    where = f"{threads} thread{'s' if threads > 1 else ''}, batch {size}"
    for name in (str(name) for name in cube.network.values):
        best = fastest(cube, name, threads, size)
        if best is None:
            if on_cpu(cube, name, threads, size):
                yield f"{name}: no runtime agrees with {cube.reference.sel(network=name).values!s}"
            continue
        factor = speedup(cube.sel(network=name, threads=threads), best, size)
        times = "" if np.isnan(factor) or best == BASE else f", {factor:.1f} times as fast as {BASE}"
        default = str(cube.default.sel(network=name).values)
        choice = "the default, is" if best == default else "not the default, is"
        yield f"{name}: {best}, {choice} the fastest that agrees ({where}){times}"
        yield from _less_than_here(cube.sel(network=name))
    judges = dict.fromkeys(
        f"{by} on {count} images"
        for by, count in zip(cube.reference.values, cube.images_compared.values, strict=True)
    )
    yield f"agrees: same top-1 answer as {', '.join(judges)}; {AGREES:.1%} is asked of a default"
    yield (
        f"medians of {cube.sizes['repeat']} rounds; images/s: at the largest batch; spread: between the "
        "quartiles, at the batch size with most; memory: the process's peak"
    )
    yield f"measured on {cube.attrs['processor']}"
    if CUDA in _measured(cube):
        yield f"{CUDA}: its memory is the host's, and its threads change little"
    for name, why in json.loads(cube.attrs["left_out"]).items():
        yield from (f"left out: {name} in {variant}: {reason}" for variant, reason in why.items())


def _less_than_here(one: xr.Dataset) -> Iterator[str]:
    """Say which runtimes agree on the images here, and do not on the more images of the network's card."""
    for variant in (str(v) for v in one.runtime.values):
        here, card = (float(of.sel(runtime=variant)) for of in (one.agreement, one.agreement_on_card))
        if card < AGREES <= here:
            yield f"{one.network.values!s}: {variant} agrees on {card:.2%} only of all the images of its card"


def figure(cube: xr.Dataset) -> Figure:
    """Draw time an image against batch size, and below it peak memory; a column a network."""
    from matplotlib.figure import Figure
    from matplotlib.lines import Line2D

    names = [str(name) for name in cube.network.values]
    made = Figure(figsize=(max(4.6 * len(names), 6.5), 7.4), layout="constrained")
    axes = made.subplots(2, len(names), squeeze=False, sharey="row", height_ratios=(2, 1))
    for column, name in enumerate(names):
        one = cube.sel(network=name)
        _times(one, axes[0, column])
        axes[0, column].set_title(name)
        _memory(one, axes[1, column])
    axes[0, 0].set_ylabel("time an image (ms)")
    axes[1, 0].set_ylabel("peak memory of a process (MB)")
    handles: list[Any] = []
    for variant in _measured(cube):
        colour, marker, _ = _styles(map(str, cube.runtime.values))[variant]
        handles.append(Line2D([], [], color=colour, marker=marker, lw=2, label=_short(variant)))
    for threads, line in zip(cube.threads.values, _lines(cube), strict=True):
        label = f"{threads} thread{'s' if threads > 1 else ''}"
        handles.append(Line2D([], [], color="black", ls=line, lw=2, label=label))
    longest = max(len(handle.get_label()) for handle in handles)
    columns = max(1, min(len(handles), 4, int(made.get_figwidth() * 14 / (longest + 6))))
    made.legend(handles=handles, loc="outside lower center", ncols=columns, frameon=False)
    made.suptitle(f"{cube.attrs['processor']}: medians, bars from least to most", parse_math=False)
    return made


def _measured(cube: xr.Dataset) -> list[str]:
    dims = [dim for dim in cube.seconds_per_image.dims if dim != "runtime"]
    there = cube.seconds_per_image.notnull().any(dims)
    return [str(variant) for variant in cube.runtime.values[there.values]]


def _lines(cube: xr.Dataset) -> list[Any]:
    styles: list[Any] = ["-", "--", ":", "-."]
    return [styles[i % len(styles)] for i in range(cube.sizes["threads"])]


def _times(one: xr.Dataset, axes: Axes) -> None:
    sizes = one.batch_size.values
    for variant in _measured(one):
        colour, marker, _ = _styles(map(str, one.runtime.values))[variant]
        for threads, line in zip(one.threads.values, _lines(one), strict=True):
            ms = one.seconds_per_image.sel(runtime=variant, threads=threads) * 1e3
            middle = ms.median("repeat")
            reach = np.stack([middle - ms.min("repeat"), ms.max("repeat") - middle])
            axes.errorbar(sizes, middle, reach, color=colour, marker=marker, ls=line, lw=1.8, ms=6, capsize=2)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(sizes, [str(size) for size in sizes])
    axes.set_xticks([], minor=True)
    axes.yaxis.set_major_formatter(lambda value, _: f"{value:g}")
    axes.set_xlabel("images a batch")
    axes.grid(alpha=0.3, which="both", axis="y")


def _memory(one: xr.Dataset, axes: Axes) -> None:
    variants = _measured(one)
    width = 0.8 / one.sizes["threads"]
    for t in range(one.sizes["threads"]):
        for place, variant in enumerate(variants):
            colour, _, hatch = _styles(map(str, one.runtime.values))[variant]
            height = float(one.peak_memory.sel(runtime=variant).isel(threads=t)) / 1e6
            axes.bar(
                place + (t + 0.5) * width - 0.4, height, width, color=colour, hatch=hatch, ec="black", lw=0.6
            )
    labels = [_short(variant).replace(":", ":\n") for variant in variants]
    axes.set_xticks(range(len(variants)), labels, rotation=35, ha="right")
    axes.grid(alpha=0.3, axis="y")
