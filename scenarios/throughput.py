"""Throughput: images a second of hddnn on a real network, against bare loops of the same runtime.

No emulation: one end device a core, scheme End, whole batches. Alternating in one run, over the same arrays:
  bare   as many processes as cores, each a loop that runs the network on its share of the batches, no more
  hddnn  the same batches as a job, sent over Dask, coarse answers back batch by batch
Processor time is given, too: unlike the rates, it hardly depends on what else the machine does.

    python scenarios/throughput.py --out results/throughput.nc
"""

from __future__ import annotations

import multiprocessing
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from multiprocessing.connection import Connection
from pathlib import Path

import click
import numpy as np
import psutil
import xarray as xr

from hddnn import Job, Topology, cubes, load_dataset, runtimes, zoo
from hddnn.engines.dask.engine import DaskEngine
from hddnn.schemes import make_plan

SENDERS = ("bare", "hddnn")
NETWORK = "mobilenet"
TARGET = 0.7  # hddnn's images a second over bare, at least
SETTLE_S = 0.5  # what a run leaves behind is still being forgotten


def loop(share: list[int], batch_size: int, images: int, pipe: Connection) -> None:
    """Run the network on a share of the job's batches each time the other end says so, until it hangs up."""
    job = Job(load_dataset(), images=images, batch_size=batch_size)
    network = runtimes.load("openvino", zoo.bundle(NETWORK))
    network.warm_up(batch_size)
    pipe.send("ready")
    while pipe.recv():
        for batch in share:
            network.run(job.batch_images(batch)).argmax(axis=1)
        pipe.send("done")


@contextmanager
def bare_loops(count: int, batches: int, batch_size: int) -> Iterator[dict[int, Connection]]:
    """Start the processes of the bare loops, ready to run, by pid; end them."""
    spawn = multiprocessing.get_context("spawn")
    pipes: dict[int, Connection] = {}
    processes = []
    for number in range(count):
        here, there = spawn.Pipe()
        share = list(range(number, batches, count))
        args = (share, batch_size, batches * batch_size, there)
        processes.append(spawn.Process(target=loop, args=args, daemon=True))
        processes[-1].start()
        pipes[processes[-1].pid] = here
    try:
        for pipe in pipes.values():
            pipe.recv()
        yield pipes
        for pipe in pipes.values():
            pipe.send(False)
    finally:
        for process in processes:
            process.join(5)
            process.kill()


def run_bare(pipes: dict[int, Connection]) -> None:
    """Let every loop do its share, and wait for all."""
    for pipe in pipes.values():
        pipe.send(True)
    for pipe in pipes.values():
        pipe.recv()


def cpu_s(pids: list[int]) -> float:
    """Return the processor seconds that some processes have used."""
    times = [psutil.Process(pid).cpu_times() for pid in pids]
    return sum(t.user + t.system for t in times)


@click.command()
@click.option("--batches", default=2000, show_default=True, help="Batches a run.")
@click.option("--batch", "batch_size", default=50, show_default=True, help="Images a batch.")
@click.option("--pairs", default=7, show_default=True, help="Repeats of both in turn.")
@click.option(
    "--out", type=click.Path(path_type=Path), default=Path("results/throughput.nc"), show_default=True
)
def main(batches: int, batch_size: int, pairs: int, out: Path) -> None:
    """Measure images a second of each."""
    count = os.cpu_count() or 1
    devices = [{"name": "end", "tier": "end", "count": count, "network": NETWORK}]
    topology = Topology.from_dict({"name": "throughput", "devices": devices})
    job = Job(load_dataset(), images=batches * batch_size, batch_size=batch_size)
    rate, busy_s = (np.full((len(SENDERS), pairs), np.nan) for _ in range(2))
    with DaskEngine(topology, job) as engine, bare_loops(count, batches, batch_size) as pipes:
        plan = make_plan("end", topology, job, engine.costs())
        calls = {"bare": lambda: run_bare(pipes), "hddnn": lambda: engine.execute(plan)}
        pids = {"bare": list(pipes), "hddnn": [os.getpid(), *engine.pids.values()]}
        for repeat in range(-1, pairs):  # the first pair warms up
            for i, sender in enumerate(SENDERS):
                time.sleep(SETTLE_S)
                before_s, start_s = cpu_s(pids[sender]), time.perf_counter()
                record = calls[sender]()
                taken_s = time.perf_counter() - start_s
                if record is not None and (record.outcome != "ok").any():
                    raise click.ClickException("batches were lost")
                if repeat >= 0:
                    rate[i, repeat] = job.images / taken_s
                    busy_s[i, repeat] = (cpu_s(pids[sender]) - before_s) / job.images
    ratio = rate[1] / rate[0]
    dims = ("sender", "repeat")
    cube = xr.Dataset(
        {
            "rate": (dims, rate, {"units": "s-1", "long_name": "images a second"}),
            "busy_s": (dims, busy_s, {"units": "s", "long_name": "processor time of all processes an image"}),
            "ratio": (("repeat",), ratio, {"units": "1", "long_name": "hddnn's rate over bare"}),
        },
        {"sender": list(SENDERS), "repeat": np.arange(pairs)},
        {"network": NETWORK, "devices": count, "batches": batches, "batch_size": batch_size},
    )
    cube.attrs |= cubes.environment()
    cubes.write(cube, out)
    for sender in SENDERS:
        row = cube.sel(sender=sender)
        print(
            f"{sender:6} {float(row.rate.median()):7.0f} images/s ({float(row.rate.min()):.0f} to "
            f"{float(row.rate.max()):.0f}), {float(row.busy_s.median()) * 1e3:.3f} ms of processor time an image"
        )
    print(
        f"ratio  {np.median(ratio):7.2f} ({ratio.min():.2f} to {ratio.max():.2f}; target {TARGET} at least)"
    )


if __name__ == "__main__":
    main()
