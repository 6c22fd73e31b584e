"""Table 6 and Figure 5 of the paper: the finish time with 0 to 6 failing devices, by what is done about them.

200 tasks of 0.52 s, or as many as the minutes allow, on 8 end devices under End; a device that fails is killed
after 12 tasks, and a try at a dead one costs 0.5 s. Every failure is that of a real process, and every repeat
begins with all devices alive. With 200 tasks the devices' own limit is 13.0 s without failures and
6.24 s + 104 x 0.52 s / 2 = 33.3 s with six.

    python scenarios/fault_tolerance.py --out results/fault_tolerance.nc
"""

from __future__ import annotations

import click
import numpy as np
import xarray as xr

from hddnn import Topology
from hddnn.errors import InputError
from hddnn.experiments import paper
from hddnn.experiments.looking import emulated_sizes, simulated_s
from hddnn.experiments.script import Settings, Testbed, command, overran
from hddnn.experiments.sweep import Dim, Variable, repeats
from hddnn.policies import POLICIES
from hddnn.report import figures
from hddnn.system.faults import FaultSchedule

TASK_S, AFTER_TASKS, TIMEOUT_S = 0.52, 12, 0.5
LEAST = paper.N_END * (AFTER_TASKS + 1)  # tasks, so that every device comes to its failure
VARIABLES = {
    "makespan_s": Variable(
        "s", "job start to the last answer at the client, infinite where answers are missing"
    ),
    "ended_s": Variable("s", "job start to the job's end, with or without all answers"),
    "lost": Variable("1", "batches without an answer"),
    "sent_again": Variable("1", "batches sent again"),
    "duplicates": Variable("1", "answers that came after the first"),
    "wasted_s": Variable("s", "device time spent on those"),
    "detected_s": Variable("s", "longest time from a failure to its being noticed; NaN where none was"),
    "overruns": Variable("1", "batches that took longer than modelled on a device"),
}


def limit_s(failures: int, tasks: int) -> float:
    """Return the least finish time that the devices allow: those that fail do 12 tasks, the others the rest."""
    rest = tasks - failures * AFTER_TASKS
    return float(np.ceil(rest / (paper.N_END - failures)) * TASK_S)


def system() -> Topology:
    """Return the paper's end devices, with tasks of 0.52 s."""
    end = {"name": "end", "tier": "end", "count": paper.N_END, "network": "mobilenet",
           "seconds_per_image": TASK_S / paper.BATCH}  # fmt: skip
    return Topology.from_dict({"name": "table-6", "devices": [end]})


def crashes(failures: int) -> FaultSchedule:
    """Return the faults: so many end devices are killed after 12 tasks."""
    numbers = range(1, failures + 1)
    return FaultSchedule.parse(",".join(f"crash:end-{number}@{AFTER_TASKS}" for number in numbers))


def report(cube: xr.Dataset) -> str:
    """Return the table, and a verdict on each target."""
    head = "  ".join(f"{n:>6}" for n in cube.failures.values)
    lines = [f"finish time, {cube.attrs['times']}", f"failures             {head}"]

    def row(name: str, values: np.ndarray) -> None:
        cells = "  ".join("  lost" if np.isinf(value) else f"{value:6.1f}" for value in values)
        lines.append(f"{name:19}  {cells}")

    for policy in cube.policy.values:
        row(f"{policy}, s", cube.makespan_s.sel(policy=policy).median("repeat").values)
        if policy in paper.FAILURES_S:
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
    lines.append(f"{lost} batches lost under a policy (target 0); {overran(int(cube.overruns.sum()))}")
    return "\n".join(lines)


@click.option("--policies", default=",".join(POLICIES.own))
@click.option("--failures", default=6, help="The most devices that fail.")
@command(
    engine="dask", compute="replay", minutes=15, time_scale=None, images=(LEAST * paper.BATCH, paper.IMAGES),
    repeats=(3, 5), data="sample", engines=("dask", "sim"),
    smoke={"minutes": 0.1, "repeats": (1, 1), "policies": "reassign,monitor", "failures": 2},
)  # fmt: skip
def main(settings: Settings, policies: str, failures: int) -> None:
    """Measure the table, write it as a cube and a figure, and compare with the paper's."""
    topology, names, counts = system(), policies.split(","), range(failures + 1)
    if settings.job(paper.BATCH).n_batches < LEAST:
        raise InputError(
            f"no device would come to {AFTER_TASKS} tasks; take {LEAST * paper.BATCH} images or more"
        )

    def runs_s() -> list[float]:
        most = settings.job(paper.BATCH)
        return [
            simulated_s(topology, most, "end", POLICIES.make(name, timeout_s=TIMEOUT_S), crashes(n))
            for name in names for n in counts
        ]  # fmt: skip

    restarted = len(names) * sum(counts)
    settings = settings.sized(
        lambda: emulated_sizes(
            settings, topology, runs_s, devices=restarted, batch_size=paper.BATCH, timeout_s=TIMEOUT_S
        )
    )
    job = settings.job(paper.BATCH)

    def measure(policy: str, failures: int, repeat: int) -> dict[str, float]:
        engine = testbed.engine(topology, job)
        engine.policy = POLICIES.make(policy, timeout_s=TIMEOUT_S)
        engine.faults = crashes(failures)
        record = testbed.run("end", topology, job).record
        detected_s = record.detected_s
        lost = int((record.outcome != "ok").sum())
        return {
            "makespan_s": np.inf if lost else record.makespan_s,
            "ended_s": record.ended_s,
            "lost": lost,
            "sent_again": (record.attempts - 1).clip(min=0).sum(),
            "duplicates": record.duplicates.sum(),
            "wasted_s": record.wasted_s.sum(),
            "detected_s": np.nanmax(detected_s) if np.isfinite(detected_s).any() else np.nan,
            "overruns": record.overrun.sum(),
        }

    dims = {
        "policy": Dim(names, "1", "what is done about failures"),
        "failures": Dim(counts, "1", "failing end devices"),
        "repeat": repeats(settings.repeats),
    }
    constants = {
        **settings.attributes, "topology": topology.to_yaml(), "task_s": TASK_S, "after_tasks": AFTER_TASKS,
        "timeout_s": TIMEOUT_S,
    }  # fmt: skip
    with Testbed(settings) as testbed:
        cube = settings.sweep(measure, dims, VARIABLES, constants, order=("repeat", "policy", "failures"))
    theirs = [[paper.FAILURES_S.get(name, [np.nan] * 7)[n] for n in counts] for name in cube.policy.values]
    about = {"units": "s", "long_name": "the paper's finish time (table 6)"}
    cube["paper_s"] = (("policy", "failures"), np.array(theirs), about)
    about = {"units": "s", "long_name": "least finish time that the devices allow"}
    cube["limit_s"] = (("failures",), [limit_s(n, job.n_batches) for n in counts], about)
    settings.write(cube, figures.fault_tolerance(cube))
    print(report(cube))


if __name__ == "__main__":
    main()
