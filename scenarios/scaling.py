"""Figure 4 and Table 3 of the paper: finish time and accuracy of each scheme with 1 to 8 end devices.

The paper's system (topology `paper`), 200 tasks of 50 images or as many as the minutes allow, answers replayed,
its times scaled so that this machine can keep them.

    python scenarios/scaling.py --data cifar100 --data-root DIR --out results/scaling.nc
"""

from __future__ import annotations

import click
import numpy as np

from hddnn import Topology, preflight
from hddnn.cli.extensions import named_schemes, schemes_options
from hddnn.errors import InputError
from hddnn.experiments import paper
from hddnn.experiments.looking import bounds_s, emulated_sizes
from hddnn.experiments.script import Settings, Testbed, command, overran
from hddnn.experiments.sweep import Dim, Variable, repeats
from hddnn.report import figures

VARIABLES = {
    "makespan_s": Variable(
        "s", "job start to the last answer at the client, infinite where answers are missing"
    ),
    "closed_form_s": Variable("s", "finish time by the paper's equations"),
    "bound_s": Variable("s", "pipelined lower bound of the finish time"),
    "coarse_accuracy": Variable("1", "share of right coarse answers"),
    "fine_accuracy": Variable("1", "share of right fine answers"),
    "coarse_response_s": Variable("s", "median time from release to coarse answer"),
    "fine_response_s": Variable("s", "median time from release to fine answer"),
    "overruns": Variable("1", "batches that took longer than modelled on a device"),
    "lost": Variable("1", "batches without an answer"),
}


def counts(text: str) -> list[int]:
    """Return numbers of devices; raises InputError for others."""
    words = text.split(",")
    if not all(word.strip().isdecimal() and int(word) for word in words):
        raise InputError(f"end devices are '{text}'; give numbers above 0, such as 1,2,4")
    return sorted({int(word) for word in words})


@schemes_options
@click.option(
    "--end-devices",
    default=",".join(str(n + 1) for n in range(paper.N_END)),
    metavar="N,N,...",
    help="How many.",
)
@command(
    engine="dask", compute="replay", minutes=20, time_scale=None, images=(8 * paper.BATCH, paper.IMAGES),
    repeats=(3, 5), data="sample", smoke={"minutes": 0.1, "repeats": (1, 1), "end_devices": "1,5"},
)  # fmt: skip
def main(settings: Settings, end_devices: str, scheme: tuple[str, ...], schemes: str | None) -> None:
    """Run schemes on 1 to 8 end devices."""
    chosen = {one.label: one for one in preflight.named_schemes(named_schemes(scheme, schemes))}
    system, n_ends = Topology.load("paper"), counts(end_devices)
    systems = {n: system.with_end_devices(n) for n in n_ends}

    def runs_s() -> list[float]:
        most = settings.job(paper.BATCH)
        return [bound_s for n in n_ends for bound_s in bounds_s(systems[n], most, chosen.values())]

    # A system is started once, whatever the repeats.
    started = sum(1 + len(one.devices) for one in systems.values()) // settings.between["repeats"].least
    largest = systems[n_ends[-1]]
    settings = settings.sized(
        lambda: emulated_sizes(settings, largest, runs_s, devices=started, batch_size=paper.BATCH)
    )
    job = settings.job(paper.BATCH)

    def measure(scheme: str, n_end: int, repeat: int) -> dict[str, float]:
        ran = testbed.run(chosen[scheme], systems[n_end], job)
        record, lost = ran.record, int((ran.record.outcome != "ok").sum())
        response_s = {
            f"{stage}_response_s": float(np.median(record.response_s(stage))) for stage in ("coarse", "fine")
        }
        return {
            "makespan_s": np.inf if lost else record.makespan_s,
            "closed_form_s": ran.closed_form_s, "bound_s": ran.bound_s,
            "coarse_accuracy": record.accuracy("coarse"), "fine_accuracy": record.accuracy("fine"),
            "overruns": record.overrun.sum(), "lost": lost, **response_s,
        }  # fmt: skip

    dims = {
        "scheme": Dim(list(chosen), "1", "where images are sent"),
        "n_end": Dim(n_ends, "1", "end devices"),
        "repeat": repeats(settings.repeats),
    }
    constants = {**settings.attributes, "topology": system.to_yaml(), "data_digest": job.data.digest}
    with Testbed(settings) as testbed:
        cube = settings.sweep(measure, dims, VARIABLES, constants, order=("n_end", "repeat", "scheme"))
    theirs = [paper.FINE_ACCURACY.get(scheme, (np.nan,) * paper.N_END) for scheme in cube.scheme.values]
    known = [[row[n - 1] if n <= len(row) else np.nan for n in cube.n_end.values] for row in theirs]
    about = {"units": "1", "long_name": "the paper's fine accuracy (table 3)"}
    cube["paper_fine_accuracy"] = (("scheme", "n_end"), known, about)
    settings.write(cube, figures.scaling(cube), trade_off=figures.trade_off(cube))
    print("finish time, s     " + "".join(f"{n:8}" for n in cube.n_end.values) + "  end devices")
    for name, what in (
        ("makespan_s", cube.attrs["times"]),
        ("closed_form_s", "formula"),
        ("bound_s", "bound"),
    ):
        for label in chosen:
            row = cube[name].sel(scheme=label).median("repeat").values
            print(f"{label:9} {what:9}" + "".join(f"{value:8.1f}" for value in row))
    print(f"{int(cube.lost.sum())} batches lost (target 0), {overran(int(cube.overruns.sum()))}")


if __name__ == "__main__":
    main()
