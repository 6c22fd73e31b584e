"""Memory of the client: it keeps a window of batches, so ten times the images must not take more of it.

Topology `paper`, networks replayed. Each run is a process of its own; what counts is the peak resident memory of
that process alone, without the scheduler and the devices that it starts. The larger job is as large as the minutes
allow.

    python scenarios/client_memory.py --out results/client_memory.nc
"""

from __future__ import annotations

import subprocess
import sys

import click

from hddnn import Dask, Job, Topology, load_dataset, run, zoo
from hddnn.bench.process import peak_bytes
from hddnn.experiments.looking import bounds_s, emulated_sizes
from hddnn.experiments.script import Settings, command
from hddnn.experiments.sweep import Dim, Variable, repeats
from hddnn.runtimes import replay

SCHEMES = ("end-cloud", "end-edge")
BATCH = 50
TIMES = 10  # as many images in the larger job
TARGET_MB = 50.0  # more for the larger job, at most


def client(scheme: str, images: int, time_scale: float) -> None:
    """Run one job in this process and print its peak resident memory in bytes."""
    job = Job(load_dataset(), images=images, batch_size=BATCH)
    cube = run("paper", job, scheme, engine=Dask(compute="replay", time_scale=time_scale))
    if (cube.outcome != "ok").any():
        raise click.ClickException("batches were lost")
    print(peak_bytes())


def of_fresh_client(scheme: str, images: int, time_scale: float) -> int:
    """Return the peak resident memory of a fresh client process."""
    command = [sys.executable, __file__, "--client", scheme, str(images), "--time-scale", str(time_scale)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return int(done.stdout.splitlines()[-1])


@click.option("--scheme", "schemes", type=click.Choice(SCHEMES), multiple=True, default=SCHEMES)
@click.option("--client", "as_client", type=(click.Choice(SCHEMES), int), hidden=True)
@command(
    minutes=5, time_scale=None, images=(500, 10_000), repeats=(3, 5),
    smoke={"minutes": 0.1, "schemes": ("end-edge",), "repeats": (1, 1)},
)  # fmt: skip
def main(settings: Settings, schemes: tuple[str, ...], as_client: tuple[str, int] | None) -> None:
    """Compare the client's peak memory for two sizes of the job."""
    if as_client is not None:
        client(*as_client, settings.time_scale)
        return
    data, topology = load_dataset(), Topology.load("paper")

    def runs_s() -> list[float]:
        larger_s = bounds_s(topology, settings.job(BATCH), schemes)
        return [seconds for one in larger_s for seconds in (one, one / TIMES)]

    started = 2 * len(schemes) * (2 + len(topology.devices))  # a client and a scheduler besides
    settings = settings.sized(
        # It is not the times that count here.
        lambda: emulated_sizes(settings, topology, runs_s, devices=started, batch_size=BATCH, busy=1.0)
    )
    sizes = (settings.images // TIMES, settings.images)
    for network in topology.networks:  # here, so that no client runs a network for its replay
        replay.prepare(zoo.bundle(network), data.images[: max(sizes)])

    def measure(scheme: str, images: int, repeat: int) -> dict[str, float]:
        return {"peak": of_fresh_client(scheme, images, settings.time_scale)}

    dims = {
        "scheme": Dim(schemes, "1", "where images are sent"),
        "images": Dim(sizes, "1", "images of the job"),
        "repeat": repeats(settings.repeats),
    }
    variables = {"peak": Variable("byte", "peak resident memory of the client")}
    constants = {
        "topology_name": "paper", "compute": "replay", "time_scale": settings.time_scale, "batch_size": BATCH,
    }  # fmt: skip
    cube = settings.sweep(measure, dims, variables, constants, order=("repeat",))
    about = {"units": "byte", "long_name": "median peak, larger less smaller job"}
    small, large = (cube.peak.isel(images=i, drop=True) for i in (0, 1))
    cube["growth"] = (large - small).median("repeat").assign_attrs(about)
    settings.write(cube)
    for scheme in schemes:
        row = cube.sel(scheme=scheme)
        peaks = ", ".join(
            f"{count} images {float(one.median()) / 1e6:.1f} MB ({float(one.min()) / 1e6:.1f} to "
            f"{float(one.max()) / 1e6:.1f})"
            for count, one in ((count, row.peak.sel(images=count)) for count in sizes)
        )
        print(f"{scheme:9} {peaks}: {float(row.growth) / 1e6:+.1f} MB (target {TARGET_MB:.0f} at most)")


if __name__ == "__main__":
    main()
