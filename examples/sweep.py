"""How many cameras can one gateway serve? A grid of settings, simulated, as one cube and one figure.

    python examples/sweep.py            # writes results/cameras.nc and results/cameras.png

Every camera has 20 batches of 10 images. With one gateway the fine answers come later with each camera; with two,
half as much so. hddnn.experiments.sweep keeps finished points, so that a long sweep may be stopped.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import xarray as xr
from matplotlib.figure import Figure

from hddnn import Job, Topology, load_dataset, run
from hddnn.experiments.sweep import Dim, Variable, sweep
from hddnn.results import cubes

BATCHES, BATCH = 20, 10
CAMERAS = [1, 2, 4, 8, 16]


def site(cameras: int, gateways: int) -> Topology:
    """Return a site: cameras that take 20 ms an image, gateways that take 5, and Wi-Fi between them."""
    return Topology.from_dict(
        {
            "name": "site",
            "devices": [
                {
                    "name": "camera",
                    "count": cameras,
                    "tier": "end",
                    "network": "mobilenet",
                    "seconds_per_image": 0.02,
                },
                {
                    "name": "gateway",
                    "count": gateways,
                    "tier": "edge",
                    "network": "resnet34",
                    "seconds_per_image": 0.005,
                },
            ],
            "links": [{"from": "end", "to": "edge", "latency_s": 0.003, "bandwidth_bps": 20e6}],
        }
    )


def measure(gateways: int, cameras: int) -> dict[str, float]:
    """Return the finish time and the slowest tenth of the fine responses of one site, in s of model time."""
    job = Job(load_dataset("sample"), images=cameras * BATCHES * BATCH, batch_size=BATCH)
    cube = run(site(cameras, gateways), job, ["end-edge"], engine="sim").sel(scheme="end-edge")
    return {
        "makespan_s": float(cube.makespan_s),
        "behind_s": float(np.quantile(cube.fine_s - cube.coarse_s, 0.9)),
    }


def figure(cube: xr.Dataset) -> Figure:
    """Return how far fine answers are behind coarse ones, by cameras."""
    drawn = Figure(figsize=(6, 3.6), layout="constrained")
    axes = drawn.subplots()
    for gateways, style in zip(cube.gateways.values, ("o-", "s--"), strict=True):
        label = f"{gateways} gateway" if gateways == 1 else f"{gateways} gateways"
        axes.plot(cube.cameras, cube.behind_s.sel(gateways=gateways), style, label=label)
    axes.set(
        xlabel="cameras", ylabel="fine answer behind the coarse one (s)", yscale="log", xticks=cube.cameras
    )
    axes.set_title("90 of 100 fine answers come sooner; simulated")
    axes.grid(alpha=0.3)
    axes.legend()
    return drawn


def main(out: Path = Path("results/cameras.nc")) -> None:
    """Measure the grid, print it, and write cube and figure."""
    out.parent.mkdir(parents=True, exist_ok=True)
    cube = sweep(
        measure,
        {"gateways": Dim([1, 2], "1", "edge devices"), "cameras": Dim(CAMERAS, "1", "end devices")},
        {
            "makespan_s": Variable("s", "job start to the last answer"),
            "behind_s": Variable("s", "fine answer after the coarse one, 90th percentile"),
        },
        {"scenario": "cameras", "engine": "sim", "batches_a_camera": BATCHES, "batch": BATCH},
        out,
    )
    cubes.write(cube, out)
    figure(cube).savefig(out.with_suffix(".png"), dpi=100)
    print("fine answers behind coarse ones, 90th percentile, s")
    print("cameras   " + "".join(f"{n:8}" for n in cube.cameras.values))
    for gateways in cube.gateways.values:
        print(
            f"gateways {gateways}" + "".join(f"{s:8.2f}" for s in cube.behind_s.sel(gateways=gateways).values)
        )
    for gateways in cube.gateways.values:
        in_time = cube.cameras.where(cube.behind_s.sel(gateways=gateways) < 0.5)
        print(f"within half a second: {int(in_time.max())} cameras with gateways: {gateways}")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
