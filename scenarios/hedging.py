"""One slow device: the response times under monitor, which waits for it, and under hedge, which does not.

200 tasks of 0.52 s, or as many as the minutes allow, on 8 end devices, one of which takes ten times as long. Both
policies in turn on the same devices.
  p99      99th percentile of the response, release to answer
  again    tasks that were done twice, as a share of all

    python scenarios/hedging.py --out results/hedging.nc
"""

from __future__ import annotations

import numpy as np
from fault_tolerance import system

from hddnn import policies
from hddnn.experiments import paper
from hddnn.experiments.looking import emulated_sizes, simulated_s
from hddnn.experiments.script import Settings, Testbed, command
from hddnn.experiments.sweep import Dim, Variable, repeats
from hddnn.system.faults import FaultSchedule

POLICIES = ("monitor", "hedge")
SLOW = 10
TARGET_P99, TARGET_AGAIN = 1 / 3, 0.05  # at most
VARIABLES = {
    "p99_s": Variable("s", "99th percentile of the response"),
    "makespan_s": Variable("s", "job start to the last answer"),
    "again": Variable("1", "tasks that were done twice, as a share of all"),
    "wasted_s": Variable("s", "device time spent on those"),
    "lost": Variable("1", "tasks without an answer"),
}


@command(
    engine="dask", compute="replay", minutes=4, time_scale=None, images=(24 * paper.BATCH, paper.IMAGES),
    repeats=(3, 5), engines=("dask", "sim"), smoke={"minutes": 0.1, "repeats": (1, 1)},
)  # fmt: skip
def main(settings: Settings) -> None:
    """Run the job under both policies in turn."""
    topology, faults = system(), FaultSchedule.parse(f"slow:end-1x{SLOW}")

    def runs_s() -> list[float]:
        most, made = settings.job(paper.BATCH), [policies.POLICIES.make(name) for name in POLICIES]
        return [simulated_s(topology, most, "end", policy, faults) for policy in made]

    started = 1 + len(topology.devices)
    settings = settings.sized(
        lambda: emulated_sizes(settings, topology, runs_s, devices=started, batch_size=paper.BATCH)
    )
    job = settings.job(paper.BATCH)

    def measure(policy: str, repeat: int) -> dict[str, float]:
        testbed.engine(topology, job).policy = policy
        record = testbed.run("end", topology, job).record
        return {
            "p99_s": np.nanquantile(record.response_s("coarse"), 0.99),
            "makespan_s": record.makespan_s,
            "again": record.duplicates.sum() / job.n_batches,
            "wasted_s": record.wasted_s.sum(),
            "lost": (record.outcome != "ok").sum(),
        }

    dims = {"policy": Dim(POLICIES, "1", "what is done about it"), "repeat": repeats(settings.repeats)}
    constants = {**settings.attributes, "topology": topology.to_yaml(), "faults": str(faults)}
    with Testbed(settings, faults=faults) as testbed:
        cube = settings.sweep(measure, dims, VARIABLES, constants, order=("repeat",))
    settings.write(cube)
    for policy in POLICIES:
        row = cube.sel(policy=policy)
        print(
            f"{policy:8} p99 {float(row.p99_s.median()):6.2f} s ({float(row.p99_s.min()):.2f} to "
            f"{float(row.p99_s.max()):.2f}), finish {float(row.makespan_s.median()):6.2f} s "
            f"{cube.attrs['times']}, "
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
