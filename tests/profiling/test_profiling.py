"""What a profile measures, of what is known beforehand; and what it predicts from that."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import numpy as np
import pytest
from slow_link import slow_link
from systems import Shape, costs_of, device, packaged_system, system

from hddnn import profiling, zoo
from hddnn.data.datasets import Job
from hddnn.engines.dask.cluster.processes import LocalProcesses
from hddnn.engines.dask.device.probing import _timed
from hddnn.engines.dask.wire.certificates import issue
from hddnn.engines.dask.wire.connecting import close, connect
from hddnn.engines.dask.wire.messages import PROBE, DeviceSpec
from hddnn.errors import ClusterError
from hddnn.privacy.codec import DEFAULT
from hddnn.profiling.comparing import Comparison, cores_s
from hddnn.profiling.measuring import (
    Measured,
    NetworkTime,
    ProfileObserver,
    Spread,
    _with_numbers,
    bandwidth,
)
from hddnn.schemes import make_plan
from hddnn.system.times import ServiceTime
from hddnn.system.topology import Topology

SYSTEM = packaged_system(1, 1, 1)


@asynccontextmanager
async def started(tls: Path | None = None, *, modelled: bool = False) -> AsyncIterator[LocalProcesses]:
    topology = packaged_system(1, 1, 1, seconds_per_image=1e-4) if modelled else SYSTEM
    specs = [DeviceSpec.of(topology, device.name, batch_size=4) for device in topology.devices]
    async with LocalProcesses(specs, dashboard=False, tls=tls) as processes:
        yield processes


async def addresses(processes: LocalProcesses, tls: Path | None = None) -> dict[str, str]:
    """Return where each device is."""
    client = await connect(processes.address, tls)
    try:
        workers = (await client.scheduler.identity(n_workers=-1))["workers"]
    finally:
        await close(client)
    return {info["name"]: address for address, info in workers.items()}


async def probe(
    processes: LocalProcesses, by: str, name: str, address: str, tls: Path | None = None
) -> list[tuple[int, list[float]]]:
    """Let one device probe another."""
    at = await addresses(processes, tls)
    client = await connect(processes.address, tls)
    try:
        return await getattr(client.rpc(at[by]), PROBE)(name=name, address=address, rounds=3)
    finally:
        await close(client)


# ---- links


def test_a_link_of_known_latency_and_bandwidth_is_measured_as_it_is() -> None:
    async def measured() -> list[tuple[int, list[float]]]:
        async with started() as processes:
            host, port = (await addresses(processes))["cloud-1"].removeprefix("tcp://").split(":")
            async with slow_link(host, int(port), latency_s=0.05, bandwidth_bps=10e6) as door:
                return await probe(processes, "end-1", "cloud-1", f"tcp://127.0.0.1:{door}")

    taken = asyncio.run(measured())
    # A busy machine makes some round trips longer, and none shorter.
    latency_s = float(np.min(taken[0][1])) / 2
    assert 0.05 <= latency_s < 0.25
    rate = bandwidth(taken)
    assert rate is not None
    assert 1e6 < rate.median < 12e6
    assert taken[-1][0] < 2**22, "a slow link is not sent what takes it long"


def test_bandwidth_is_the_bytes_that_larger_payloads_have_more_over_the_seconds_that_they_take_more() -> None:
    taken = [(0, [0.01] * 4), (1000, [0.02] * 4), (50_000, [0.1] * 4), (126_000, [1.02, 1.02, 1.02, 1.02])]
    assert bandwidth(taken) == Spread(pytest.approx(1e6), pytest.approx(1e6), pytest.approx(1e6))


@pytest.mark.parametrize("large_s", [[0.02, 0.01, 0.03, 0.02], [0.001] * 4])
def test_payloads_that_are_too_quick_to_tell_apart_give_no_bandwidth(large_s: Sequence[float]) -> None:
    assert bandwidth([(0, [0.01]), (1000, [0.01, 0.02, 0.03, 0.02]), (9000, large_s)]) is None


def test_spreads_of_several_have_the_outermost_quartiles() -> None:
    both = Spread.over([Spread.of([1, 2, 3, 4, 5]), Spread.of([2, 4, 6, 8, 10])])
    assert both == Spread(4.5, 2, 8)


# ---- devices


def test_with_certificates_a_device_is_probed_under_its_own_name_alone(
    tmp_path: Path, small_job: Job
) -> None:
    issue(tmp_path, [device.name for device in SYSTEM.devices])

    async def under_another_name() -> None:
        async with started(tmp_path) as processes:
            measured = await asyncio.to_thread(measure, processes.address, small_job, tmp_path)
            assert [(link.source, link.target, link.pairs) for link in measured.links] == [
                ("end", "edge", 1),
                ("end", "cloud", 1),
                ("edge", "cloud", 1),
            ]
            edge = (await addresses(processes, tmp_path))["edge-1"]
            await probe(processes, "end-1", "cloud-1", edge, tmp_path)

    with pytest.raises(ClusterError, match=r"registered as cloud-1 at .* has the certificate of edge-1"):
        asyncio.run(under_another_name())


def measure(address: str, job: Job, tls: Path | None = None) -> Measured:
    observer = ProfileObserver()
    with profiling.devices(SYSTEM, job, codec=DEFAULT, address=address, tls=tls, observer=observer) as engine:
        return profiling.measure(engine, SYSTEM, rounds=3, tls=tls, observer=observer)


def test_devices_that_keep_to_modelled_times_are_not_measured(small_job: Job) -> None:
    async def refused() -> None:
        async with started(modelled=True) as processes:
            await asyncio.to_thread(measure, processes.address, small_job)

    with pytest.raises(
        ClusterError, match="device end-1 keeps to modelled times; start it without --emulate"
    ):
        asyncio.run(refused())


def test_what_a_batch_takes_is_told_from_what_its_images_take() -> None:
    # 2 ms a batch and 0.5 ms an image, but for one round in which the machine was busy.
    taken = [(1, [0.0025, 0.0025, 0.09]), (10, [0.007, 0.0068, 0.1])]
    found = NetworkTime.of("camera", "mobilenet", taken)
    assert found.full_s.median == 0.007
    assert found.service_time.seconds_per_batch == pytest.approx(0.002)
    assert found.service_time.seconds_per_image == pytest.approx(0.0005)
    alone = NetworkTime.of("camera", "mobilenet", taken[:1])
    assert alone.service_time == ServiceTime(0.0025)


def test_a_device_is_timed_with_batches_of_both_sizes_in_turn() -> None:
    done: list[int] = []
    taken = _timed({n: partial(done.append, n) for n in (1, 7)}, 3)
    assert done[:2] == [1, 7]  # these do not count
    assert done[2:] == [1, 7, 7, 1, 1, 7]
    assert [(n, len(seconds)) for n, seconds in taken] == [(1, 3), (7, 3)]


# ---- the file


def test_measured_times_stand_in_place_of_those_in_the_file(tmp_path: Path) -> None:
    system = packaged_system(1, 1, 0, seconds_per_image=5.0, seconds_per_batch=9.0)
    times = (
        NetworkTime.of("end-1", "mobilenet", [(1, [0.0025]), (10, [0.007])]),
        NetworkTime.of("edge-1", "resnet34", [(1, [0.001]), (10, [0.01])]),
    )
    topology = _with_numbers(system, times, ())
    profiling.write(Measured(topology, times, (), 10, 1, DEFAULT), tmp_path / "new.yaml")
    new = Topology.load(tmp_path / "new.yaml")
    assert new.device("end-1").service_time == ServiceTime(0.0005, 0.002)
    assert new.device("edge-1").service_time == ServiceTime(0.001)
    assert new.device("edge-1").seconds_per_batch == {}
    text = (tmp_path / "new.yaml").read_text()
    assert "# end-1, mobilenet: 7.00 ms for 10 (7.00 to 7.00); 2.00 ms a batch + 0.500 ms an image" in text
    assert "batches of 1 and of 10 images in turn, 1 rounds" in text


def test_networks_by_their_place_are_found_from_the_new_file(tmp_path: Path) -> None:
    (tmp_path / "nets").symlink_to(zoo.bundle("mobilenet").path.parent)
    (tmp_path / "site.yaml").write_text(
        "devices:\n"
        "- {name: a, tier: end, network: nets/mobilenet, seconds_per_image: 0.5}\n"
        "- {name: b, tier: edge, network: resnet34, threads: 2, trust: undependable}\n"
    )
    loaded = Topology.load(tmp_path / "site.yaml")
    measured = Measured(loaded, (), (), 50, 20, DEFAULT)
    for out in (tmp_path / "new.yaml", tmp_path / "nets.yaml", tmp_path / "below" / "new.yaml"):
        profiling.write(measured, out)
        assert Topology.load(out) == loaded.model_copy(update={"name": "site"})
    assert str(tmp_path) not in (tmp_path / "new.yaml").read_text()


# ---- predictions


def test_all_that_devices_do_is_shared_by_the_cores() -> None:
    topology = system(
        device("e", "end", 0.01, edge_net=0.002),
        device("f", "edge", 0.02, trusted=False).model_copy(update={"threads": 2}),
    )
    plan = make_plan("end-edge", topology, Shape.of(3, 10, last=5), costs_of(topology))
    # 25 images: 10 ms and 2 ms on one thread, 20 ms on two.
    assert cores_s(plan, costs_of(topology), 4) == pytest.approx(25 * (0.012 + 0.04) / 4)


def test_the_longer_of_two_predictions_counts() -> None:
    one = Comparison("end", 1.0, 2.0, 3.0, 4.0, None)
    assert one.predicted_s == 4.0
    assert Comparison("end", 1.0, 2.0, 3.0, 0.0, None).predicted_s == 3.0
