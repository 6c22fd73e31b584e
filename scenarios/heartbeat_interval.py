"""What heartbeats cost an end device, and what they buy: the trade-off of the paper's section 3.6, measured.

For each interval, on a device that does nothing else and on one that works:
  cpu       processor time that an idle device takes, as a share of one core (heartbeats, and Dask's own)
  slowdown  the time of a job of real MobileNet on one end device over that of the same job on a device that sends
  no
            heartbeats; both devices are there all the time and take turns
  detected  how long a device that is stopped goes unnoticed

    python scenarios/heartbeat_interval.py --out results/heartbeat_interval.nc
"""

from __future__ import annotations

import time
from functools import partial

import click
import numpy as np
import psutil
import xarray as xr
from detection import DEVICES, VICTIMS, engine_for, trials
from matplotlib.figure import Figure

from hddnn import Job, Topology, load_dataset
from hddnn._util import terminal
from hddnn._util.bars import track
from hddnn.engines.dask.client.engine import DaskEngine
from hddnn.experiments.script import Settings, command
from hddnn.experiments.sizing import Cost, sized
from hddnn.schemes import make_plan

INTERVALS_S = (0.05, 0.1, 0.25, 0.5, 1.0, 2.0, 5.0)
NEVER_S = 3600.0
BATCH = 50


def worker(heartbeat_s: float, images: int) -> DaskEngine:
    """Return an engine of one end device that runs MobileNet at its own speed."""
    end = {"name": "end", "tier": "end", "network": "mobilenet"}
    job = Job(load_dataset(), images=images, batch_size=BATCH)
    return DaskEngine(Topology.from_dict({"name": "one", "devices": [end]}), job, heartbeat_s=heartbeat_s)


def makespan_s(engine: DaskEngine, images: int) -> float:
    """Return the time of one job of so many images, those of the engine's at most."""
    job = Job(engine.job.data, images=images, batch_size=BATCH)
    return engine.execute(make_plan("end", engine.topology, job, engine.costs())).makespan_s


def idle_share(engine: DaskEngine, seconds: float) -> float:
    """Return the processor time that the idle device takes, a share of one core."""
    process = psutil.Process(engine.pids["end"])
    before = sum(process.cpu_times()[:2])
    time.sleep(seconds)
    return (sum(process.cpu_times()[:2]) - before) / seconds


def figure(cube: xr.Dataset) -> Figure:
    """Draw cost and detection time against the interval."""
    drawing = Figure(figsize=(10, 4.2), layout="constrained")
    cost, found = drawing.subplots(1, 2)
    at = cube.interval_s.values
    cost.plot(at, 100 * (cube.slowdown.median("repeat") - 1), "o-", color="#0072B2", label="job, median")
    cost.fill_between(
        at, 100 * (cube.slowdown.quantile(0.25, "repeat") - 1), 100 * (cube.slowdown.quantile(0.75, "repeat") - 1),
        color="#0072B2", alpha=0.2, label="its quartiles",
    )  # fmt: skip
    cost.plot(at, 100 * cube.cpu_share, "s--", color="#D55E00", label="idle device, share of a core")
    cost.axhline(0, color="black", lw=0.8)
    cost.set_ylabel("slowdown (%)")
    cost.set_title("What heartbeats cost an end device")
    found.plot(at, cube.detected_s.median("trial"), "o-", color="#0072B2", label="median")
    found.plot(at, cube.detected_s.max("trial"), "v:", color="#0072B2", label="longest")
    found.plot(at, 4 * at, color="black", lw=0.8, ls="--", label="4 intervals")
    found.set_yscale("log")
    found.set_ylabel("a stopped device goes unnoticed for (s)")
    found.set_title("What they buy")
    for axes in (cost, found):
        axes.set_xscale("log")
        axes.set_xticks(at, [f"{value:g}" for value in at])
        axes.minorticks_off()
        axes.set_xlabel("heartbeat interval (s)")
        axes.grid(alpha=0.3)
        axes.legend(frameon=False)
    return drawing


@click.option("--intervals", default=",".join(map(str, INTERVALS_S)), help="Wall seconds.")
@command(
    minutes=8, images=(4 * BATCH, 200 * BATCH), repeats=(5, 9), resumable=False,
    smoke={"minutes": 0.05, "intervals": "0.1", "repeats": (1, 1)},
)  # fmt: skip
def main(settings: Settings, intervals: str) -> None:
    """Sweep the interval."""
    values = [float(text) for text in intervals.split(",")]

    def sizes(silent: DaskEngine, start_s: float) -> dict[str, float]:
        few = settings.between["images"].least
        makespan_s(silent, few)  # warms up
        image_s = makespan_s(silent, few) / few
        # Of each interval: two idle devices, two starts (one of many devices), and two jobs a repeat.
        detecting_s = sum(0.5 + 8 * interval_s for interval_s in values)
        left_s = settings.left_s - detecting_s - len(values) * (1 + DEVICES / 2) * start_s
        idle_s = min(max(left_s / 4 / (len(values) + 1), 0.2), 5.0)
        left_s -= idle_s * (len(values) + 1)
        a_round = Cost(0.0, 2 * len(values) * BATCH * image_s)
        found = sized(max(left_s, 1.0), a_round, settings.batches(BATCH), settings.between["repeats"])
        takes_s = settings.left_s - left_s + found.takes_s
        return {
            "images": settings.images_of(found.size, BATCH),
            "repeats": found.repeats,
            "idle_s": idle_s,
            "takes_s": takes_s,
        }

    start_s = time.monotonic()
    with worker(NEVER_S, settings.images) as silent:
        settings = settings.sized(partial(sizes, silent, time.monotonic() - start_s))
        images, repeats, idle = settings.images, settings.repeats, settings.sizes["idle_s"]
        slowdown, share = np.zeros((len(values), repeats)), np.zeros(len(values))
        detected_s = np.zeros((len(values), VICTIMS))
        for row, interval_s in enumerate(track(values, "intervals", terminal.bars())):
            with worker(interval_s, images) as beating:
                share[row] = idle_share(beating, idle)
                for repeat in range(repeats):
                    turns = (beating, silent) if repeat % 2 else (silent, beating)
                    taken_s = {engine: makespan_s(engine, images) for engine in turns}
                    slowdown[row, repeat] = taken_s[beating] / taken_s[silent]
            with engine_for(interval_s, 0.5 + 8 * interval_s) as engine:
                detected_s[row] = trials(engine, "hang", 0.5 + interval_s, 0.5 + 2 * interval_s, seed=row)
        silent_share = idle_share(silent, idle)
    cube = xr.Dataset(
        {
            "cpu_share": (
                ("interval_s",), share, {"units": "1", "long_name": "share of a core that an idle device takes"}
            ),
            "silent_cpu_share": (
                (), silent_share, {"units": "1", "long_name": "the same without heartbeats"}
            ),
            "slowdown": (
                ("interval_s", "repeat"), slowdown,
                {"units": "1", "long_name": "time of a job over that of a device without heartbeats"},
            ),
            "detected_s": (
                ("interval_s", "trial"), detected_s,
                {"units": "s", "long_name": "stop of a device to the client's hearing of it"},
            ),
        },
        {
            "interval_s": ("interval_s", values, {"units": "s", "long_name": "heartbeat interval"}),
            "repeat": np.arange(repeats), "trial": np.arange(VICTIMS),
        },
        {"images": images, "batch_size": BATCH},
    )  # fmt: skip
    settings.write(cube, figure(cube))
    print(f"without heartbeats an idle device takes {silent_share:.2%} of a core")
    for row, interval_s in enumerate(values):
        ratio, found_s = slowdown[row], detected_s[row]
        print(
            f"every {interval_s:4g} s  idle {share[row]:.2%} of a core, job {np.median(ratio) - 1:+.2%} "
            f"({ratio.min() - 1:+.2%} to {ratio.max() - 1:+.2%}), a stopped device unnoticed for "
            f"{np.median(found_s):.2f} s ({found_s.min():.2f} to {found_s.max():.2f})"
        )


if __name__ == "__main__":
    main()
