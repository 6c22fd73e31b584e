"""The paper's Table 5: what encoding costs a task on its way to the cloud, by latency, place and codec.

One end device, one edge device and a cloud, one batch of 50 at a time. A task's time is that from the coarse
answer to the fine one: encoding, the way, and the cloud's work (eq. 14 and 15); the overhead is its increase over
raw images sent to a cloud that may see them (eq. 16). The devices encode at their own speed; the cloud takes the
paper's 7.4 ms an image. The link has the paper's latencies and, as well, 100 Mbit/s, where bytes count. All cells
take turns.

    python scenarios/encryption_overhead.py --out results/encryption_overhead.nc
"""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import click
import matplotlib.pyplot as plt
import numpy as np
import xarray as xr
from rich.console import Console

from hddnn import Job, Topology, cubes, load_dataset
from hddnn.bars import track
from hddnn.engines.dask.engine import DaskEngine
from hddnn.privacy.codec import DEFAULT
from hddnn.schemes import ENCODERS, make_plan

BANDWIDTHS_BPS = (None, 100e6)
CODECS = ("float32", "float16", DEFAULT)
BATCH = 50
#: Latency, s -> overhead with encoding at the end, and at the edge.
PAPER = {0.5: (0.571, 0.440), 1.0: (0.332, 0.272), 1.5: (0.247, 0.206), 2.0: (0.179, 0.159)}
TARGET = 0.05  # at most, at 0.5 s with the default codec


def system(latency_s: float, bandwidth_bps: float | None, trust: str) -> Topology:
    """Return the system with one kind of link to the cloud, which may or may not see images."""
    rate = {} if bandwidth_bps is None else {"bandwidth_bps": bandwidth_bps}
    return Topology.from_dict(
        {
            "name": "encryption overhead",
            "devices": [
                {"name": "end", "tier": "end", "network": "mobilenet"},
                {"name": "edge", "tier": "edge", "network": "resnet34"},
                {
                    "name": "cloud", "tier": "cloud", "network": "wrn16_4", "trust": trust,
                    "seconds_per_image": 0.0074,
                },
            ],
            "links": [
                {"from": tier, "to": "cloud", "latency_s": latency_s, "mode": "serial", **rate}
                for tier in ENCODERS
            ],
        }
    )  # fmt: skip


def task_s(engine: DaskEngine, encode_at: str) -> tuple[float, float]:
    """Return the seconds of one task, from coarse to fine answer, and those spent on encoding."""
    plan = make_plan("end-cloud", engine.topology, engine.job, engine.costs(), encode_at=encode_at)
    record = engine.execute(plan)
    assert record.complete, record.outcome
    return float(record.steps["fine"][0] - record.steps["coarse"][0]), float(record.encode_s[0])


def figure(cube: xr.Dataset, path: Path) -> None:
    """Draw the overhead against latency, one panel a bandwidth, beside the paper's."""
    figure, axes = plt.subplots(1, len(BANDWIDTHS_BPS), figsize=(10, 4), sharey=True, layout="constrained")
    for axis, bandwidth in zip(axes, cube.bandwidth.values, strict=True):
        for at, style in zip(ENCODERS, ("-", "--"), strict=True):
            paper = 100 * cube.paper.sel(encode_at=at)
            axis.plot(cube.latency_s, paper, style, color="grey", label=f"paper, at the {at}")
            for colour, codec in enumerate(CODECS):
                one = cube.overhead.sel(bandwidth=bandwidth, codec=codec, encode_at=at).median("repeat")
                label = f"{codec}, at the {at}"
                axis.plot(cube.latency_s, 100 * one, style, color=f"C{colour}", marker="o", label=label)
        axis.set(xlabel="latency to the cloud, s", title=f"bandwidth: {bandwidth}", xticks=cube.latency_s)
        axis.axhline(100 * TARGET, color="black", linestyle=":", linewidth=0.8)
    axes[0].set_ylabel("overhead of encoding, %")
    figure.legend(*axes[0].get_legend_handles_labels(), loc="outside right upper", frameon=False)
    figure.savefig(path, dpi=130)


@click.command()
@click.option("--repeats", default=5, show_default=True)
@click.option(
    "--latencies",
    "latencies_s",
    type=float,
    multiple=True,
    default=tuple(PAPER),
    show_default=True,
    help="Seconds from end or edge to the cloud.",
)
@click.option(
    "--out",
    type=click.Path(path_type=Path),
    default=Path("results/encryption_overhead.nc"),
    show_default=True,
)
def main(repeats: int, latencies_s: tuple[float, ...], out: Path) -> None:
    """Run a task in every cell in turn."""
    job = Job(load_dataset(), images=BATCH, batch_size=BATCH)
    shape = (len(latencies_s), len(BANDWIDTHS_BPS), len(ENCODERS), len(CODECS), repeats)
    with_s, encode_s = np.full(shape, np.nan), np.full(shape, np.nan)
    raw_s = np.full((*shape[:2], repeats), np.nan)
    cells = list(np.ndindex(shape[:2]))
    for row, column in track(cells, "latencies and bandwidths", Console(stderr=True)):
        link = latencies_s[row], BANDWIDTHS_BPS[column]
        with ExitStack() as stack:
            raw = stack.enter_context(DaskEngine(system(*link, "dependable"), job))
            encoding = stack.enter_context(DaskEngine(system(*link, "undependable"), job))
            for repeat in range(-1, repeats):  # the first of all is not counted
                took: dict[Any, tuple[float, float]] = {"raw": task_s(raw, "end")}
                for place, at in enumerate(ENCODERS):
                    for number, encoding.codec in enumerate(CODECS):
                        took[place, number] = task_s(encoding, at)
                if repeat >= 0:
                    raw_s[row, column, repeat] = took.pop("raw")[0]
                    for (place, number), (seconds, spent_s) in took.items():
                        with_s[row, column, place, number, repeat] = seconds
                        encode_s[row, column, place, number, repeat] = spent_s
    dims = ("latency_s", "bandwidth", "encode_at", "codec", "repeat")
    cube = xr.Dataset(
        {
            "task_s": (dims, with_s, {"units": "s", "long_name": "coarse to fine answer, with encoding"}),
            "encode_s": (dims, encode_s, {"units": "s", "long_name": "device time spent on encoding"}),
            "raw_s": (
                ("latency_s", "bandwidth", "repeat"),
                raw_s,
                {"units": "s", "long_name": "coarse to fine answer, raw images"},
            ),
            "paper": (
                ("latency_s", "encode_at"),
                np.array([PAPER.get(latency_s, (np.nan, np.nan)) for latency_s in latencies_s]),
                {"units": "1", "long_name": "overhead in the paper's table 5"},
            ),
        },
        {
            "latency_s": list(latencies_s),
            "bandwidth": ["unlimited" if b is None else f"{b / 1e6:.0f} Mbit/s" for b in BANDWIDTHS_BPS],
            "encode_at": list(ENCODERS),
            "codec": list(CODECS),
            "repeat": np.arange(repeats),
        },
        {"batch_size": BATCH, "network": "wrn16_4", **cubes.environment()},
    )
    # Each task against the raw one of the same round.
    cube["overhead"] = cube.task_s / cube.raw_s - 1
    cube.overhead.attrs = {"units": "1", "long_name": "increase of a task's time by encoding"}
    cubes.write(cube, out)
    figure(cube, out.with_suffix(".png"))
    print(f"{'':34}" + "".join(f"{latency_s:9.1f} s" for latency_s in latencies_s) + "   encode, ms")
    for at in ENCODERS:
        print(f"{f'the paper, at the {at}':34}" + _percent(cube.paper.sel(encode_at=at)))
        for bandwidth in cube.bandwidth.values:
            for codec in CODECS:
                one = cube.sel(bandwidth=bandwidth, codec=codec, encode_at=at)
                cell = f"{bandwidth}, {codec}, at the {at}"
                spent_ms = 1e3 * float(one.encode_s.median())
                print(f"{cell:34}{_percent(one.overhead.median('repeat'))}{spent_ms:13.1f}")
    first = cube.overhead.sel(codec=DEFAULT, bandwidth="unlimited").isel(latency_s=0)
    worst = float(first.median("repeat").max())
    at_s = f"at {latencies_s[0]:g} s with {DEFAULT}"
    print(f"{at_s}: overhead {worst:.1%} at most (target at 0.5 s: {TARGET:.0%} at most)")


def _percent(values: xr.DataArray) -> str:
    return "".join(f"{100 * float(value):9.1f} %" for value in values)


if __name__ == "__main__":
    main()
