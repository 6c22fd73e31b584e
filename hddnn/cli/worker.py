"""`hddnn worker` and `hddnn scheduler`: Dask's own commands, with the options that a system of devices needs."""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NoReturn

import click

from hddnn._util import children
from hddnn.cli.console import one_line_errors
from hddnn.cli.options import TLS, own_hosts, topology_option
from hddnn.errors import InputError

#: Whatever else is typed is Dask's.
PASSED_ON = {"ignore_unknown_options": True, "allow_interspersed_args": True}


@click.command(context_settings=PASSED_ON)
@click.argument("device", metavar="DEVICE")
@click.argument("words", metavar="[SCHEDULER] [OPTION]...", nargs=-1, type=click.UNPROCESSED)
@topology_option("The system that DEVICE is part of.", default="paper", envvar=True)
@TLS
@click.option("--tier", type=click.Choice(["end", "edge", "cloud"]), help="Start nothing of another tier.")
@one_line_errors
def worker(device: str, words: tuple[str, ...], spec: str, tls: Path | None, tier: str | None) -> None:
    """Be DEVICE of a topology: a `dask worker` that registers when its networks are loaded and checked.

    SCHEDULER is an address; --scheduler-file FILE and DASK_SCHEDULER_ADDRESS do as well. Every option of
    `dask worker` may follow.

    \b
    Examples:
      hddnn worker camera-1 --topology shop.yaml tcp://10.0.0.1:8786
      hddnn worker camera-1 --topology shop.yaml --tls certs tls://10.0.0.1:8786 --interface wlan0
    """
    from hddnn import zoo
    from hddnn.system.topology import Topology

    own = Topology.load(spec, networks=zoo.names()).device(device)
    if tier not in (None, own.tier):
        raise InputError(f"{device} is of tier {own.tier}, not {tier}; start it with workers/{own.tier}.sh")
    _check_scheduler(words)
    options = [
        *("--name", device, "--resources", f"{own.tier}=1", "--nthreads", "1"),
        *("--no-nanny", "--memory-limit", "0", "--no-dashboard", "--preload", "hddnn.engines.dask.preload"),
    ]
    forced = {"HDDNN_TOPOLOGY": spec}
    if tls is not None:
        options += [*_identity(tls, device), "--dashboard-address", "127.0.0.1:0"]
        # Dask's plain HTTP server, which every worker has, tells nobody anything.
        forced["DASK_DISTRIBUTED__WORKER__HTTP__ROUTES"] = "[]"
    # Last, and so above what was typed: launchers give names and numbers of threads of their own.
    _become("worker", [*own_hosts(words), *options], forced)


@click.command(context_settings=PASSED_ON)
@click.argument("words", metavar="[OPTION]...", nargs=-1, type=click.UNPROCESSED)
@TLS
@one_line_errors
def scheduler(words: tuple[str, ...], tls: Path | None) -> None:
    """Be the scheduler of a system: a `dask scheduler`, on port 8786, to which devices and clients connect.

    Every option of `dask scheduler` may follow.

    \b
    Examples:
      hddnn scheduler
      hddnn scheduler --tls certs --port 8786
    """
    from hddnn.engines.dask.wire.certificates import SCHEDULER

    options, forced = ["--preload", "hddnn.dashboard.preload"], {}
    if tls is not None:
        options = [*_identity(tls, SCHEDULER), "--protocol", "tls"]
        options += ["--no-dashboard", "--dashboard-address", "127.0.0.1:0"]
        forced["DASK_DISTRIBUTED__SCHEDULER__HTTP__ROUTES"] = "[]"
    _become("scheduler", [*options, *own_hosts(words)], forced)


def _identity(folder: Path, name: str) -> list[str]:
    """Return Dask's options for one side's certificate."""
    from hddnn.engines.dask.wire.certificates import identity

    files = identity(folder, name)
    return [
        *("--tls-ca-file", str(files.authority)),
        *("--tls-cert", str(files.certificate)),
        *("--tls-key", str(files.key)),
    ]


def _check_scheduler(words: Sequence[str]) -> None:
    import dask

    if not words and dask.config.get("scheduler-address", None) is None:
        raise InputError(
            "no scheduler; give its address, such as tcp://10.0.0.1:8786, or --scheduler-file FILE, or set "
            "DASK_SCHEDULER_ADDRESS"
        )


def _become(command: str, words: Sequence[str], forced: Mapping[str, str]) -> NoReturn:
    """Go on as one of Dask's commands, in this process: signals and exit codes are its own.

    forced: what stands above the user's environment, which stands above the settings of every system of devices.
    """
    from hddnn.engines.dask.cluster.processes import CONFIG

    ours = {f"DASK_{key.upper().replace('.', '__').replace('-', '_')}": str(CONFIG[key]) for key in CONFIG}
    env = {**ours, **children.environment(forced)}
    os.execve(sys.executable, children.command("dask", command, *words), env)
