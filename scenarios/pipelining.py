"""Pipelining: how near each scheme's finish time comes to what its busiest device or link allows.

The paper's system: topology `paper`, 200 batches of 50 images or as many as the minutes allow, networks replayed,
modelled times kept.
  finish    makespan over the pipelined lower bound of the same plan; no batch may be lost
  response  median coarse over median fine response (release to answer): coarse answers stream, they do not wait

    python scenarios/pipelining.py --out results/pipelining.nc
"""

from __future__ import annotations

import numpy as np

from hddnn import Topology, preflight
from hddnn.cli.extensions import named_schemes, schemes_options
from hddnn.experiments import paper
from hddnn.experiments.looking import bounds_s, emulated_sizes
from hddnn.experiments.script import Settings, Testbed, command, overran
from hddnn.experiments.sweep import Dim, Variable, repeats

TARGET_FINISH = 1.10  # of each scheme, at most
TARGET_RESPONSE = {"end-cloud": 0.1}  # at most
VARIABLES = {
    "makespan_s": Variable("s", "job start to the last answer"),
    "bound_s": Variable("s", "pipelined lower bound of the finish time"),
    "finish_ratio": Variable("1", "makespan over its lower bound"),
    "coarse_response_s": Variable("s", "median time from release to coarse answer"),
    "fine_response_s": Variable("s", "median time from release to fine answer"),
    "response_ratio": Variable("1", "median coarse over median fine response"),
    "lost": Variable("1", "batches that were not answered"),
    "overruns": Variable("1", "batches that took longer than modelled on a device"),
}


@schemes_options
@command(
    engine="dask", compute="replay", minutes=5, time_scale=None, images=(16 * paper.BATCH, paper.IMAGES),
    repeats=(1, 3), smoke={"minutes": 0.1, "repeats": (1, 1)},
)  # fmt: skip
def main(settings: Settings, scheme: tuple[str, ...], schemes: str | None) -> None:
    """Run schemes and compare each finish time with its lower bound."""
    chosen = {one.label: one for one in preflight.named_schemes(named_schemes(scheme, schemes))}
    topology = Topology.load("paper")

    def runs_s() -> list[float]:
        return bounds_s(topology, settings.job(paper.BATCH), chosen.values())

    started = 1 + len(topology.devices)
    settings = settings.sized(
        lambda: emulated_sizes(settings, topology, runs_s, devices=started, batch_size=paper.BATCH)
    )
    job = settings.job(paper.BATCH)

    def measure(scheme: str, repeat: int) -> dict[str, float]:
        ran = testbed.run(chosen[scheme], topology, job)
        coarse_s, fine_s = (float(np.median(ran.record.response_s(stage))) for stage in ("coarse", "fine"))
        return {
            "makespan_s": ran.record.makespan_s,
            "bound_s": ran.bound_s,
            "finish_ratio": ran.record.makespan_s / ran.bound_s,
            "coarse_response_s": coarse_s,
            "fine_response_s": fine_s,  # NaN under End, as is the ratio
            "response_ratio": coarse_s / fine_s,
            "lost": (ran.record.outcome != "ok").sum(),
            "overruns": ran.record.overrun.sum(),
        }

    dims = {"scheme": Dim(list(chosen), "1", "where images are sent"), "repeat": repeats(settings.repeats)}
    constants = {**settings.attributes, "topology": topology.to_yaml()}
    with Testbed(settings) as testbed:
        cube = settings.sweep(measure, dims, VARIABLES, constants, order=("repeat",))
    settings.write(cube)
    for label in chosen:
        row = cube.sel(scheme=label)
        ratio = row.finish_ratio
        line = (
            f"{label:9} finish {float(row.makespan_s.median()):6.2f} s {cube.attrs['times']}, "
            f"{float(ratio.median()):.3f} x bound ({float(ratio.min()):.3f} to {float(ratio.max()):.3f}; "
            f"target {TARGET_FINISH:.2f} at most), {int(row.lost.sum())} lost (target 0), "
            f"{overran(int(row.overruns.sum()))}"
        )
        if label in TARGET_RESPONSE:
            line += (
                f"; coarse {float(row.response_ratio.median()):.3f} x fine response "
                f"(target {TARGET_RESPONSE[label]} at most)"
            )
        print(line)


if __name__ == "__main__":
    main()
