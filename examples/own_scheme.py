"""A scheme of your own: edge devices answer, and now and then the cloud does.

    hddnn run --engine sim --scheme end-edge --scheme examples/own_scheme.py:NightShift:cloud_every=3

Run as a script, it says what that is good for: the more the cloud answers, the more is right, and the later.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hddnn import Job, load_dataset, run
from hddnn.errors import InputError
from hddnn.planning.costs import CostTable
from hddnn.planning.plan import JobShape, Plan
from hddnn.schemes import Scheme, in_turn
from hddnn.system.topology import Topology


@dataclass(frozen=True)
class NightShift(Scheme):
    """Each batch to an end device and on to an edge device, in turn; each so-manieth to a cloud instead.

    Args:
        cloud_every: One batch of so many goes to a cloud, 1 or more.
    """

    cloud_every: int = 4

    caption = "edge devices answer, and one batch in cloud_every goes to the cloud"

    def __post_init__(self) -> None:
        if self.cloud_every < 1:
            raise InputError(f"cloud_every is {self.cloud_every}; it must be at least 1")

    def plan(self, topology: Topology, job: JobShape, costs: CostTable) -> Plan:
        numbers = np.arange(job.n_batches)
        end = in_turn(self.tier(topology, "end"), job.n_batches)
        edge = in_turn(self.tier(topology, "edge"), job.n_batches)
        cloud = in_turn(self.tier(topology, "cloud"), job.n_batches)
        to_cloud = numbers % self.cloud_every == self.cloud_every - 1
        return self.routes(topology, job, end, np.where(to_cloud, cloud, edge))


def main() -> None:
    """Simulate a job on the paper's system, with ever more for the cloud."""
    job = Job(load_dataset(), images=10_000)
    schemes = ["end-edge", *(NightShift(every) for every in (8, 4, 2)), "end-cloud"]
    cube = run("paper", job, schemes, engine="sim")
    for label in cube.scheme.values:
        one = cube.sel(scheme=label)
        print(f"{label:26} {float(one.makespan_s):6.1f} s, fine accuracy {float(one.fine_accuracy):.3f}")


if __name__ == "__main__":
    main()
