"""What the dashboard costs the scheduler: 200 devices, and the digests of a job of 1,000 batches a second.

The devices are Dask workers that send heartbeats and do nothing else; the job is made up, and told of as a real
one is. Three settings:
  off     no dashboard
  served  the dashboard, nobody looks
  open    the overview and every page with one chart are open, each with its own connection
What is measured: by how much the scheduler's event loop is late (Dask's own ticks, the longest of each second),
its share of a core, how its memory grows over the second half, how long a page waits for an answer and how long
the scheduler takes to bring all charts up to date.

    python scenarios/dashboard_load.py --out results/dashboard_load.nc
"""

from __future__ import annotations

import asyncio
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import AsyncIterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, nullcontext
from typing import Any

import click
import dask
import numpy as np
import psutil
from distributed import Client, Scheduler, Worker
from soak import growth_mb

from hddnn import Topology
from hddnn.dashboard.page import CHARTS
from hddnn.engines.dask.client.telemetry import Telemetry, notify, system_message
from hddnn.engines.dask.cluster.processes import CONFIG, LocalProcesses
from hddnn.engines.dask.wire.heartbeat import HeartbeatMonitor, HeartbeatSender
from hddnn.experiments.script import Settings, command
from hddnn.experiments.sweep import Dim, Variable, repeats
from hddnn.planning.plan import Plan
from hddnn.results.transfers import Transfer
from hddnn.system.topology import TIERS

SETTINGS = ("off", "served", "open")
BATCH, RIGHT = 50, 37  # images, and right answers
STEP_S = 0.02
LEAST_S = 3.0  # of a setting
RESPONSE_S = {"coarse": 0.05, "fine": 1.0}
VARIABLES = {
    "lag_ms": Variable("ms", "longest tick of a second of the scheduler's event loop, median"),
    "worst_lag_ms": Variable("ms", "longest tick of all"),
    "cpu_share": Variable("1", "share of a core that the scheduler takes"),
    "memory_mb": Variable("MB", "scheduler's resident memory at the end"),
    "growth_mb": Variable("MB", "scheduler's memory, end less middle"),
    "answer_ms": Variable("ms", "what a page waits for an answer, median"),
    "worst_answer_ms": Variable("ms", "the same, longest"),
    "update_ms": Variable("ms", "bringing every chart up to date, each once"),
}


def system(devices: int) -> Topology:
    """Return a system of so many devices, three quarters of them end devices."""
    edges, clouds = max(1, devices // 5), max(1, devices // 20)
    counts = {"end": devices - edges - clouds, "edge": edges, "cloud": clouds}
    networks = dict(zip(TIERS, ("mobilenet", "resnet34", "wrn16_4"), strict=True))
    entries = [
        {"name": tier, "tier": tier, "count": counts[tier], "network": networks[tier]} for tier in TIERS
    ]
    links = [{"from": "end", "to": tier, "bandwidth_bps": 1e8} for tier in TIERS[1:]]
    return Topology.from_dict({"name": "load", "devices": entries, "links": links})


def made_up(topology: Topology, n_batches: int) -> Plan:
    """Return a plan in which batches take turns on all devices."""
    index = {device.name: i for i, device in enumerate(topology.devices)}
    ends = [index[device.name] for device in topology.tier("end")]
    uppers = [index[device.name] for tier in TIERS[1:] for device in topology.tier(tier)]
    return Plan(
        "mapping",
        topology,
        np.full(n_batches, BATCH),
        np.resize(ends, n_batches),
        np.resize(uppers, n_batches),
        np.zeros(n_batches, bool),
    )


async def serve_devices(devices: int, address: str) -> None:
    """Be all devices, until standard input ends."""
    # What every real device has off, and the watch over the process, which is one here.
    dask.config.set({**CONFIG, "distributed.admin.system-monitor.interval": "60s"})
    names = [(device.name, device.tier) for device in system(devices).devices]
    workers = [
        Worker(
            address, name=name, host="127.0.0.1", nthreads=1, resources={tier: 1}, plugins=[HeartbeatSender()],
            memory_limit=0, dashboard=False,
        )
        for name, tier in names
    ]  # fmt: skip
    await asyncio.gather(*workers)
    print("ready", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    await asyncio.gather(*(worker.close() for worker in workers))


@asynccontextmanager
async def devices_at(devices: int, address: str) -> AsyncIterator[None]:
    """Have all devices in a process of their own."""
    command = [sys.executable, __file__, "--be", str(devices), address]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        if await process.stdout.readline() != b"ready\n":
            raise click.ClickException("the devices did not start")
        yield
    finally:
        process.stdin.close()
        await process.wait()


async def work(telemetry: Telemetry, plan: Plan, seconds: float, rate: int) -> None:
    """Tell of a made-up job, batch by batch, at its pace."""
    devices, random = plan.topology.devices, np.random.default_rng(0)
    start_s, told = time.monotonic(), 0
    while (passed_s := time.monotonic() - start_s) < seconds:
        due = min(int(passed_s * rate), plan.n_batches)
        for batch in range(told, due):
            end, upper = devices[plan.end[batch]].name, devices[plan.upper[batch]].name
            telemetry.transferred(Transfer(batch, passed_s, end, upper, "images", n_bytes=3072 * BATCH))
            for stage, device in (("coarse", end), ("fine", upper)):
                took_s = RESPONSE_S[stage] * random.lognormal(sigma=0.5)
                telemetry.answered(stage, device, took_s, BATCH, RIGHT)
            telemetry.ended("ok")
            if batch % rate == 0:
                telemetry.fault(upper)
                telemetry.resent()
        told = due
        await asyncio.sleep(STEP_S)


@asynccontextmanager
async def viewers(link: str, answers_s: list[float]) -> AsyncIterator[None]:
    """Keep every page open, and note how long each waits for an answer, again and again.

    A page that fails ends what is done meanwhile; raises ExceptionGroup.
    """
    from bokeh.client import pull_session

    ended = threading.Event()

    def look(url: str) -> None:
        session = pull_session(url=url)
        try:
            while not ended.wait(0.1):
                start_s = time.perf_counter()
                session.force_roundtrip()
                answers_s.append(time.perf_counter() - start_s)
        finally:
            session.close()

    pages = [link, *(f"{link}-{name}" for name in CHARTS)]
    # asyncio's own threads are fewer than the pages, and asking for ticks needs one, too.
    with ThreadPoolExecutor(len(pages)) as pool:

        async def looked(url: str) -> None:
            await asyncio.get_running_loop().run_in_executor(pool, look, url)

        async with asyncio.TaskGroup() as group:
            for url in pages:
                group.create_task(looked(url))
            try:
                yield
            finally:
                ended.set()


async def longest_tick_ms(port: int) -> float:
    """Ask Dask for the longest tick of its event loop since it was last asked."""
    url = f"http://127.0.0.1:{port}/metrics"
    text = await asyncio.to_thread(lambda: urllib.request.urlopen(url, timeout=30).read().decode())
    line = next(line for line in text.splitlines() if line.startswith("dask_scheduler_tick_duration_maximum"))
    return 1e3 * float(line.split()[-1])


def update_ms(dask_scheduler: Scheduler) -> float:
    """Return how long all charts take to show what is new, once each; run on the scheduler."""
    from hddnn.dashboard.page import CHARTS as charts

    parts = [made(dask_scheduler.plugins["hddnn-meter"]) for made in charts.values()]
    taken_s = []
    for _ in range(5):
        start_s = time.perf_counter()
        for part in parts:
            part.update()
        taken_s.append(time.perf_counter() - start_s)
    return 1e3 * float(np.median(taken_s[1:]))


async def measure(setting: str, devices: int, seconds: float, rate: int) -> dict[str, float]:
    """Load one scheduler and watch it."""
    topology = system(devices)
    plan = made_up(topology, int(seconds * rate))
    ticks_ms: list[float] = []
    memory_mb: list[float] = []
    answers_s: list[float] = []
    updating = {}
    async with (
        LocalProcesses([], dashboard=setting != "off") as processes,
        devices_at(devices, processes.address),
        Client(processes.address, asynchronous=True, set_as_default=False) as client,
    ):
        scheduler = psutil.Process(processes.pids["scheduler"])
        await client.register_plugin(HeartbeatMonitor())
        await notify(client, system_message(topology))
        port = (await client.scheduler.identity())["services"]["dashboard"]
        telemetry = Telemetry(plan.topology, plan.scheme, plan.n_batches)

        async def watch() -> None:
            while True:
                await asyncio.sleep(1.0)
                ticks_ms.append(await longest_tick_ms(port))
                memory_mb.append(scheduler.memory_info().rss / 1e6)

        async with viewers(processes.dashboard_link or "", answers_s) if setting == "open" else nullcontext():
            await asyncio.sleep(2.0)  # pages are being loaded
            await longest_tick_ms(port)
            answers_s.clear()
            before_s = sum(scheduler.cpu_times()[:2])
            async with telemetry.published(client), asyncio.TaskGroup() as group:
                watching = group.create_task(watch())
                await work(telemetry, plan, seconds, rate)
                watching.cancel()
            cpu_share = (sum(scheduler.cpu_times()[:2]) - before_s) / seconds
            if setting != "off":
                updating["update_ms"] = await client.run_on_scheduler(update_ms)
    waited_ms = 1e3 * np.array(answers_s or [np.nan])
    return {
        "lag_ms": float(np.median(ticks_ms)),
        "worst_lag_ms": max(ticks_ms),
        "cpu_share": cpu_share,
        "memory_mb": memory_mb[-1],
        "growth_mb": growth_mb(memory_mb),
        "answer_ms": float(np.median(waited_ms)),
        "worst_answer_ms": float(waited_ms.max()),
        "update_ms": np.nan,
        **updating,
    }


@click.option("--devices", default=200, help="Of the system.")
@click.option("--rate", default=1000, help="Batches a second.")
@click.option("--be", type=(int, str), hidden=True)
@command(minutes=17, repeats=1, smoke={"minutes": 0.1, "devices": 20, "rate": 100})
def main(settings: Settings, devices: int, rate: int, be: tuple[int, str] | None) -> None:
    """Load the scheduler without the dashboard, with it, and with its pages open."""
    if be is not None:
        asyncio.run(serve_devices(*be))
        return

    def sizes() -> dict[str, float]:
        start_s = time.perf_counter()
        asyncio.run(measure("off", devices, LEAST_S, rate))
        aside_s = time.perf_counter() - start_s  # starting the devices, for the most part
        points = len(SETTINGS) * settings.repeats
        seconds = max(settings.left_s / points - aside_s, LEAST_S)
        return {"seconds": seconds, "takes_s": points * (seconds + aside_s)}

    settings = settings.using(sizes={"seconds": LEAST_S}) if settings.smoke else settings.sized(sizes)
    seconds = settings.sizes["seconds"]

    def point(setting: str, repeat: int) -> dict[str, float]:
        return asyncio.run(measure(setting, devices, seconds, rate))

    dims = {"setting": Dim(list(SETTINGS), "1", "what of the dashboard"), "repeat": repeats(settings.repeats)}
    constants: dict[str, Any] = {"devices": devices, "rate": rate, "seconds": seconds}
    cube = settings.sweep(point, dims, VARIABLES, constants, order=("repeat",))
    settings.write(cube)
    for setting in SETTINGS:
        row = {name: float(cube[name].sel(setting=setting).median("repeat")) for name in VARIABLES}
        text = (
            f"{setting:7} loop late by {row['lag_ms']:5.1f} ms, {row['worst_lag_ms']:.0f} ms at worst, "
            f"{row['cpu_share']:.0%} of a core, {row['memory_mb']:.0f} MB ({row['growth_mb']:+.1f} MB)"
        )
        if setting == "open":
            text += f", a page waits {row['answer_ms']:.0f} ms, {row['worst_answer_ms']:.0f} ms at worst"
        if setting != "off":
            text += f", all charts take {row['update_ms']:.0f} ms"
        print(text)


if __name__ == "__main__":
    main()
