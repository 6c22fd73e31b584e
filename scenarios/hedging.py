"""One slow device: the response times under monitor, which waits for it, and under hedge, which does not.

200 tasks of 0.52 s on 8 end devices, one of which takes ten times as long. Both policies in turn on the same
devices.
  p99      99th percentile of the response, release to answer
  again    tasks that were done twice, as a share of all

    python scenarios/hedging.py --out results/hedging.nc
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import xarray as xr
from fault_tolerance import BATCH, TASKS, system
from rich.console import Console

from hddnn import Job, cubes, load_dataset, zoo
from hddnn.bars import track
from hddnn.engines.dask.engine import DaskEngine
from hddnn.faults import FaultSchedule
from hddnn.runtimes import replay
from hddnn.schemes import make_plan

POLICIES = ("monitor", "hedge")
SLOW = 10
TARGET_P99, TARGET_AGAIN = 1 / 3, 0.05  # at most
VARIABLES = {
    "p99_s": ("s", "99th percentile of the response"),
    "makespan_s": ("s", "job start to the last answer"),
    "again": ("1", "tasks that were done twice, as a share of all"),
    "wasted_s": ("s", "device time spent on those"),
    "lost": ("1", "tasks without an answer"),
}


@click.command()
@click.option("--repeats", default=5, show_default=True)
@click.option("--time-scale", default=0.2, show_default=True, help="Wall seconds a scenario second.")
@click.option("--out", type=click.Path(path_type=Path), default=Path("results/hedging.nc"), show_default=True)
def main(repeats: int, time_scale: float, out: Path) -> None:
    """Run the job under both policies in turn."""
    job = Job(load_dataset(), images=TASKS * BATCH, batch_size=BATCH)
    replay.prepare(zoo.bundle("mobilenet"), job.data.images)
    values = {name: np.zeros((len(POLICIES), repeats)) for name in VARIABLES}
    faults = FaultSchedule.parse(f"slow:end-1x{SLOW}")
    cells = [(repeat, row) for repeat in range(repeats) for row in range(len(POLICIES))]
    with DaskEngine(system(), job, compute="replay", time_scale=time_scale, faults=faults) as engine:
        for repeat, row in track(cells, "runs", Console(stderr=True)):
            engine.policy = POLICIES[row]
            record = engine.execute(make_plan("end", engine.topology, job, engine.costs()))
            measured = {
                "p99_s": np.nanquantile(record.response_s("coarse"), 0.99),
                "makespan_s": record.makespan_s,
                "again": record.duplicates.sum() / TASKS,
                "wasted_s": record.wasted_s.sum(),
                "lost": (record.outcome != "ok").sum(),
            }
            for name, value in measured.items():
                values[name][row, repeat] = value
    cube = xr.Dataset(
        {
            name: (("policy", "repeat"), values[name], {"units": units, "long_name": text})
            for name, (units, text) in VARIABLES.items()
        },
        {"policy": list(POLICIES), "repeat": np.arange(repeats)},
        {
            "time_scale": time_scale,
            "tasks": TASKS,
            "slow_factor": SLOW,
            "compute": "replay",
            **cubes.environment(),
        },
    )
    cubes.write(cube, out)
    for policy in POLICIES:
        row = cube.sel(policy=policy)
        print(
            f"{policy:8} p99 {float(row.p99_s.median()):6.2f} s ({float(row.p99_s.min()):.2f} to "
            f"{float(row.p99_s.max()):.2f}), finish {float(row.makespan_s.median()):6.2f} s, "
            f"{float(row.again.median()):.1%} done twice, {int(row.lost.sum())} lost"
        )
    ratio = float((cube.p99_s.sel(policy="hedge") / cube.p99_s.sel(policy="monitor")).median())
    again = float(cube.again.sel(policy="hedge").max())
    print(
        f"hedge: p99 {ratio:.3f} x monitor's (target {TARGET_P99:.2f} at most), "
        f"at most {again:.1%} done twice (target {TARGET_AGAIN:.0%} at most)"
    )


if __name__ == "__main__":
    main()
