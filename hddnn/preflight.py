"""What can be told to be wrong with a run before anything is started."""

from __future__ import annotations

import re
from collections.abc import Mapping

from hddnn._util.validation import unknown
from hddnn.data.datasets import Job
from hddnn.engines.clocks import check_time_scale
from hddnn.engines.liveness import HEARTBEAT_S
from hddnn.errors import DataError, InputError, TopologyError
from hddnn.planning.costs import CostTable
from hddnn.privacy.codec import codec
from hddnn.results.records import Grader
from hddnn.schemes import SCHEMES, make_plan
from hddnn.system.faults import FaultSchedule
from hddnn.system.topology import Topology

ENGINES = ("dask", "sim", "closed")
COMPUTES = ("real", "replay")
MOST_PORT = 65535
_ADDRESS = re.compile(r"((tcp|tls|ws|wss)://)?([^\s/:\[\]]+|\[[^\]\s]+\]):([0-9]{1,5})")


def check_address(address: str, *, tls: bool) -> None:
    """Raise InputError for what is no address of a scheduler, or one that does not go with TLS, or without it."""
    found = _ADDRESS.fullmatch(address)
    if found is None or int(found[4]) > MOST_PORT:
        raise InputError(f"address '{address}' is none; give a Dask scheduler's, such as tcp://10.0.0.5:8786")
    if "://" in address and tls != address.startswith(("tls://", "wss://")):
        raise InputError(
            f"address {address} and TLS go together: give tls://HOST:PORT and the certificates' folder"
        )


def check_options(
    schemes: list[str],
    engine: str,
    compute: str,
    time_scale: float,
    address: str | None,
    given: Mapping[str, bool],
) -> None:
    """Raise InputError for an option that is wrong, or that the engine would ignore.

    given: what means nothing where no process runs, and whether it was asked for.
    """
    for name in schemes:
        if name not in SCHEMES:
            raise InputError(unknown("scheme", name, list(SCHEMES)))
    if not schemes or len(set(schemes)) != len(schemes):
        raise InputError(f"schemes: give one or more, none of them twice, not '{','.join(schemes)}'")
    for what, value, known in (("engine", engine, ENGINES), ("compute", compute, COMPUTES)):
        if value not in known:
            raise InputError(unknown(what, value, known))
    if not time_scale > 0:
        raise InputError(
            f"time scale is {time_scale:g}; give wall seconds for a second of model time, above 0"
        )
    check_time_scale(time_scale)
    if address is not None:
        check_address(address, tls=given["TLS"])
    if engine != "dask":
        # What is simulated waits for nothing; heartbeats, too, are in its own time.
        more = (
            {"compute replay": compute == "replay"}
            if engine == "closed"
            else {"a time scale": time_scale != 1}
        )
        for what, is_given in {**given, **more}.items():
            if is_given:
                raise InputError(
                    f"engine {engine} runs no process, so {what} means nothing; take engine dask"
                )


def check_resilience(engine: str, faults: FaultSchedule, heartbeat_s: float, address: str | None) -> None:
    """Raise InputError for what cannot be done about faults, or made of them."""
    if not 0.01 <= heartbeat_s < float("inf"):
        raise InputError(f"heartbeat is {heartbeat_s:g} s; give 0.01 s or more")
    if len(faults) and engine == "closed":
        raise InputError("engine closed knows of no faults; take engine sim or dask")
    if address is not None and heartbeat_s != HEARTBEAT_S:
        raise InputError("devices behind an address have their own heartbeat; give it to their preload")
    if len(faults) and address is not None:
        raise InputError("faults are made on devices of this machine only; leave the address out")


def check_fit(
    topology: Topology, job: Job, schemes: list[str], n_map: int | None, codec_name: str, encode_at: str
) -> None:
    """Raise InputError when networks, tiers, data, schemes and codec do not fit together; starts nothing."""
    from hddnn.engines.common import network_cards
    from hddnn.privacy.sizes import plain_bytes

    codec(codec_name)
    if n_map is not None and n_map < 1:
        raise InputError(f"n_map is {n_map}; it must be at least 1")
    cards = network_cards(topology)
    for device in topology.devices:
        card = cards[device.network]
        task = "coarse" if device.tier == "end" else "fine"
        if card.task != task:
            raise TopologyError(
                f"topology {topology.name}: device {device.name} of tier {device.tier} has network "
                f"{device.network}, which answers {card.task} classes; this tier answers {task} ones"
            )
    for network, card in cards.items():
        if card.input_shape != job.data.images.shape[1:]:
            given, taken = (
                "x".join(map(str, shape)) for shape in (job.data.images.shape[1:], card.input_shape)
            )
            raise DataError(
                f"data set {job.data.name} and network {network} do not fit: images are {given}, it takes {taken}"
            )
        try:
            Grader.of(card.task, card.labels, job.data)
        except DataError as error:
            raise DataError(f"data set {job.data.name} and network {network} do not fit: {error}") from None
    # Times measured when the networks were packaged are good enough to see whether there is a plan at all.
    measured = {device.name: cards[device.network].seconds_per_image for device in topology.devices}
    costs = CostTable.of(topology, measured, plain_bytes(topology))
    for scheme in schemes:
        make_plan(scheme, topology, job, costs, n_map=n_map, encode_at=encode_at)
