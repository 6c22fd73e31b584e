"""Table 1 of the paper: inference alone, each network on each kind of device.

A device of the paper has 1 core at the end and 4 on the edge; the cloud has a GPU. Here the edge has as many
threads as there are cores, at most 4, and the cloud is the machine's GPU or, where there is none, all its cores.
Batches of 50 follow one another with nothing in between, so this is the bound for system_latency.py; cells take
turns.

    python scenarios/inference_time.py --out results/inference_time.nc
"""

from __future__ import annotations

import time
from functools import cache

import numpy as np

from hddnn import runtimes, zoo
from hddnn.experiments import paper
from hddnn.experiments.script import Compute, Settings, command, substitute
from hddnn.experiments.sizing import Between, Cost, sized
from hddnn.experiments.sweep import Dim, Variable, repeats
from hddnn.runtimes import Runtime
from hddnn.system.topology import TIERS

RUNS = 10  # batches a repeat, at most: with 20 repeats the paper's 200 runs


@cache
def loaded(network: str, on: Compute) -> Runtime:
    """Return a network on a device's substitute, warm."""
    runtime = runtimes.load(on.runtime, zoo.bundle(network), threads=on.threads)
    runtime.warm_up(paper.BATCH, runs=2)
    return runtime


@command(minutes=2, repeats=(3, 20), smoke={"minutes": 0.05, "repeats": (2, 2)})
def main(settings: Settings) -> None:
    """Measure every network on every device."""
    images = settings.job(paper.BATCH).batch_images(0)
    on = {tier: substitute(tier) for tier in TIERS}

    def measure(network: str, device: str, repeat: int, runs: int = 0) -> dict[str, float]:
        runtime, runs = loaded(network, on[device]), runs or int(settings.sizes["runs"])
        start_s = time.perf_counter()
        for _ in range(runs):
            runtime.run(images)
        return {"image_s": (time.perf_counter() - start_s) / runs / len(images)}

    def sizes() -> dict[str, float]:
        batch_s = (len(images) * measure(n, d, -1, 1)["image_s"] for n in paper.INFERENCE_S for d in TIERS)
        found = sized(settings.left_s, Cost(0.0, sum(batch_s)), Between(1, RUNS), settings.between["repeats"])
        return {"runs": found.size, "repeats": found.repeats, "takes_s": found.takes_s}

    settings = settings.sized(sizes)

    dims = {
        "network": Dim(list(paper.INFERENCE_S), "1", "network"),
        "device": Dim(list(TIERS), "1", "kind of device"),
        "repeat": repeats(settings.repeats),
    }
    variables = {"image_s": Variable("s", "time of an image, inference alone, batch 50")}
    constants = {"batch_size": paper.BATCH, "runs": int(settings.sizes["runs"]), "substitutes": str(on)}
    cube = settings.sweep(measure, dims, variables, constants, order=("repeat",))
    theirs = [[row[tier] for tier in TIERS] for row in paper.INFERENCE_S.values()]
    about = {"units": "s", "long_name": "the paper's time of an image (table 1)"}
    cube["paper_image_s"] = (("network", "device"), np.array(theirs), about)
    about = {"units": "1", "long_name": "threads of the device's substitute"}
    cube = cube.assign_coords(threads=("device", [on[tier].threads for tier in TIERS], about))
    settings.write(cube)
    print(f"{'ms an image':12}" + "".join(f"{f'{t} ({on[t].threads})':>12}{'paper':>9}" for t in TIERS))
    for network in paper.INFERENCE_S:
        row = 1e3 * cube.sel(network=network).median("repeat")
        cells = "".join(f"{o:12.3f}{p:9.2f}" for o, p in zip(row.image_s, row.paper_image_s, strict=True))
        print(f"{network:12}{cells}")


if __name__ == "__main__":
    main()
