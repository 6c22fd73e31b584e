"""Predict, simulate and run the same job on the same system, and see that the three agree.

    python examples/first_run.py

The paper's system, cut down to two end devices, two edge devices and no cloud. The schemes are End, whose answers
are coarse, and End-Edge, whose edge devices answer finely later. Takes half a minute, most of it in part three.
"""

from __future__ import annotations

import sys

import xarray as xr

from hddnn import Job, Topology, load_dataset, run

SCHEMES = ["end", "end-edge"]
SYSTEM = {
    "name": "small",
    "devices": [
        {"name": "end", "count": 2, "tier": "end", "network": "mobilenet", "seconds_per_image": 0.02},
        {"name": "edge", "count": 2, "tier": "edge", "network": "resnet34", "seconds_per_image": 0.03},
    ],
    "links": [{"from": "end", "to": "edge", "latency_s": 0.5, "mode": "serial"}],
}


def show(cube: xr.Dataset, what: str) -> None:
    """Print the finish time of each scheme, and how many batches have all their answers."""
    for scheme in SCHEMES:
        one = cube.sel(scheme=scheme)
        answered = int((one.outcome == "ok").sum())
        print(
            f"{what:10} {scheme:9} {float(one.makespan_s):6.2f} s, {answered} of {one.sizes['batch']} answered"
        )


def main() -> None:
    """Run all three engines."""
    topology = Topology.from_dict(SYSTEM)
    job = Job(load_dataset("sample"), images=400, batch_size=40)

    show(run(topology, job, SCHEMES, engine="closed"), "predicted")
    simulated = run(topology, job, SCHEMES, engine="sim")
    show(simulated, "simulated")

    # Real processes and real networks. Their times differ by run and machine, so they go to the terminal only;
    # what is exact is printed: that all was answered, on the ways planned, and not sooner than the bound allows.
    measured = run(topology, job, SCHEMES, engine="dask")
    for scheme in SCHEMES:
        one, expected = measured.sel(scheme=scheme), simulated.sel(scheme=scheme)
        print(
            f"{scheme}: {float(one.makespan_s):.2f} s here, {int(one.overrun.sum())} overruns",
            file=sys.stderr,
        )
        kept = "not before" if one.makespan_s > 0.99 * one.bound_s else "before"
        answered = int((one.outcome == "ok").sum())
        print(f"{'run':10} {scheme:9} {kept} the bound, {answered} of {job.n_batches} answered")
        assert (one.path == expected.path).all(), "both engines carry out the same plan"
    for path, batches in measured.path.sel(scheme="end-edge").groupby(measured.path.sel(scheme="end-edge")):
        print(f"{path}: {batches.size} batches")
    right = float(measured.fine_accuracy.sel(scheme="end-edge"))
    print(f"fine answers: more than half of them right: {right > 0.5}")


if __name__ == "__main__":
    main()
