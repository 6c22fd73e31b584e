"""Devices at their own speed on one machine: measured finish times beside what is predicted and simulated.

Topology `laptop`: two cameras, a gateway and a server share this machine's cores; their links are emulated. What
is predicted and simulated comes from what all took as they started, busy at the same time. Each repeat starts them
anew, and runs every scheme a few times. To see it on a slower machine, too:

    python scenarios/laptop.py --out results/laptop.nc
    python tests/slowly.py 5 python scenarios/laptop.py --out results/laptop-slow.nc
"""

from __future__ import annotations

import math
from statistics import median

from hddnn import Topology, preflight, zoo
from hddnn.cli.extensions import named_schemes, schemes_options
from hddnn.engines.sim import SimEngine
from hddnn.experiments.script import Settings, Testbed, command
from hddnn.experiments.sweep import Dim, Variable, repeats
from hddnn.schemes import make_plan

TARGET = (0.8, 1.25)  # measured over predicted, and over simulated
RUNS = 3
VARIABLES = {
    "cores": Variable("1", "cores that the devices had together while all were busy"),
    "predicted_s": Variable("s", "predicted finish time"),
    "simulated_s": Variable("s", "simulated finish time"),
    "measured_s": Variable("s", f"measured finish time, median of {RUNS} runs"),
    "over_predicted": Variable("1", "measured over predicted finish time"),
    "over_simulated": Variable("1", "measured over simulated finish time"),
    "lost": Variable("1", "batches that were not answered"),
}


@schemes_options
@command(images=1000, repeats=3, engines=("dask",), smoke={"images": 100, "repeats": 1})
def main(settings: Settings, scheme: tuple[str, ...], schemes: str | None) -> None:
    """Run schemes on devices that share this machine, and compare with what was to be expected."""
    settings = settings.using(compute="real")
    chosen = {one.label: one for one in preflight.named_schemes(named_schemes(scheme, schemes))}
    topology = Topology.load("laptop", networks=zoo.names())
    jobs = [settings.job() for _ in range(settings.repeats)]  # each has devices of its own

    def measure(scheme: str, repeat: int) -> dict[str, float]:
        job = jobs[repeat]
        costs = testbed.engine(topology, job).costs()
        with SimEngine(topology, job, costs=costs) as sim:
            simulated_s = sim.execute(make_plan(chosen[scheme], topology, job, costs)).makespan_s
        ran = [testbed.run(chosen[scheme], topology, job) for _ in range(RUNS)]
        lost = sum(int((one.record.outcome != "ok").sum()) for one in ran)
        measured_s = math.nan if lost else median(one.record.makespan_s for one in ran)
        return {
            "cores": sum(host.cores for host in costs.hosts),
            "predicted_s": ran[0].bound_s,
            "simulated_s": simulated_s,
            "measured_s": measured_s,
            "over_predicted": measured_s / ran[0].bound_s,
            "over_simulated": measured_s / simulated_s,
            "lost": lost,
        }

    dims = {"scheme": Dim(list(chosen), "1", "where images are sent"), "repeat": repeats(settings.repeats)}
    constants = {**settings.attributes, "topology": topology.to_yaml()}
    with Testbed(settings) as testbed:
        cube = settings.sweep(measure, dims, VARIABLES, constants, order=("repeat",))
    settings.write(cube)
    print(f"{'':9} predicted  simulated   measured  over predicted       over simulated")
    for label in chosen:
        row = cube.sel(scheme=label)
        times = "".join(
            f"{float(row[f'{what}_s'].median()):9.2f} s" for what in ("predicted", "simulated", "measured")
        )
        ratios = "  ".join(
            f"{float(ratio.median()):.2f} ({float(ratio.min()):.2f} to {float(ratio.max()):.2f})"
            for ratio in (row.over_predicted, row.over_simulated)
        )
        print(f"{label:9}{times}  {ratios}")
    print(f"target: {TARGET[0]} to {TARGET[1]}; {int(cube.lost.sum())} lost (target 0)")
    print(f"{float(cube.cores.median()):.2f} cores for all that were busy at once")


if __name__ == "__main__":
    main()
