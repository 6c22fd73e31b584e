"""Memory of the client: it keeps a window of batches, so ten times the images must not take more of it.

Topology `paper`, networks replayed. Each run is a process of its own; what counts is the peak resident memory of
that process alone, without the scheduler and the devices that it starts.

    python scenarios/client_memory.py --out results/client_memory.nc
"""

from __future__ import annotations

import resource
import subprocess
import sys
from pathlib import Path

import click
import numpy as np
import xarray as xr

from hddnn import Job, Topology, cubes, load_dataset, run, zoo
from hddnn.runtimes import replay

SCHEMES = ("end-cloud", "end-edge")
IMAGES = (1000, 10_000)
BATCH = 50
TARGET_MB = 50.0  # more for the larger job, at most


def client(scheme: str, images: int, time_scale: float) -> None:
    """Run one job in this process and print its peak resident memory in bytes."""
    job = Job(load_dataset(), images=images, batch_size=BATCH)
    cube = run("paper", job, [scheme], compute="replay", time_scale=time_scale)
    if (cube.outcome != "ok").any():
        raise click.ClickException("batches were lost")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss  # kB, on macOS bytes
    print(peak if sys.platform == "darwin" else peak * 1024)


def peak_bytes(scheme: str, images: int, time_scale: float) -> int:
    """Return the peak resident memory of a fresh client process."""
    command = [sys.executable, __file__, "--client", scheme, str(images), "--time-scale", str(time_scale)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return int(done.stdout.splitlines()[-1])


@click.command()
@click.option(
    "--scheme", "schemes", type=click.Choice(SCHEMES), multiple=True, default=SCHEMES, show_default=True
)
@click.option("--images", type=(int, int), default=IMAGES, show_default=True, help="Sizes of the jobs.")
@click.option("--time-scale", default=0.02, show_default=True, help="Wall seconds a scenario second.")
@click.option("--repeats", default=3, show_default=True, help="Processes for each scheme and size.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("results/client_memory.nc"), show_default=True
)
@click.option("--client", "as_client", type=(click.Choice(SCHEMES), int), hidden=True)
def main(
    schemes: tuple[str, ...],
    images: tuple[int, int],
    time_scale: float,
    repeats: int,
    out: Path,
    as_client: tuple[str, int] | None,
) -> None:
    """Compare the client's peak memory for two sizes of the job."""
    if as_client is not None:
        client(*as_client, time_scale)
        return
    shape = (len(schemes), len(images), repeats)
    peak = np.full(shape, np.nan)
    data = load_dataset()
    for network in Topology.load("paper").networks:  # here, so that no client runs a network for its replay
        replay.prepare(zoo.bundle(network), data.images[: max(images)])
    for k in range(repeats):
        for i, scheme in enumerate(schemes):
            for j, count in enumerate(images):
                peak[i, j, k] = peak_bytes(scheme, count, time_scale)
    growth = np.median(peak[:, 1] - peak[:, 0], axis=-1)
    dims = ("scheme", "images", "repeat")
    cube = xr.Dataset(
        {
            "peak": (dims, peak, {"units": "byte", "long_name": "peak resident memory of the client"}),
            "growth": (
                ("scheme",),
                growth,
                {"units": "byte", "long_name": "median peak, larger less smaller job"},
            ),
        },
        {"scheme": list(schemes), "images": list(images), "repeat": np.arange(repeats)},
        {"topology_name": "paper", "compute": "replay", "time_scale": time_scale, "batch_size": BATCH},
    )
    cube.attrs |= cubes.environment()
    cubes.write(cube, out)
    for i, scheme in enumerate(schemes):
        sizes = ", ".join(
            f"{count} images {np.median(peak[i, j]) / 1e6:.1f} MB ({peak[i, j].min() / 1e6:.1f} to "
            f"{peak[i, j].max() / 1e6:.1f})"
            for j, count in enumerate(images)
        )
        print(f"{scheme:9} {sizes}: {growth[i] / 1e6:+.1f} MB (target {TARGET_MB:.0f} at most)")


if __name__ == "__main__":
    main()
