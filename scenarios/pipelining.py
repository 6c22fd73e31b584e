"""Pipelining: how near each scheme's finish time comes to what its busiest device or link allows.

The paper's system: topology `paper`, 200 batches of 50 images, networks replayed, modelled times kept.
  finish    makespan over the pipelined lower bound of the same plan; no batch may be lost
  response  median coarse over median fine response (release to answer): coarse answers stream, they do not wait

    python scenarios/pipelining.py --out results/pipelining.nc
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import xarray as xr

from hddnn import Job, cubes, load_dataset, run
from hddnn.schemes import SCHEMES

BATCH = 50
TARGET_FINISH = 1.10  # of each scheme, at most
TARGET_RESPONSE = {"end-cloud": 0.1}  # at most


def summary(cube: xr.Dataset) -> xr.Dataset:
    """Return what this scenario shows of one run's cube, by scheme; NaN where a scheme has no fine answers."""
    coarse_s = (cube.coarse_s - cube.submitted_s).median("batch")
    fine_s = (cube.fine_s - cube.submitted_s).median("batch")
    values = {
        "makespan_s": (cube.makespan_s, "s", "job start to the last answer"),
        "bound_s": (cube.bound_s, "s", "pipelined lower bound of the finish time"),
        "finish_ratio": (cube.makespan_s / cube.bound_s, "1", "makespan over its lower bound"),
        "coarse_response_s": (coarse_s, "s", "median time from release to coarse answer"),
        "fine_response_s": (fine_s, "s", "median time from release to fine answer"),
        "response_ratio": (coarse_s / fine_s, "1", "median coarse over median fine response"),
        "lost": ((cube.outcome != "ok").sum("batch"), "1", "batches that were not answered"),
        "overruns": (cube.overrun.sum("batch"), "1", "batches that took longer than modelled on a device"),
    }
    return xr.Dataset(
        {name: v.drop_attrs().assign_attrs(units=u, long_name=text) for name, (v, u, text) in values.items()}
    )


@click.command()
@click.option("--batches", default=200, show_default=True, help=f"Batches of {BATCH} images.")
@click.option("--time-scale", default=0.2, show_default=True, help="Wall seconds a scenario second.")
@click.option("--repeats", default=1, show_default=True, help="Runs of all schemes.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("results/pipelining.nc"), show_default=True
)
def main(batches: int, time_scale: float, repeats: int, out: Path) -> None:
    """Run all schemes and compare each finish time with its lower bound."""
    job = Job(load_dataset(), images=batches * BATCH, batch_size=BATCH)
    runs = []
    for _ in range(repeats):
        cube = run("paper", job, list(SCHEMES), compute="replay", time_scale=time_scale)
        runs.append(summary(cube))
    cube = xr.concat(runs, "repeat", combine_attrs="override").assign_coords(repeat=np.arange(repeats))
    cube.attrs = {
        "topology_name": "paper",
        "compute": "replay",
        "time_scale": time_scale,
        "batches": batches,
        "batch_size": BATCH,
        **cubes.environment(),
    }
    cubes.write(cube, out)
    for scheme in SCHEMES:
        row = cube.sel(scheme=scheme)
        ratio = row.finish_ratio
        line = (
            f"{scheme:9} finish {float(row.makespan_s.median()):6.2f} s, "
            f"{float(ratio.median()):.3f} x bound ({float(ratio.min()):.3f} to {float(ratio.max()):.3f}; "
            f"target {TARGET_FINISH:.2f} at most), {int(row.lost.sum())} lost (target 0), "
            f"{int(row.overruns.sum())} overruns"
        )
        if scheme in TARGET_RESPONSE:
            line += (
                f"; coarse {float(row.response_ratio.median()):.3f} x fine response "
                f"(target {TARGET_RESPONSE[scheme]} at most)"
            )
        print(line)


if __name__ == "__main__":
    main()
