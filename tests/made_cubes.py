"""Cubes for tests of tables and figures: predicted, stopped, and with batches that were lost."""

from __future__ import annotations

import xarray as xr

from hddnn.api import run
from hddnn.data.datasets import Job
from hddnn.system.topology import Topology

STAGES = ("coarse", "fine")


def predicted(job: Job, *schemes: str) -> xr.Dataset:
    """Return the cube of these schemes, of all by default, as the paper's equations predict it."""
    return run(Topology.load("paper"), job, schemes or None, engine="closed")


def with_lost(cube: xr.Dataset, *, stages: tuple[str, ...] = STAGES, first: int = 0) -> xr.Dataset:
    """Return the cube without the answers of these stages from batch `first` on."""
    lost = cube.copy(deep=True)
    for stage in stages:
        for name in (f"{stage}_s", f"{stage}_correct"):
            lost[name][:, first:] = float("nan")
        if first == 0:
            lost[f"{stage}_accuracy"][:] = float("nan")
    if first == 0 and set(stages) == set(STAGES):
        lost["makespan_s"][:] = float("nan")
    lost["outcome"] = lost.outcome.astype(object)
    lost["outcome"][:, first:] = "lost"
    return lost


def stopped(cube: xr.Dataset) -> xr.Dataset:
    """Return the cube as if its last scheme had been stopped after two batches."""
    parts = [cube.isel(scheme=slice(-1)), with_lost(cube.isel(scheme=[-1]), first=2)]
    both = xr.concat(parts, "scheme", data_vars="minimal")
    both["interrupted"][-1] = True
    return both
