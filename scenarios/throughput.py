"""Throughput: images a second of hddnn on a real network, against bare loops of the same runtime.

No emulation: one end device a core, scheme End, whole batches, as many as the minutes allow. Alternating in one
run, over the same arrays:
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
from hddnn.experiments.sizing import Cost, sized
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


def loop(names: list[str], number: int, count: int, batch_size: int, pipe: Connection) -> None:
    """Run networks on every count-th of so many batches each time the other end says how many, until that is none.

    The first batch is that of the number.
    """
    data = load_dataset()
    job = Job(data, images=len(data), batch_size=batch_size)
    networks = [runtimes.load("openvino", zoo.bundle(name)) for name in names]
    for network in networks:
        network.warm_up(batch_size)
    pipe.send("ready")
    while batches := pipe.recv():
        for batch in range(number, batches, count):
            for network in networks:
                network.run(job.batch_images(batch % (len(data) // batch_size))).argmax(axis=1)
        pipe.send("done")


@contextmanager
def bare_loops(count: int, batch_size: int, networks: list[str]) -> Iterator[dict[int, Connection]]:
    """Start the processes of the bare loops, each with all networks, ready to run, by pid; end them."""
    os.environ.update(children.SAFE)  # else they look for modules in the current folder first
    spawn = multiprocessing.get_context("spawn")
    pipes: dict[int, Connection] = {}
    processes = []
    for number in range(count):
        here, there = spawn.Pipe()
        args = (networks, number, count, batch_size, there)
        processes.append(spawn.Process(target=loop, args=args, daemon=True))
        processes[-1].start()
        pipes[processes[-1].pid] = here
    try:
        for pipe in pipes.values():
            pipe.recv()
        yield pipes
        for pipe in pipes.values():
            pipe.send(0)
    finally:
        for process in processes:
            process.join(5)
            process.kill()


def run_bare(pipes: dict[int, Connection], batches: int) -> None:
    """Let every loop do its share of so many batches, and wait for all."""
    for pipe in pipes.values():
        pipe.send(batches)
    for pipe in pipes.values():
        pipe.recv()


def cpu_s(pids: list[int]) -> float:
    """Return the processor seconds that some processes have used."""
    times = [psutil.Process(pid).cpu_times() for pid in pids]
    return sum(t.user + t.system for t in times)


@click.option("--batch", "batch_size", default=50, help="Images a batch.")
@command(
    minutes=3, images=(500, 100_000), repeats=(5, 9),
    smoke={"minutes": 0.05, "images": (100, 500), "batch_size": 10, "repeats": (1, 1)},
)  # fmt: skip
def main(settings: Settings, batch_size: int) -> None:
    """Measure images a second of each."""
    count = os.cpu_count() or 1
    devices = [{"name": "end", "tier": "end", "count": count, "network": NETWORK}]
    topology = Topology.from_dict({"name": "throughput", "devices": devices})
    settings = settings.using(compute="real")
    most, bare = settings.job(batch_size), bare_loops(count, batch_size, [NETWORK])
    with DaskEngine(topology, most) as engine, bare as pipes:
        pids = {"bare": list(pipes), "hddnn": [os.getpid(), *engine.pids.values()]}

        def measure(sender: str, repeat: int, job: Job | None = None) -> dict[str, float]:
            job = job or of_size
            time.sleep(SETTLE_S)
            plan = make_plan("end", topology, job, engine.costs())
            before_s, start_s = cpu_s(pids[sender]), time.perf_counter()
            if sender == "bare":
                run_bare(pipes, job.n_batches)
            elif not engine.execute(plan).complete:
                raise click.ClickException("batches were lost")
            taken_s = time.perf_counter() - start_s
            return {"rate": job.images / taken_s, "busy_s": (cpu_s(pids[sender]) - before_s) / job.images}

        def sizes() -> dict[str, float]:
            small = settings.using(images=settings.between["images"].least).job(batch_size)
            for sender in SENDERS:
                measure(sender, -2, small)  # warms up
            each_s = sum(1 / measure(sender, -1, small)["rate"] for sender in SENDERS)
            found = sized(
                settings.left_s, Cost(len(SENDERS) * SETTLE_S, batch_size * each_s),
                settings.batches(batch_size), settings.between["repeats"],
            )  # fmt: skip
            return {
                "images": settings.images_of(found.size, batch_size),
                "repeats": found.repeats,
                "takes_s": found.takes_s,
            }

        settings = settings.sized(sizes)
        of_size = settings.job(batch_size)
        dims = {"sender": Dim(SENDERS, "1", "who runs the network"), "repeat": repeats(settings.repeats)}
        constants = {
            "network": NETWORK,
            "devices": count,
            "images": settings.images,
            "batch_size": batch_size,
        }
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
