"""`hddnn serve` under an open load: requests come at random times, whether or not those before were answered.

The load is made by Tsung (Debian's package tsung), in a process of its own on the same cores: Poisson arrivals,
each request a new connection that posts one JPEG and gets both answers as JSON. In turn:
  bare      loops of the bare runtime on all cores: both networks, whole batches, no HTTP, no decoding; before and
            after the rest
  capacity  the highest rate at which nothing is refused, late or unanswered, searched in short steps
  0.7, 1.5  of the capacity: what clients see, and the memory of the service and its devices

    python scenarios/serve.py --out results/serve.nc
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import fields
from multiprocessing.connection import Connection
from pathlib import Path
from urllib.request import urlopen

import click
import numpy as np
import psutil
import xarray as xr
from soak import growth_mb
from throughput import bare_loops, run_bare
from tsung import Generator, Seen

from hddnn import Topology
from hddnn._util import children
from hddnn.errors import InputError
from hddnn.experiments.script import Settings, command
from hddnn.experiments.sizing import fitting

TOPOLOGY, TIERS = "laptop", ("end", "edge")  # under End-Edge, the service's default
LOADS = (0.7, 1.5)
BATCH = 50  # of the bare loops
STEP = 1.5  # between two rates of the search, while none has failed
FIRST = 0.02  # of the bare runtime's images a second: the first rate, requests a second

UNITS = {"rate": "s-1", "p50_s": "s", "p99_s": "s"}
MEANING = {
    "rate": "requests a second",
    "offered": "requests sent",
    "answered": "requests answered within the deadline",
    "refused": "requests refused at once (503)",
    "late": "requests accepted, and not answered within the deadline",
    "errors": "requests with any other status, or none",
    "p50_s": "median response of those answered",
    "p99_s": "99th percentile of it",
}


@contextmanager
def served(queue: int) -> Iterator[tuple[int, psutil.Process]]:
    """Run `hddnn serve`; yield its port and process."""
    words = ["serve", "--topology", TOPOLOGY, "--port", "0", "--queue", str(queue)]
    process = subprocess.Popen(children.command("hddnn", *words), stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        found = re.search(r":(\d+);", process.stdout.readline())
        if found is None:
            raise InputError("the service did not start; run `hddnn serve` to see why")
        yield int(found[1]), psutil.Process(process.pid)
        process.send_signal(signal.SIGINT)
        process.wait(30)
    finally:
        process.kill()
        process.communicate()


def capacity(generator: Generator, first: float, steps: int, step_s: float, settle_s: float) -> Seen:
    """Return the highest rate found that the service sustains; raises InputError where it sustains none."""
    best, failed, rate = None, np.inf, first
    for _ in range(steps):
        seen = generator.run(rate, step_s)
        if not seen.sustained:  # once more: something else on the machine may have been in the way
            time.sleep(settle_s)
            seen = generator.run(rate, step_s)
        click.echo(
            f"{rate:.0f}/s: {seen.answered} of {seen.offered} answered, p99 {seen.p99_s:.2f} s", err=True
        )
        if seen.sustained:
            best = seen
        else:
            failed = rate
        if best is None:
            rate /= STEP
        else:
            rate = best.rate * min(STEP, (failed / best.rate) ** 0.5)
        time.sleep(settle_s)
    if best is None:
        raise InputError(
            f"the service does not sustain {rate:.3g} requests/s here; it may be busy with something else"
        )
    return best


class Memory:
    """Sample the resident memory of the service, and of it and its devices, each second, in MB.

    Raises at the end what sampling raised: one of them that ended, above all.
    """

    def __init__(self, service: psutil.Process) -> None:
        self._processes = [service, *service.children(recursive=True)]
        self.service_mb: list[float] = []
        self.all_mb: list[float] = []
        self._over = threading.Event()

    def __enter__(self) -> Memory:
        self._pool = ThreadPoolExecutor(1)
        self._sampling = self._pool.submit(self._sample)
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        self._over.set()
        self._pool.shutdown()
        if kind is None:  # what already ends this says more
            self._sampling.result()

    def _sample(self) -> None:
        while True:
            each = [process.memory_info().rss / 1e6 for process in self._processes]
            self.service_mb.append(each[0])
            self.all_mb.append(sum(each))
            if self._over.wait(1.0):
                return


def bare_rates(pipes: dict[int, Connection], seconds: float) -> list[float]:
    """Return the images a second that loops of the runtime give both networks on all cores, three times."""

    def taken_s(batches: int) -> float:
        start_s = time.perf_counter()
        run_bare(pipes, batches)
        return time.perf_counter() - start_s

    few = 2 * len(pipes)
    taken_s(few)  # warms up
    batches = fitting(seconds / 3, taken_s(few) / few, few, 1000)
    return [batches * BATCH / taken_s(batches) for _ in range(3)]


@click.option("--steps", default=9, help="Of the search for the capacity.")
@click.option("--settle-s", default=3.0, help="Seconds between two loads.")
@click.option("--deadline-s", default=2.0, help="Of each request.")
@click.option("--queue", default=64, help="The service's.")
@click.option("--side", default=224, help="Of the picture, in pixels.")
@command(minutes=12, resumable=False, smoke={"minutes": 0.2, "steps": 1, "settle_s": 0.2, "deadline_s": 30.0})
def main(settings: Settings, steps: int, settle_s: float, deadline_s: float, queue: int, side: int) -> None:
    """Find the capacity, and what clients see below and above it."""
    topology = Topology.load(TOPOLOGY)
    networks = [topology.tier(tier)[0].network for tier in TIERS]
    with (
        tempfile.TemporaryDirectory() as folder,
        bare_loops(os.cpu_count() or 1, BATCH, networks) as pipes,
        served(queue) as (port, service),
    ):
        # A tenth of the time is for the bare loops, a third of the rest for the search.
        bare_s = settings.left_s / 20
        rates = bare_rates(pipes, bare_s)
        settings = settings.sized(
            lambda: {
                "step_s": max(2.0, min(20.0, settings.left_s / 3 / steps)),
                "seconds": max(3.0, settings.left_s / 2),
            }
        )
        step_s, seconds = settings.sizes["step_s"], settings.sizes["seconds"]
        first = max(2.0, FIRST * float(np.median(rates)))
        generator = Generator(Path(folder), port, deadline_s, side)
        try:
            most = capacity(generator, first, steps, step_s, settle_s)
            seen, memories = [], []
            for load, for_s in zip(LOADS, (seconds, seconds / 5), strict=True):
                with Memory(service) as memory:
                    seen.append(generator.run(load * most.rate, for_s))
                memories.append(memory)
                time.sleep(settle_s)
            with urlopen(f"http://127.0.0.1:{port}/healthz", timeout=30) as answer:
                well = answer.status == 200
        finally:
            generator.close()
        bare = float(np.median([*rates, *bare_rates(pipes, bare_s)]))  # before and after
    cube = xr.Dataset(
        {
            field.name: (
                "of_capacity",
                [getattr(one, field.name) for one in seen],
                {"units": UNITS.get(field.name, "1"), "long_name": MEANING[field.name]},
            )
            for field in fields(Seen)
        },
        {"of_capacity": ("of_capacity", list(LOADS), {"units": "1", "long_name": "rate over capacity"})},
        {
            "topology_name": TOPOLOGY, "seconds": seconds, "step_s": step_s, "deadline_s": deadline_s,
            "queue": queue,
            "picture": f"JPEG, {side} x {side}", "generator": "tsung, Poisson", "well_after": int(well),
        },
    )  # fmt: skip
    for name, of in (("service", "the service"), ("all", "the service and its devices")):
        samples = [getattr(memory, f"{name}_mb") for memory in memories]
        about = {"units": "MB", "long_name": f"resident memory of {of}, median"}
        cube[f"{name}_mb"] = ("of_capacity", [float(np.median(one)) for one in samples], about)
        about = {
            "units": "MB",
            "long_name": f"resident memory of {of}, last tenth less middle",
        }
        cube[f"{name}_growth_mb"] = ("of_capacity", [growth_mb(one) for one in samples], about)
    cube["capacity"] = ((), most.rate, {"units": "s-1", "long_name": "highest rate that is sustained"})
    cube["capacity_p99_s"] = ((), most.p99_s, {"units": "s", "long_name": "99th percentile there"})
    cube["bare"] = ((), bare, {"units": "s-1", "long_name": "images a second of the bare runtime"})
    settings.write(cube)
    report(cube)


def report(cube: xr.Dataset) -> None:
    """Print what was found."""
    bare, most = float(cube.bare), float(cube.capacity)
    print(
        f"capacity {most:.0f} requests/s (p99 {float(cube.capacity_p99_s):.2f} s), {most / bare:.1%} of the "
        f"{bare:.0f} images/s of the bare runtime on the same cores"
    )
    for load in cube.of_capacity.values:
        one = cube.sel(of_capacity=load)
        print(
            f"{load:.0%} of it: {int(one.offered)} requests, {int(one.answered)} answered within "
            f"{cube.attrs['deadline_s']:g} s (p50 {float(one.p50_s):.3f} s, p99 {float(one.p99_s):.3f} s), "
            f"{int(one.refused)} refused, {int(one.late)} late, {int(one.errors)} errors; memory of the service "
            f"{float(one.service_mb):.0f} MB ({float(one.service_growth_mb):+.1f}), with its devices "
            f"{float(one.all_mb):.0f} MB ({float(one.all_growth_mb):+.1f})"
        )
    print(f"afterwards the service is {'well' if cube.attrs['well_after'] else 'not well'}")


if __name__ == "__main__":
    main()
