"""The paper's Table 5: what encoding costs a task on its way to the cloud, by latency, place and codec.

One end device, one edge device and a cloud, one batch of 50 at a time. A task's time is that from the coarse
answer to the fine one: encoding, the way, and the cloud's work (eq. 14 and 15); the overhead is its increase over
raw images sent to a cloud that may see them (eq. 16). The devices encode at their own speed; the cloud takes the
paper's 7.4 ms an image. The link has the paper's latencies and, as well, 100 Mbit/s, where bytes count. All cells
take turns.

    python scenarios/encryption_overhead.py --out results/encryption_overhead.nc
"""

from __future__ import annotations

import click
import numpy as np
import xarray as xr

from hddnn import Topology
from hddnn.engines.dask.client.engine import DaskEngine
from hddnn.experiments import paper
from hddnn.experiments.looking import look
from hddnn.experiments.script import Settings, Testbed, command, overran
from hddnn.experiments.sweep import Dim, Variable, repeats
from hddnn.privacy.codec import DEFAULT
from hddnn.report import figures
from hddnn.schemes import ENCODERS

BANDWIDTHS_BPS = {"unlimited": None, "100 Mbit/s": 100e6}
CODECS = ("float32", "float16", DEFAULT)
RAW = "raw images"
CLOUD_S = 0.0074  # an image
LINE_S = 0.1  # a batch on the line of 100 Mbit/s, about
TARGET = 0.05  # at most, at 0.5 s with the default codec
VARIABLES = {
    "task_s": Variable("s", "coarse to fine answer, with encoding"),
    "encode_s": Variable("s", "device time spent on encoding"),
    "overruns": Variable("1", "batches that took longer than modelled in the cloud"),
}


def system(latency_s: float, bandwidth_bps: float | None, trust: str) -> Topology:
    """Return the system with one kind of link to the cloud, which may or may not see images."""
    rate = {} if bandwidth_bps is None else {"bandwidth_bps": bandwidth_bps}
    return Topology.from_dict(
        {
            "name": "encryption overhead",
            "devices": [
                {"name": "end", "tier": "end", "network": "mobilenet"},
                {"name": "edge", "tier": "edge", "network": "resnet34"},
                {
                    "name": "cloud", "tier": "cloud", "network": "wrn16_4", "trust": trust,
                    "seconds_per_image": CLOUD_S,
                },
            ],
            "links": [
                {"from": tier, "to": "cloud", "latency_s": latency_s, "mode": "serial", **rate}
                for tier in ENCODERS
            ]
            + [{"from": "end", "to": "edge"}],
        }
    )  # fmt: skip


def report(cube: xr.Dataset) -> str:
    """Return the table, and a verdict on the target."""
    lines = [f"{'':34}" + "".join(f"{at_s:9.1f} s" for at_s in cube.latency_s.values) + "   encode, ms"]
    for at in ENCODERS:
        lines.append(f"{f'the paper, at the {at}':34}" + _percent(cube.paper_overhead.sel(encode_at=at)))
        for bandwidth in cube.bandwidth.values:
            for codec in CODECS:
                one = cube.sel(bandwidth=bandwidth, codec=codec, encode_at=at)
                cell = f"{bandwidth}, {codec}, at the {at}"
                spent_ms = 1e3 * float(one.encode_s.median())
                lines.append(f"{cell:34}{_percent(one.overhead.median('repeat'))}{spent_ms:13.1f}")
    first = cube.overhead.sel(codec=DEFAULT).isel(latency_s=0, bandwidth=0)
    at_s = f"at {float(cube.latency_s[0]):g} s with {DEFAULT}"
    worst = float(first.median("repeat").max())
    return "\n".join(
        [
            *lines,
            f"{at_s}: overhead {worst:.1%} at most (target at 0.5 s: {TARGET:.0%} at most)",
            overran(int(cube.overruns.sum())),
        ]
    )


def _percent(values: xr.DataArray) -> str:
    return "".join(f"{100 * float(value):9.1f} %" for value in values)


@click.option(
    "--latencies", "latencies_s", type=float, multiple=True, default=tuple(paper.ENCODING_OVERHEAD),
    help="Seconds from end or edge to the cloud.",
)  # fmt: skip
@click.option(
    "--bandwidth", "bandwidths", type=click.Choice(list(BANDWIDTHS_BPS)), multiple=True,
    default=tuple(BANDWIDTHS_BPS), help="To the cloud.",
)  # fmt: skip
@command(
    minutes=8, repeats=(2, 5),
    smoke={"minutes": 0.1, "repeats": (1, 1), "latencies_s": (0.5,), "bandwidths": ("unlimited",)},
)  # fmt: skip
def main(settings: Settings, latencies_s: tuple[float, ...], bandwidths: tuple[str, ...]) -> None:
    """Run a task in every cell in turn."""
    settings = settings.using(engine="dask", compute="real", images=paper.BATCH)
    job = settings.job(paper.BATCH)

    def sizes() -> dict[str, float]:
        raw = system(latencies_s[0], None, "dependable")
        seen = look(raw, job, settings.engine_options)
        cells = 1 + len(CODECS) * len(ENCODERS)
        batch_s = paper.BATCH * CLOUD_S + seen.work.at(1) + LINE_S
        round_s = cells * len(bandwidths) * (sum(latencies_s) + len(latencies_s) * batch_s)
        # Two systems, with a first task each, for each kind of link.
        starts_s = (
            2 * len(bandwidths) * len(latencies_s) * (len(raw.devices) + 1) * seen.device_s + round_s / 4
        )
        count = settings.between["repeats"].clip((settings.left_s - starts_s) / round_s)
        return {"repeats": count, "takes_s": starts_s + count * round_s}

    settings = settings.sized(sizes)
    warm: set[DaskEngine] = set()

    def measure(
        latency_s: float, bandwidth: str, encode_at: str, codec: str, repeat: int
    ) -> dict[str, float]:
        trust = "dependable" if codec == RAW else "undependable"
        topology = system(latency_s, BANDWIDTHS_BPS[bandwidth], trust)
        engine = testbed.engine(topology, job)
        assert isinstance(engine, DaskEngine)
        engine.codec = DEFAULT if codec == RAW else codec
        if engine not in warm:  # its first task is not counted
            testbed.run("end-cloud", topology, job)
            warm.add(engine)
        record = testbed.run("end-cloud", topology, job, encode_at=encode_at).record
        assert record.complete, record.outcome
        return {
            "task_s": record.steps["fine"][0] - record.steps["coarse"][0], "encode_s": record.encode_s[0],
            "overruns": record.overrun.sum(),
        }  # fmt: skip

    dims = {
        "latency_s": Dim(list(latencies_s), "s", "latency to the cloud"),
        "bandwidth": Dim(list(bandwidths), "1", "bandwidth to the cloud"),
        "encode_at": Dim(list(ENCODERS), "1", "who encodes"),
        "codec": Dim([RAW, *CODECS], "1", "how features are written down"),
        "repeat": repeats(settings.repeats),
    }
    topology = system(latencies_s[0], None, "undependable").to_yaml()
    constants = {"network": "wrn16_4", **settings.attributes, "topology": topology}
    with Testbed(settings, keep=2) as testbed:
        cube = settings.sweep(
            measure, dims, VARIABLES, constants, order=("latency_s", "bandwidth", "repeat"),
            where=lambda point: point["codec"] != RAW or point["encode_at"] == ENCODERS[0],
        )  # fmt: skip
    raw_s = cube.task_s.sel(codec=RAW, encode_at=ENCODERS[0], drop=True)
    cube = cube.sel(codec=list(CODECS))
    cube["raw_s"] = raw_s.assign_attrs(long_name="coarse to fine answer, raw images")
    # Each task against the raw one of the same round.
    about = {"units": "1", "long_name": "increase of a task's time by encoding"}
    cube["overhead"] = (cube.task_s / cube.raw_s - 1).assign_attrs(about)
    theirs = [paper.ENCODING_OVERHEAD.get(latency_s, (np.nan, np.nan)) for latency_s in latencies_s]
    about = {"units": "1", "long_name": "overhead of encoding in the paper (table 5)"}
    cube["paper_overhead"] = (("latency_s", "encode_at"), np.array(theirs), about)
    settings.write(cube, figures.encryption_overhead(cube))
    print(report(cube))


if __name__ == "__main__":
    main()
