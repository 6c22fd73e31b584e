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

import click
import psutil

from hddnn import Job, Topology, load_dataset, runtimes, zoo
from hddnn._util import children
from hddnn.engines.dask.client.engine import DaskEngine
from hddnn.experiments.script import Settings, command
from hddnn.experiments.sweep import Dim, Variable, repeats
from hddnn.schemes import make_plan

SENDERS = ("bare", "hddnn")
NETWORK = "mobilenet"
TARGET = 0.7  # hddnn's images a second over bare, at least
SETTLE_S = 0.5  # what a run leaves behind is still being forgotten
VARIABLES = {
    "rate": Variable("s-1", "images a second"),
    "busy_s": Variable("s", "processor time of all processes an image"),
}


def loop(names: list[str], share: list[int], batch_size: int, images: int, pipe: Connection) -> None:
    """Run networks on a share of the job's batches each time the other end says so, until it hangs up."""
    job = Job(load_dataset(), images=images, batch_size=batch_size)
    networks = [runtimes.load("openvino", zoo.bundle(name)) for name in names]
    for network in networks:
        network.warm_up(batch_size)
    pipe.send("ready")
    while pipe.recv():
        for batch in share:
            for network in networks:
                network.run(job.batch_images(batch)).argmax(axis=1)
        pipe.send("done")


@contextmanager
def bare_loops(
    count: int, batches: int, batch_size: int, networks: list[str]
) -> Iterator[dict[int, Connection]]:
    """Start the processes of the bare loops, each with all networks, ready to run, by pid; end them."""
    os.environ.update(children.SAFE)  # else they look for modules in the current folder first
    spawn = multiprocessing.get_context("spawn")
    pipes: dict[int, Connection] = {}
    processes = []
    for number in range(count):
        here, there = spawn.Pipe()
        share = list(range(number, batches, count))
        args = (networks, share, batch_size, batches * batch_size, there)
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


@click.option("--batch", "batch_size", default=50, help="Images a batch.")
@command(images=100_000, repeats=7, smoke={"images": 80, "batch_size": 10, "repeats": 1})
def main(settings: Settings, batch_size: int) -> None:
    """Measure images a second of each."""
    count = os.cpu_count() or 1
    devices = [{"name": "end", "tier": "end", "count": count, "network": NETWORK}]
    topology = Topology.from_dict({"name": "throughput", "devices": devices})
    job = settings.using(compute="real").job(batch_size)
    bare = bare_loops(count, job.n_batches, batch_size, [NETWORK])
    with DaskEngine(topology, job) as engine, bare as pipes:
        plan = make_plan("end", topology, job, engine.costs())
        pids = {"bare": list(pipes), "hddnn": [os.getpid(), *engine.pids.values()]}

        def measure(sender: str, repeat: int) -> dict[str, float]:
            time.sleep(SETTLE_S)
            before_s, start_s = cpu_s(pids[sender]), time.perf_counter()
            if sender == "bare":
                run_bare(pipes)
            elif not engine.execute(plan).complete:
                raise click.ClickException("batches were lost")
            taken_s = time.perf_counter() - start_s
            return {"rate": job.images / taken_s, "busy_s": (cpu_s(pids[sender]) - before_s) / job.images}

        for sender in SENDERS:
            measure(sender, -1)  # warms up
        dims = {"sender": Dim(SENDERS, "1", "who runs the network"), "repeat": repeats(settings.repeats)}
        constants = {"network": NETWORK, "devices": count, "images": job.images, "batch_size": batch_size}
        cube = settings.sweep(measure, dims, VARIABLES, constants, order=("repeat",))
    about = {"units": "1", "long_name": "hddnn's rate over bare"}
    cube["ratio"] = (cube.rate.sel(sender="hddnn") / cube.rate.sel(sender="bare")).assign_attrs(about)
    settings.write(cube)
    for sender in SENDERS:
        row = cube.sel(sender=sender)
        print(
            f"{sender:6} {float(row.rate.median()):7.0f} images/s ({float(row.rate.min()):.0f} to "
            f"{float(row.rate.max()):.0f}), {float(row.busy_s.median()) * 1e3:.3f} ms of processor time an image"
        )
    ratio = cube.ratio.values
    print(
        f"ratio  {float(cube.ratio.median()):7.2f} ({ratio.min():.2f} to {ratio.max():.2f}; "
        f"target {TARGET} at least)"
    )


if __name__ == "__main__":
    main()
