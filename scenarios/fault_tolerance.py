"""Table 6 and Figure 5 of the paper: the finish time with 0 to 6 failing devices, by what is done about them.

200 tasks of 0.52 s on 8 end devices under End; a device that fails is killed after 12 of its 25 tasks, and a try
at a dead one costs 0.5 s. Every failure is that of a real process, and every repeat begins with all devices
alive. The devices' own limit is 13.0 s without failures and 6.24 s + 104 x 0.52 s / 2 = 33.3 s with six.

    python scenarios/fault_tolerance.py --out results/fault_tolerance.nc
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import xarray as xr
from matplotlib.figure import Figure
from rich.console import Console

from hddnn import Job, Topology, cubes, load_dataset, plots, zoo
from hddnn.bars import track
from hddnn.engines.dask.engine import DaskEngine
from hddnn.faults import FaultSchedule
from hddnn.policies import POLICIES, PolicySettings
from hddnn.runtimes import replay
from hddnn.schemes import make_plan

DEVICES, TASKS, TASK_S, BATCH = 8, 200, 0.52, 50
AFTER_TASKS, TIMEOUT_S = 12, 0.5
FAILURES = range(7)
#: The paper's finish times in s (Table 6); with no policy, one failure and its job never ends.
PAPER_S = {
    "none": (24.9, *[np.inf] * 6),
    "reassign": (25.7, 33.7, 43.2, 65.2, 92.8, 138, 226),
    "monitor": (26.4, 27.2, 27.3, 27.7, 28.0, 30.7, 38.3),
}
VARIABLES = {
    "makespan_s": ("s", "job start to the last answer at the client, infinite where answers are missing"),
    "ended_s": ("s", "job start to the job's end, with or without all answers"),
    "lost": ("1", "batches without an answer"),
    "sent_again": ("1", "batches sent again"),
    "duplicates": ("1", "answers that came after the first"),
    "wasted_s": ("s", "device time spent on those"),
    "detected_s": ("s", "longest time from a failure to its being noticed; 0 where nothing failed"),
    "overruns": ("1", "batches that took longer than modelled on a device"),
}


def limit_s(failures: int) -> float:
    """Return the least finish time that the devices allow: those that fail do 12 tasks, the others the rest."""
    rest = TASKS - failures * AFTER_TASKS
    return float(np.ceil(rest / (DEVICES - failures)) * TASK_S)


def system() -> Topology:
    """Return the paper's end devices, with tasks of 0.52 s."""
    end = {"name": "end", "tier": "end", "count": DEVICES, "network": "mobilenet",
           "seconds_per_image": TASK_S / BATCH}  # fmt: skip
    return Topology.from_dict({"name": "table-6", "devices": [end]})


def measure(engine: DaskEngine, policy: str, failures: int) -> dict[str, float]:
    """Run the job once and return what the cube holds of it."""
    engine.policy = policy
    engine.faults = FaultSchedule.parse(
        ",".join(f"crash:end-{number}@{AFTER_TASKS}" for number in range(1, failures + 1))
    )
    record = engine.execute(make_plan("end", engine.topology, engine.job, engine.costs()))
    detected_s = record.detected_s
    lost = int((record.outcome != "ok").sum())
    return {
        "makespan_s": np.inf if lost else record.makespan_s,
        "ended_s": record.ended_s,
        "lost": lost,
        "sent_again": int((record.attempts - 1).clip(min=0).sum()),
        "duplicates": int(record.duplicates.sum()),
        "wasted_s": float(record.wasted_s.sum()),
        "detected_s": float(np.nanmax(detected_s)) if np.isfinite(detected_s).any() else 0.0,
        "overruns": int(record.overrun.sum()),
    }


def figure(cube: xr.Dataset) -> Figure:
    """Draw Figure 5: finish times by failures, ours with the spread of the repeats, the paper's, and the limit."""
    drawing = Figure(figsize=(8, 5.2), layout="constrained")
    axes = drawing.subplots()
    colours = {"none": "#666666", "reassign": "#D55E00", "monitor": "#0072B2", "hedge": "#009E73"}
    marks = {"none": "X", "reassign": "s", "monitor": "o", "hedge": "^"}
    at = cube.failures.values
    for policy in cube.policy.values:
        rows = cube.makespan_s.sel(policy=policy)
        middle = rows.median("repeat").where(np.isfinite(rows).all("repeat"))
        low, high = middle - rows.min("repeat"), rows.max("repeat") - middle
        axes.errorbar(
            at, middle, [low.fillna(0), high.fillna(0)], color=colours[policy], marker=marks[policy], ms=7,
            lw=2, capsize=3, label=f"{policy}",
        )  # fmt: skip
        paper = cube.paper_s.sel(policy=policy)
        if np.isfinite(paper).any():
            axes.plot(
                at, paper.where(np.isfinite(paper)), color=colours[policy], marker=marks[policy], ms=5,
                mfc="white", ls="--", lw=1, label=f"{policy}, the paper's",
            )  # fmt: skip
    axes.step(at, cube.limit_s, where="mid", color="black", lw=1, ls=":", label="the devices' own limit")
    axes.set_yscale("log")
    axes.set_yticks([10, 20, 50, 100, 200], ["10", "20", "50", "100", "200"])
    axes.minorticks_off()
    axes.set_xlabel("failing end devices of 8")
    axes.set_ylabel("finish time (s)")
    axes.set_title("200 tasks of 0.52 s; with no policy, a failure loses answers (no point)")
    axes.grid(alpha=0.3)
    axes.legend(frameon=False)
    return drawing


def report(cube: xr.Dataset) -> str:
    """Return the table, and a verdict on each target."""
    head = "  ".join(f"{n:>6}" for n in cube.failures.values)
    lines = [f"failures             {head}"]

    def row(name: str, values: np.ndarray) -> None:
        cells = "  ".join("  lost" if np.isinf(value) else f"{value:6.1f}" for value in values)
        lines.append(f"{name:19}  {cells}")

    for policy in cube.policy.values:
        row(f"{policy}, s", cube.makespan_s.sel(policy=policy).median("repeat").values)
        if policy in PAPER_S:
            row("  the paper's, s", cube.paper_s.sel(policy=policy).values)
    row("devices' limit, s", cube.limit_s.values)
    middle = cube.makespan_s.median("repeat")
    none, last = middle.sel(failures=0), int(cube.failures[-1])
    worst = float((none / cube.limit_s.sel(failures=0)).max())
    lines.append(f"no failures: at most {worst:.3f} x the limit (target 1.05 at most)")
    if {"none", "monitor"} <= set(cube.policy.values):
        cost = float(none.sel(policy="monitor") / none.sel(policy="none")) - 1
        lines.append(f"monitor without failures: {cost:+.2%} of none's time (target below 1 %)")
    if "monitor" in cube.policy.values:
        ratio = float(middle.sel(policy="monitor", failures=last) / cube.limit_s.sel(failures=last))
        lines.append(f"monitor with {last} failures: {ratio:.3f} x the limit (target 1.10 at most)")
    if "reassign" in cube.policy.values:
        slower = int((middle.sel(policy="reassign") > cube.paper_s.sel(policy="reassign")).sum())
        lines.append(f"reassign: slower than the paper's in {slower} columns (target 0)")
    lost = int(cube.lost.drop_sel(policy="none", errors="ignore").sum())
    lines.append(f"{int(cube.overruns.sum())} overruns; {lost} batches lost under a policy (target 0)")
    return "\n".join(lines)


@click.command()
@click.option("--policies", default=",".join(POLICIES), show_default=True)
@click.option("--failures", default=max(FAILURES), show_default=True, help="The most devices that fail.")
@click.option("--repeats", default=5, show_default=True)
@click.option("--time-scale", default=0.2, show_default=True, help="Wall seconds a scenario second.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("results/fault_tolerance.nc"), show_default=True
)
def main(policies: str, failures: int, repeats: int, time_scale: float, out: Path) -> None:
    """Measure the table, write it as a cube and a figure, and compare with the paper's."""
    names, counts = policies.split(","), range(failures + 1)
    job = Job(load_dataset(), images=TASKS * BATCH, batch_size=BATCH)
    replay.prepare(zoo.bundle("mobilenet"), job.data.images)
    settings = PolicySettings(timeout_s=TIMEOUT_S)
    values = {name: np.zeros((len(names), len(counts), repeats)) for name in VARIABLES}
    cells = [(r, p, f) for r in range(repeats) for p in range(len(names)) for f in range(len(counts))]
    with DaskEngine(system(), job, compute="replay", time_scale=time_scale, settings=settings) as engine:
        for repeat, policy, failed in track(cells, "runs", Console(stderr=True)):
            for name, value in measure(engine, names[policy], failed).items():
                values[name][policy, failed, repeat] = value
    dims = ("policy", "failures", "repeat")
    cube = xr.Dataset(
        {
            name: (dims, values[name], {"units": units, "long_name": text})
            for name, (units, text) in VARIABLES.items()
        },
        {"policy": names, "failures": list(counts), "repeat": np.arange(repeats)},
        {
            "topology": system().to_yaml(), "time_scale": time_scale, "tasks": TASKS, "task_s": TASK_S,
            "after_tasks": AFTER_TASKS, "timeout_s": TIMEOUT_S, "compute": "replay", **cubes.environment(),
        },
    )  # fmt: skip
    paper = [[PAPER_S.get(name, [np.nan] * 7)[n] for n in counts] for name in names]
    cube["paper_s"] = (
        dims[:2],
        np.array(paper),
        {"units": "s", "long_name": "the paper's finish time (table 6)"},
    )
    limits = {"units": "s", "long_name": "least finish time that the devices allow"}
    cube["limit_s"] = (("failures",), [limit_s(n) for n in counts], limits)
    cubes.write(cube, out)
    plots.save(figure(cube), out.with_suffix(".png"))
    print(report(cube))


if __name__ == "__main__":
    main()
