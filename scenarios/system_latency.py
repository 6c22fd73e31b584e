"""Table 2 of the paper: what an image takes inside the running system, by tier and latency.

One end device, one edge device and a cloud, real networks at their own speed, threads as in inference_time.py.
  alone             inference alone, batch after batch, in this process
  no communication  the device's own time for a batch, while the system runs
  0 s ... 1 s       the job's finish time over its images: with the way to the device, of that latency, which keeps
                    the device busy while it receives, as in the paper
The end tier's images come from the client, its only way. Settings take turns.

    python scenarios/system_latency.py --out results/system_latency.nc
"""

from __future__ import annotations

import time

import numpy as np

from hddnn import Topology, runtimes, zoo
from hddnn.experiments import paper
from hddnn.experiments.script import Settings, Testbed, command, substitute
from hddnn.experiments.sizing import Cost, sized
from hddnn.experiments.sweep import Dim, Variable, repeats
from hddnn.system.topology import TIERS

NETWORKS = {"end": "mobilenet", "edge": "resnet34", "cloud": "wrn16_4"}
SCHEMES = {"end": "end", "edge": "end-edge", "cloud": "end-cloud"}
LATENCIES_S = {"0 s": 0.0, "0.5 s": 0.5, "1 s": 1.0}
SETTINGS = ("alone", "no communication", *LATENCIES_S)


def system(latency_s: float) -> Topology:
    """Return one device of each tier, with one kind of way up."""
    devices = [
        {"name": tier, "tier": tier, "network": NETWORKS[tier], "threads": substitute(tier).threads,
         "runtime": substitute(tier).runtime}
        for tier in TIERS
    ]  # fmt: skip
    ways = [
        {"from": "end", "to": tier, "latency_s": latency_s, "mode": "serial"} for tier in ("edge", "cloud")
    ]
    return Topology.from_dict({"name": "table-2", "devices": devices, "links": ways})


def sizes(settings: Settings, look_s: float) -> dict[str, float]:
    """Return images and repeats; look_s: a batch on each tier, alone, and its way there."""
    # A batch is answered on each tier in every setting, and waits for the way up.
    batch_s = len(SETTINGS) * look_s + (len(TIERS) - 1) * sum(LATENCIES_S.values())
    batches, repeats = settings.batches(paper.BATCH), settings.between["repeats"]
    found = sized(settings.left_s, Cost(0.0, batch_s), batches, repeats)
    images = settings.images_of(found.size, paper.BATCH)
    return {"images": images, "repeats": found.repeats, "takes_s": found.takes_s}


@command(
    minutes=5, images=(2 * paper.BATCH, 20 * paper.BATCH), repeats=(3, 5),
    smoke={"minutes": 0.1, "repeats": (1, 1)},
)  # fmt: skip
def main(settings: Settings) -> None:
    """Measure every tier with every latency."""
    settings = settings.using(engine="dask", compute="real")
    alone = {}
    for tier, network in NETWORKS.items():
        on = substitute(tier)
        alone[tier] = runtimes.load(on.runtime, zoo.bundle(network), threads=on.threads)
    settings = settings.sized(
        lambda: sizes(settings, paper.BATCH * sum(one.warm_up(paper.BATCH) for one in alone.values()))
    )
    job = settings.job(paper.BATCH)
    for one in alone.values():
        one.warm_up(paper.BATCH, runs=1)

    def measure(tier: str, setting: str, repeat: int) -> dict[str, float]:
        if setting == "alone":
            start_s = time.perf_counter()
            for batch in range(job.n_batches):
                alone[tier].run(job.batch_images(batch))
            return {"image_s": (time.perf_counter() - start_s) / job.images}
        record = testbed.run(SCHEMES[tier], system(LATENCIES_S.get(setting, 0.0)), job).record
        if setting != "no communication":
            return {"image_s": record.makespan_s / job.images}
        stage = "end" if tier == "end" else "upper"
        spent_s = record.steps[f"{stage}_done"] - record.steps[f"{stage}_started"]
        return {"image_s": float(spent_s.sum()) / job.images}

    dims = {
        "tier": Dim(list(TIERS), "1", "tier"),
        "setting": Dim(list(SETTINGS), "1", "with what"),
        "repeat": repeats(settings.repeats),
    }
    variables = {"image_s": Variable("s", "time of an image")}
    constants = {**settings.attributes, "topology": system(0.0).to_yaml()}
    with Testbed(settings, keep=len(LATENCIES_S)) as testbed:  # so that settings can take turns
        cube = settings.sweep(
            measure, dims, variables, constants, order=("repeat", "setting"),
            where=lambda point: point["tier"] != "end" or LATENCIES_S.get(str(point["setting"]), 0.0) == 0,
        )  # fmt: skip
    theirs = np.array([[paper.SYSTEM_S[t].get(s, np.nan) for s in SETTINGS] for t in TIERS])
    about = {"units": "s", "long_name": "the paper's time of an image (table 2)"}
    cube["paper_image_s"] = (("tier", "setting"), theirs, about)
    settings.write(cube)
    print(f"{'ms an image':19}" + "".join(f"{setting:>18}" for setting in SETTINGS))
    for tier in TIERS:
        for name, values in (("", cube.image_s.median("repeat")), (", the paper's", cube.paper_image_s)):
            row = "".join(
                f"{'-' if np.isnan(v) else f'{1e3 * v:.2f}':>18}" for v in values.sel(tier=tier).values
            )
            print(f"{tier + name:19}{row}")
    # Each against inference alone in the same round.
    cost = (cube.image_s.sel(setting="0 s") / cube.image_s.sel(setting="alone")).median("repeat") - 1
    print(
        "the system's own cost: " + ", ".join(f"{tier} {float(cost.sel(tier=tier)):+.0%}" for tier in TIERS)
    )


if __name__ == "__main__":
    main()
