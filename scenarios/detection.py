"""How long a failure goes unnoticed, in heartbeat intervals, and whether a busy machine causes false alarms.

trials   each of up to 50 devices is killed, stopped, or cut off at a random time of a job; its detection time is
         from then to the client's hearing of it
alarms   devices work for the rest of the minutes while as many processes as there are cores do nothing but
         compute; none of the devices may be found gone

  python scenarios/detection.py --out results/detection.nc
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager

import click
import numpy as np
import xarray as xr

from hddnn import Job, Topology, load_dataset
from hddnn._util import terminal
from hddnn._util.bars import track
from hddnn.engines.dask.client.engine import DaskEngine
from hddnn.experiments.script import Settings, command
from hddnn.experiments.sizing import fitting
from hddnn.policies import Policy
from hddnn.schemes import make_plan
from hddnn.system.faults import Fault, FaultSchedule, Kind

TARGETS: dict[Kind, float] = {"crash": 2, "hang": 4, "partition": 4}  # heartbeat intervals, at most
DEVICES, TASK_S = 8, 0.1
VICTIMS = DEVICES - 1  # in a job; one device goes on
MOST_TRIALS = 50


def engine_for(heartbeat_s: float, seconds: float) -> DaskEngine:
    """Return an engine of 8 end devices, and a job that keeps them busy for so long with tasks of 0.1 s."""
    end = {
        "name": "end",
        "tier": "end",
        "count": DEVICES,
        "network": "mobilenet",
        "seconds_per_image": TASK_S,
    }
    images = DEVICES * max(1, round(seconds / TASK_S))
    return DaskEngine(
        Topology.from_dict({"name": "detection", "devices": [end]}),
        Job(load_dataset(), images=images, batch_size=1),
        compute="nothing",
        policy=Policy(deadline_s=1.1 * seconds),  # nothing is done about the failures: they are only watched
        heartbeat_s=heartbeat_s,
    )


def trials(engine: DaskEngine, kind: Kind, first_s: float, last_s: float, seed: int) -> np.ndarray:
    """Return the detection times in s of one job's victims; inf for one that was not noticed at all."""
    rng = np.random.default_rng(seed)
    victims = rng.permutation(DEVICES)[:VICTIMS] + 1
    engine.faults = FaultSchedule.of(
        Fault(kind=kind, device=f"end-{victim}", at_s=at_s)
        for victim, at_s in zip(victims, rng.uniform(first_s, last_s, VICTIMS), strict=True)
    )
    record = engine.execute(make_plan("end", engine.topology, engine.job, engine.costs()))
    faulted = np.isfinite(record.fault_s)
    return np.nan_to_num(record.detected_s[faulted], nan=np.inf)


@contextmanager
def busy_cores() -> Iterator[None]:
    """Keep every core computing meanwhile."""
    burners = [multiprocessing.Process(target=_burn, daemon=True) for _ in range(os.cpu_count() or 1)]
    for burner in burners:
        burner.start()
    try:
        yield
    finally:
        for burner in burners:
            burner.kill()
        for burner in burners:
            burner.join()


def _burn() -> None:
    while True:
        sum(range(100_000))


def sizes(left_s: float, trial_s: float, n_trials: int | None) -> dict[str, float]:
    """Return how many failures of each kind are made, in a third of the time, and how long to wait for alarms.

    trial_s: a job's own time and that of starting devices, as after each its victims are.
    """
    most = -(-(n_trials or MOST_TRIALS) // VICTIMS)
    jobs = fitting(left_s / 3, len(TARGETS) * trial_s, most if n_trials else 1, most)
    spent_s = jobs * len(TARGETS) * trial_s
    alarms_s = max(left_s - spent_s - trial_s, 1.0)
    return {"trials": jobs * VICTIMS, "alarm_minutes": alarms_s / 60, "takes_s": spent_s + trial_s + alarms_s}


@click.option("--heartbeat", default=0.25, help="Wall seconds between two heartbeats.")
@click.option(
    "--trials", "n_trials", type=click.IntRange(min=1), help="Failures of each kind.  [default: by --minutes]"
)
@command(minutes=14, smoke={"minutes": 0.05, "heartbeat": 0.1}, resumable=False)
def main(settings: Settings, heartbeat: float, n_trials: int | None) -> None:
    """Measure detection times and false alarms."""
    first_s, last_s = 0.5, 0.5 + 4 * heartbeat
    job_s, begun_s = last_s + 6 * heartbeat, time.monotonic()
    with engine_for(heartbeat, job_s) as engine:
        settings = settings.sized(
            lambda: sizes(settings.left_s, job_s + time.monotonic() - begun_s, n_trials)
        )
        jobs, minutes = int(settings.sizes["trials"]) // VICTIMS, settings.sizes["alarm_minutes"]
        times_s = np.zeros((len(TARGETS), jobs * VICTIMS))
        cells = [(row, kind, job) for row, kind in enumerate(TARGETS) for job in range(jobs)]
        for row, kind, job in track(cells, "jobs", terminal.bars()):
            found_s = trials(engine, kind, first_s, last_s, seed=job)
            times_s[row, job * VICTIMS : (job + 1) * VICTIMS] = found_s
    with engine_for(heartbeat, 60 * minutes) as engine, busy_cores():
        record = engine.execute(make_plan("end", engine.topology, engine.job, engine.costs()))
    alarms = int(np.isfinite(record.left_s).sum())
    cube = xr.Dataset(
        {
            "detected_s": (
                ("kind", "trial"), times_s,
                {"units": "s", "long_name": "failure to the client's hearing of it; infinite: never"},
            ),
            "false_alarms": ((), alarms, {"units": "1", "long_name": "sound devices found gone"}),
        },
        {"kind": list(TARGETS), "trial": np.arange(times_s.shape[1])},
        {"heartbeat_s": heartbeat, "devices": DEVICES, "alarm_minutes": minutes},
    )  # fmt: skip
    settings.write(cube)
    for kind, target in TARGETS.items():
        intervals = cube.detected_s.sel(kind=kind).values / heartbeat
        late = int((intervals > target).sum())
        print(
            f"{kind:9} noticed after {np.median(intervals):.2f} heartbeats ({intervals.min():.2f} to "
            f"{intervals.max():.2f}); {late} of {len(intervals)} trials above {target:g} (target 0)"
        )
    print(f"false alarms in {minutes:g} min with all cores busy: {alarms} (target 0)")


if __name__ == "__main__":
    main()
