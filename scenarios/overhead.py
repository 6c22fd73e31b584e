"""The engine's own cost: a pinned two-stage graph of do-nothing tasks, hddnn against bare distributed.

On the same workers, alternating in one run:
  submit  bare distributed, task by task: client.submit, each pinned, the second stage depending on the first
  graph   bare distributed, the same tasks sent as one graph
  hddnn   the same stages as a job under End-Edge, networks that answer at once, no links
A task is one batch's stage. The batch is one image, so that moving images does not hide the engine's cost.

    python scenarios/overhead.py --out results/overhead.nc
"""

from __future__ import annotations

import time
from collections.abc import Callable

import click
from dask.highlevelgraph import HighLevelGraph, MaterializedLayer
from distributed import Client

from hddnn import Topology
from hddnn.engines.dask.client.engine import DaskEngine
from hddnn.experiments.script import Settings, command
from hddnn.experiments.sizing import Between, Cost, sized
from hddnn.experiments.sweep import Dim, Variable, repeats
from hddnn.schemes import make_plan

SENDERS = ("submit", "graph", "hddnn")
FEW, MOST = 40, 4000  # tasks of a run
DEVICES = {"end": 2, "edge": 2}
#: The many tasks before are still being forgotten; a single request is measured on an idle system.
SETTLE_S = 0.5
VARIABLES = {
    "rate": Variable("s-1", "tasks a second"),
    "latency_s": Variable("s", "one request through both stages"),
}


def system() -> Topology:
    """Return end and edge devices without modelled times or links; undependable, so no images go up."""
    return Topology.from_dict(
        {
            "name": "overhead",
            "devices": [
                {"name": "end", "tier": "end", "count": DEVICES["end"], "network": "mobilenet"},
                {"name": "edge", "tier": "edge", "count": DEVICES["edge"], "network": "resnet34",
                 "trust": "undependable"},
            ],
        }
    )  # fmt: skip


def stage(number: int, below: int | None = None) -> int:
    """Do nothing."""
    return number


def by_submit(client: Client, addresses: dict[str, list[str]], n: int, run: str) -> None:
    """Send 2 n tasks one by one and wait for all."""
    ends, edges = addresses["end"], addresses["edge"]
    last = []
    for i in range(n):
        first = client.submit(stage, i, workers=[ends[i % len(ends)]], key=("end", run, i))
        last.append(client.submit(stage, i, first, workers=[edges[i % len(edges)]], key=("edge", run, i)))
    client.gather(last)


def by_graph(client: Client, addresses: dict[str, list[str]], n: int, run: str) -> None:
    """Send 2 n tasks as one graph and wait for all."""
    graph, workers, keys = {}, {}, []
    for i in range(n):
        first, second = ("end", run, i), ("edge", run, i)
        graph[first], graph[second] = (stage, i), (stage, i, first)
        workers[first] = [addresses["end"][i % DEVICES["end"]]]
        workers[second] = [addresses["edge"][i % DEVICES["edge"]]]
        keys.append(second)
    layer = MaterializedLayer(graph, annotations={"workers": workers.get})
    client.get(HighLevelGraph({"bare": layer}, {"bare": set()}), keys)


@click.option(
    "--tasks", type=click.IntRange(min=2), help="Of a run: batches times two stages.  [default: by --minutes]"
)
@command(minutes=2, repeats=(5, 9), smoke={"minutes": 0.05, "repeats": (1, 1)})
def main(settings: Settings, tasks: int | None) -> None:
    """Measure tasks a second and the latency of a single request by each sender."""
    topology, between = system(), Between.of(tasks, FEW, MOST)
    settings = settings.using(engine="dask", compute="nothing", images=between.most // 2)
    job, one = settings.job(1), settings.job(1, images=1)
    with DaskEngine(topology, job, compute="nothing") as engine, Client(engine.scheduler_address) as client:
        workers = client.scheduler_info(n_workers=-1)["workers"]
        addresses = {
            tier: sorted(a for a, w in workers.items() if w["name"].startswith(tier)) for tier in DEVICES
        }
        single = make_plan("end-edge", topology, one, engine.costs())

        def by_hddnn(count: int, run: str) -> None:
            of_count = make_plan("end-edge", topology, settings.job(1, images=count), engine.costs())
            engine.execute(single if count == 1 else of_count)

        calls: dict[str, Callable[[int, str], object]] = {
            "submit": lambda count, run: by_submit(client, addresses, count, run),
            "graph": lambda count, run: by_graph(client, addresses, count, run),
            "hddnn": by_hddnn,
        }

        def taken_s(sender: str, count: int, run: str) -> float:
            start_s = time.perf_counter()
            calls[sender](count, run)
            return time.perf_counter() - start_s

        def sizes() -> dict[str, float]:
            few = between.least
            for sender in SENDERS:
                taken_s(sender, few // 2, f"warm-up-{sender}")
            each_s = sum(taken_s(sender, few // 2, f"look-{sender}") for sender in SENDERS) / few
            found = sized(
                settings.left_s, Cost(len(SENDERS) * SETTLE_S, each_s), between, settings.between["repeats"]
            )
            return {"tasks": found.size, "repeats": found.repeats, "takes_s": found.takes_s}

        settings = settings.sized(sizes)
        n = int(settings.sizes["tasks"]) // 2

        def measure(sender: str, repeat: int) -> dict[str, float]:
            all_s = taken_s(sender, n, f"{repeat}")
            time.sleep(SETTLE_S)
            return {"rate": 2 * n / all_s, "latency_s": taken_s(sender, 1, f"single-{repeat}")}

        dims = {"sender": Dim(list(SENDERS), "1", "who sends"), "repeat": repeats(settings.repeats)}
        constants = {**settings.attributes, "tasks": 2 * n, "topology": topology.to_yaml()}
        cube = settings.sweep(measure, dims, VARIABLES, constants, order=("repeat",))
    settings.write(cube)
    for sender in SENDERS:
        row = cube.sel(sender=sender)
        ratio = float((row.rate / cube.rate.sel(sender="submit")).median())
        print(
            f"{sender:7} {float(row.rate.median()):8.0f} tasks/s ({float(row.rate.min()):.0f} to "
            f"{float(row.rate.max()):.0f}), {ratio:.2f} x submit{' (target 2)' if sender == 'hddnn' else ''}, "
            f"one request alone {float(row.latency_s.median()) * 1e3:.1f} ms"
        )


if __name__ == "__main__":
    main()
