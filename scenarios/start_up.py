"""Start-up: the seconds of `import hddnn`, and the time and memory until a whole system is ready.

Topology `paper`, real networks. Processor time is that of client, launcher, scheduler and devices, of all cores
together: on a machine that does other work, too, it says more than the seconds. Memory is that of scheduler and
devices, each page shared among n of them counted 1/n (PSS). For comparison, one process that loads each network.
All in turn.

    python scenarios/start_up.py --out results/start_up.nc
"""

from __future__ import annotations

import subprocess
import sys
import time

import click
import psutil
import xarray as xr

from hddnn import Job, Topology, load_dataset, zoo
from hddnn.engines.dask.client.engine import DaskEngine
from hddnn.experiments.script import Settings, command

TARGET_IMPORT_S = 0.3  # less
BATCH = 50
TIMED_IMPORT = "import time; s = time.perf_counter(); import hddnn; print(time.perf_counter() - s)"


def import_s() -> float:
    """Return the seconds of the import in a fresh process, the interpreter's own start left out."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", TIMED_IMPORT], stdout=subprocess.PIPE, text=True, check=True
    )
    return float(done.stdout)


def load_s(network: str) -> float:
    """Return the seconds in which a fresh process loads and warms up one network, imports left out."""
    code = (
        "import sys, time; from hddnn import runtimes, zoo; runtimes.preload(); "
        "s = time.perf_counter(); "
        f"runtimes.load('openvino', zoo.bundle(sys.argv[1])).warm_up({BATCH}); print(time.perf_counter() - s)"
    )
    command = [sys.executable, "-P", "-c", code, network]
    return float(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)


def pss_bytes(pids: list[int]) -> int:
    """Return the proportional set size of some processes together."""
    return sum(psutil.Process(pid).memory_full_info().pss for pid in pids)


def processor_s(processes: list[psutil.Process]) -> float:
    """Return the processor time of some processes so far, of all their threads together."""
    return sum(times.user + times.system for times in (process.cpu_times() for process in processes))


def ready(topology: Topology, job: Job) -> tuple[float, float, float]:
    """Return the seconds until all devices are ready, their processor time, and the bytes that they then take."""
    start_s, client_s = time.perf_counter(), time.process_time()
    with DaskEngine(topology, job) as engine:
        taken_s, client_s = time.perf_counter() - start_s, time.process_time() - client_s
        pids = list(engine.pids.values())
        forked = [psutil.Process(pid) for pid in pids]
        launcher = forked[0].parent()
        assert launcher is not None
        return taken_s, client_s + processor_s([launcher, *forked]), pss_bytes(pids)


@click.option("--topology", "topology_name", default="paper", help="Packaged name or file.")
@command(
    minutes=2, repeats=(3, 9), resumable=False,
    smoke={"minutes": 0.05, "repeats": (1, 1), "topology_name": "laptop"},
)  # fmt: skip
def main(settings: Settings, topology_name: str) -> None:
    """Measure the import, the loading of each network alone, and the start of all devices."""
    topology = Topology.load(topology_name, networks=zoo.names())
    job = Job(load_dataset(), images=BATCH, batch_size=BATCH)
    rounds: list[tuple[float, list[float], float, float, float]] = []

    def a_round() -> float:
        start_s = time.perf_counter()
        rounds.append((import_s(), [load_s(name) for name in topology.networks], *ready(topology, job)))
        return time.perf_counter() - start_s

    def sizes() -> dict[str, float]:
        round_s = a_round()  # which counts
        repeats = settings.between["repeats"].clip(1 + settings.left_s / round_s)
        return {"repeats": repeats, "takes_s": (repeats - 1) * round_s}

    settings = settings.sized(sizes)
    while len(rounds) < settings.repeats:
        a_round()
    imports_s, loads_s, ready_s, used_s, memory = zip(*rounds, strict=True)
    rows = {
        "import_s": ("repeat", list(imports_s), "s", "import hddnn in a fresh process"),
        "load_s": (("repeat", "network"), list(loads_s), "s", "one process loads and warms up one network"),
        "ready_s": ("repeat", list(ready_s), "s", "until every device of the system is ready"),
        "processor_s": ("repeat", list(used_s), "s", "processor time until then, of all processes"),
        "memory": ("repeat", list(memory), "byte", "scheduler and devices together (PSS)"),
    }
    cube = xr.Dataset(
        {name: (dims, v, {"units": u, "long_name": text}) for name, (dims, v, u, text) in rows.items()},
        {"network": list(topology.networks), "repeat": range(len(rounds))},
        {"topology_name": topology.name, "devices": len(topology.devices)},
    )
    settings.write(cube)
    print(f"import hddnn        {spread(cube.import_s)} s (target below {TARGET_IMPORT_S})")
    for network in topology.networks:
        print(f"load {network:14} {spread(cube.load_s.sel(network=network))} s, one process alone")
    print(f"{len(topology.devices)} devices ready    {spread(cube.ready_s)} s")
    alone = cube.ready_s / cube.load_s.sum("network")
    print(
        f"                    {spread(alone)} x the networks' loading, one after the other, in the same round"
    )
    print(f"processor time      {spread(cube.processor_s)} s")
    print(f"their memory        {spread(cube.memory / 1e9)} GB")


def spread(values: xr.DataArray) -> str:
    """Return median, least and most."""
    return f"{float(values.median()):.3f} ({float(values.min()):.3f} to {float(values.max()):.3f})"


if __name__ == "__main__":
    main()
