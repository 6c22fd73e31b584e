"""A long job on devices that keep failing: random ones are killed and restarted, stopped, cut off and slowed.

Batches by the thousand, as the minutes allow, on the paper's system under Mapping, with a seeded schedule of
failures all along. What must hold:
every batch is answered, exactly once, with the answers of a run without failures, and the client's memory does not
grow.

    python scenarios/soak.py --out results/soak.nc
"""

from __future__ import annotations

from collections import Counter

import click
import numpy as np
import psutil
import xarray as xr

from hddnn import Topology, zoo
from hddnn._util import terminal
from hddnn._util.bars import track
from hddnn.engines.dask.client.engine import DaskEngine
from hddnn.experiments import paper
from hddnn.experiments.looking import bounds_s, emulated_sizes
from hddnn.experiments.script import Settings, command
from hddnn.planning.bounds import lower_bound_s
from hddnn.policies import POLICIES
from hddnn.results.records import Record, Stage
from hddnn.runtimes import replay
from hddnn.schemes import make_plan
from hddnn.system.faults import FaultSchedule

SCHEME = "mapping"
MOST_IMAGES, MOST_FAULTS = 2000 * paper.BATCH, 60
TARGET_MB = 50.0  # growth of the client's memory over the job's second half, at most


class Witness:
    """Count the answers of each batch, and sample the client's memory with every one."""

    def __init__(self, total: int) -> None:
        self.answers: Counter[tuple[Stage, int]] = Counter()
        self._process, self._total = psutil.Process(), total
        self.memory_mb: list[float] = []

    def __call__(self, stage: Stage, batch: int, ended: bool) -> None:
        self.answers[stage, batch] += 1
        if sum(self.answers.values()) % max(1, self._total // 100) == 0:
            self.memory_mb.append(self._process.memory_info().rss / 1e6)


def growth_mb(memory_mb: list[float]) -> float:
    """Return by how much the memory of the last tenth is above that of the tenth in the middle."""
    tenth, middle = max(1, len(memory_mb) // 10), len(memory_mb) // 2
    return float(np.median(memory_mb[-tenth:]) - np.median(memory_mb[middle : middle + tenth]))


def run(engine: DaskEngine, faults: FaultSchedule) -> tuple[Record, Witness]:
    """Run the job once with these faults."""
    engine.faults = faults
    witness = Witness(2 * engine.job.n_batches)
    plan = make_plan(SCHEME, engine.topology, engine.job, engine.costs())
    return engine.execute(plan, witness), witness


@click.option("--faults", "n_faults", type=click.IntRange(min=1), help="[default: 3 in 100 batches]")
@click.option("--policy", default="monitor")
@command(
    minutes=12, time_scale=None, images=(40 * paper.BATCH, MOST_IMAGES), seed=0, resumable=False,
    smoke={"minutes": 0.1, "n_faults": 4},
)  # fmt: skip
def main(settings: Settings, n_faults: int | None, policy: str) -> None:
    """Run the job without failures and with them, and compare."""
    topology = Topology.load("paper")

    def runs_s() -> list[float]:
        (bound_s,) = bounds_s(topology, settings.job(paper.BATCH), [SCHEME])
        return [bound_s, 2 * bound_s]  # failures prolong a run by about its own length

    started = 1 + len(topology.devices) + (n_faults or MOST_FAULTS)
    settings = settings.sized(
        lambda: emulated_sizes(settings, topology, runs_s, devices=started, batch_size=paper.BATCH)
    )
    job, time_scale = settings.job(paper.BATCH), settings.time_scale
    n_faults = n_faults or max(4, MOST_FAULTS * job.images // MOST_IMAGES)
    for network in topology.networks:
        replay.prepare(zoo.bundle(network), job.data.images[: job.images])
    # The only cloud is among those that fail, and always comes back: wait for it.
    resilient = POLICIES.make(policy, patience_s=10.0 / time_scale)
    with DaskEngine(topology, job, compute="replay", time_scale=time_scale, policy=resilient) as engine:
        bound_s = lower_bound_s(make_plan(SCHEME, topology, job, engine.costs()), engine.costs())
        # Long enough to be noticed: a device that is away for less than three heartbeats just takes longer.
        longest_s, seed = 2.0 / time_scale, settings.seed
        schedule = FaultSchedule.random(topology, bound_s, n_faults, longest_s=longest_s, seed=seed)
        runs = {
            name: run(engine, faults)
            for name, faults in track(
                [("without", FaultSchedule()), ("with", schedule)], "runs", terminal.bars()
            )
        }
    (right, _), (record, witness) = runs["without"], runs["with"]
    values = {
        "makespan_s": (record.makespan_s, "s", "job start to the last answer"),
        "without_failures_s": (right.makespan_s, "s", "the same without failures"),
        "faults": (len(schedule), "1", "failures made"),
        "lost": (int((record.outcome != "ok").sum()), "1", "batches without their answer"),
        "twice": (sum(n > 1 for n in witness.answers.values()), "1", "answers that counted more than once"),
        "different": (
            int(sum((record.labels[stage] != right.labels[stage]).sum() for stage in record.labels)),
            "1", "images whose answer differs from the run without failures",
        ),
        "sent_again": (int((record.attempts - 1).sum()), "1", "batches sent again"),
        "duplicates": (int(record.duplicates.sum()), "1", "late answers, dropped"),
        "memory_growth_mb": (growth_mb(witness.memory_mb), "MB", "client's memory, end of the job less middle"),
    }  # fmt: skip
    cube = xr.Dataset(
        {name: ((), value, {"units": units, "long_name": text}) for name, (value, units, text) in values.items()},
        attrs={
            **settings.attributes, "faults": str(schedule), "batches": job.n_batches, "policy": policy,
            "seed": settings.seed, "scheme": SCHEME, "topology": topology.to_yaml(),
        },
    )  # fmt: skip
    settings.write(cube)
    number = {name: value for name, (value, _, _) in values.items()}
    print(
        f"{job.n_batches} batches, {number['faults']} failures: {number['lost']} lost, {number['twice']} twice, "
        f"{number['different']} images answered differently (target 0 each)\n"
        f"{number['sent_again']} sent again, {number['duplicates']} late answers dropped; finish "
        f"{number['makespan_s']:.1f} s, {number['without_failures_s']:.1f} s without failures\n"
        f"client's memory over the second half: {number['memory_growth_mb']:+.1f} MB "
        f"(target {TARGET_MB:.0f} at most)"
    )


if __name__ == "__main__":
    main()
