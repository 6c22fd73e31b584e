"""The dask engine: true answers, honest emulation, and clear ends when devices are missing or die."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import numpy as np
import psutil
import pytest
from systems import packaged_system
from waiting import PATIENCE_S, wait_until

from hddnn import runtimes, zoo
from hddnn.data.datasets import Dataset, Job
from hddnn.engines.common import WINDOW
from hddnn.engines.dask.client.engine import DaskEngine
from hddnn.errors import BundleError, ClusterError
from hddnn.planning.bounds import lower_bound_s
from hddnn.results.records import Record
from hddnn.runtimes import replay
from hddnn.schemes import make_plan
from hddnn.system.topology import Topology
from hddnn.tasks.calibration import Calibrated, probabilities
from hddnn.zoo import Bundle


def offline(job: Job, network: str, *, encoded: bool) -> np.ndarray:
    """Return the network's own class of every image of a job, batch by batch, without any engine."""
    return logits(job, network, encoded=encoded).argmax(axis=1)


def logits(job: Job, network: str, *, encoded: bool = False) -> np.ndarray:
    own = runtimes.load("openvino", zoo.bundle(network), parts=("stem", "body") if encoded else ("whole",))
    parts = []
    for batch in range(job.n_batches):
        images = job.batch_images(batch)
        parts.append(own.body(own.stem(images)) if encoded else own.run(images))
    return np.concatenate(parts)


def as_classes(job: Job, network: str, answers: np.ndarray) -> np.ndarray:
    card = zoo.bundle(network).card
    names = np.array(card.labels)[answers]
    index = {name: i for i, name in enumerate(job.data.labels.levels[card.task])}
    return np.array([index[name] for name in names])


def test_answers_equal_the_bundles_own_image_by_image(small_job: Job) -> None:
    system = packaged_system(2, 2, 1)
    with DaskEngine(system, small_job, codec="float32") as engine:
        records: dict[str, Record] = {
            scheme: engine.execute(make_plan(scheme, system, small_job, engine.costs()))
            for scheme in ("end", "end-cloud", "end-edge", "mapping")
        }
    coarse = as_classes(small_job, "mobilenet", offline(small_job, "mobilenet", encoded=False))
    edge = as_classes(small_job, "resnet34", offline(small_job, "resnet34", encoded=False))
    cloud = as_classes(small_job, "wrn16_4", offline(small_job, "wrn16_4", encoded=True))
    for record in records.values():
        assert (record.labels["coarse"] == coarse).all()
    assert (records["end"].labels["fine"] == -1).all()
    assert (records["end-cloud"].labels["fine"] == cloud).all()
    assert (records["end-edge"].labels["fine"] == edge).all()


@pytest.fixture
def calibrated(tmp_path: Path) -> Bundle:
    """Return mobilenet as if its temperature were 2."""
    path = shutil.copytree(zoo.bundle("mobilenet").path, tmp_path / "calibrated")
    facts = zoo.bundle("mobilenet").card.model_dump(exclude={"files", "temperature", "calibration"})
    fit = Calibrated(2.0, images=5, test_images=5, ece_before=0.2, ece_after=0, nll_before=1, nll_after=1)
    return Bundle.create(path, **facts, temperature=fit.temperature, calibration=fit.facts("made up"))


def only(network: Bundle) -> Topology:
    """Return a system of one end device."""
    entry = {"name": "end", "tier": "end", "network": str(network.path)}
    return Topology.from_dict({"name": "one", "devices": [entry]})


def test_confidence_is_that_of_the_cards_temperature(small_job: Job, calibrated: Bundle) -> None:
    system = only(calibrated)
    replay.prepare(zoo.bundle("mobilenet"), small_job.data.images[: small_job.images])  # of the same logits
    expected = probabilities(logits(small_job, "mobilenet"), 2.0).max(axis=1)
    for compute in ("real", "replay"):
        with DaskEngine(system, small_job, compute=compute) as engine:
            record = engine.execute(make_plan("end", system, small_job, engine.costs()))
        assert record.confidence["coarse"] == pytest.approx(expected, abs=5e-3)


def test_mapping_lies_between_as_equation_10_says(sample: Dataset) -> None:
    job = Job(
        sample, images=200, batch_size=25
    )  # 4 end devices get 2 batches each: 2 feed edges, 2 the cloud
    system = packaged_system(4, 2, 1)
    with DaskEngine(system, job) as engine:
        mapping, edge, cloud = (
            engine.execute(make_plan(scheme, system, job, engine.costs()))
            for scheme in ("mapping", "end-edge", "end-cloud")
        )
    to_cloud = np.repeat([system.devices[u].tier == "cloud" for u in mapping.plan.upper], mapping.plan.sizes)
    assert to_cloud.mean() == 0.5  # theta_cloud of eq. 8
    assert (mapping.labels["fine"] == np.where(to_cloud, cloud.labels["fine"], edge.labels["fine"])).all()
    parts = [
        mapping.correct["fine"][is_cloud].sum() / mapping.plan.sizes[is_cloud].sum()
        for is_cloud in (to_cloud[::25], ~to_cloud[::25])
    ]
    assert mapping.accuracy("fine") == pytest.approx(0.5 * parts[0] + 0.5 * parts[1])
    # Whichever network is the better one; half the images of each are not quite as hard as all.
    low, high = sorted((edge.accuracy("fine"), cloud.accuracy("fine")))
    assert low - 0.05 < mapping.accuracy("fine") < high + 0.05


def test_networks_files_are_not_read_again_for_a_job(small_job: Job, monkeypatch: pytest.MonkeyPatch) -> None:
    system = packaged_system(1, 1, 0)
    with DaskEngine(system, small_job, compute="nothing") as engine:
        plan = make_plan("end-edge", system, small_job, engine.costs())
        monkeypatch.setattr(zoo.Bundle, "open", None)
        assert engine.execute(plan).complete
        assert engine.costs()


def test_emulated_time_is_kept(sample: Dataset) -> None:
    job = Job(sample, images=300, batch_size=10)
    system = packaged_system(2, 1, 1, seconds_per_image=2e-3, latency_s=0.03)
    with DaskEngine(system, job, compute="nothing", time_scale=2.0) as engine:
        plan = make_plan("end-edge", system, job, engine.costs())
        record = engine.execute(plan)
        bound_s = lower_bound_s(plan, engine.costs())
    assert bound_s <= record.makespan_s
    begun_s, done_s = record.steps["end_started"], record.steps["end_done"]
    service_s = done_s - begun_s
    # A busy machine wakes a device later, never sooner; the wrong time scale would make it half or double.
    assert (service_s >= 0.02 - 1e-6).all()
    assert service_s.min() < 0.03
    # The devices of a tier work side by side.
    first, second = (record.plan.end == device for device in np.unique(record.plan.end))
    assert ((begun_s[first][:, None] < done_s[second]) & (begun_s[second] < done_s[first][:, None])).any()
    # The answer cannot be here before its modelled time has passed.
    assert (record.steps["coarse"] >= record.steps["end_done"]).all()
    delay_s = record.steps["upper_received"] - record.steps["end_done"]
    assert (delay_s >= 0.03 - 1e-6).all()
    # A payload that really takes longer than modelled, on a busy machine, holds up those that would overtake it,
    # by as much as it is late; where none is late, all take what is modelled.
    late_s = max(0.0, float(record.link_real_s.max()) - 0.03)
    link_s = record.link_emulated_s + np.minimum(record.link_real_s, 0.03)
    assert (link_s >= 0.03 - 1e-6).all()
    assert (link_s <= 0.03 + late_s + 0.005).all()
    assert link_s.min() < 0.045


def test_a_device_slower_than_modelled_is_said_to_overrun(small_job: Job) -> None:
    system = packaged_system(1, 1, 0, seconds_per_image=1e-7)
    with DaskEngine(system, small_job) as engine:
        record = engine.execute(make_plan("end-edge", system, small_job, engine.costs()))
    assert record.overrun.all()
    assert record.complete
    # What took longer is shown as it was, not as it should have been; the end device had a head start.
    assert (record.steps["upper_done"] - record.steps["upper_started"] > 20 * 1e-6).all()


def test_coarse_answers_do_not_wait_for_fine_ones(small_job: Job) -> None:
    system = packaged_system(2, 0, 1, seconds_per_image=5e-3, latency_s=0.2)
    with DaskEngine(system, small_job, compute="nothing") as engine:
        record = engine.execute(make_plan("end-cloud", system, small_job, engine.costs()))
    assert np.median(record.response_s("coarse")) < np.median(record.response_s("fine")) / 2
    assert record.steps["coarse"][0] < record.steps["upper_received"][0]


def test_coarse_answers_of_one_task_come_batch_by_batch(sample: Dataset) -> None:
    job = Job(sample, images=640, batch_size=10)
    system = packaged_system(1, 0, 0)
    with DaskEngine(system, job) as engine:
        engine.execute(make_plan("end", system, job, engine.costs()))
        record = engine.execute(make_plan("end", system, job, engine.costs()))
    # Several batches share a task here, and each has its own time of arrival.
    assert len(np.unique(record.steps["end_received"])) < job.n_batches
    assert len(np.unique(record.steps["coarse"])) == job.n_batches


def test_the_window_bounds_what_is_in_flight(sample: Dataset) -> None:
    job = Job(sample, images=1000, batch_size=10)
    system = packaged_system(1, 0, 1, seconds_per_image=3e-3, latency_s=0.01)  # too slow to share a task
    with DaskEngine(system, job, compute="nothing") as engine:
        record = engine.execute(make_plan("end-cloud", system, job, engine.costs()))
    released, ended = np.sort(record.steps["submitted"]), np.sort(record.steps["fine"])
    in_flight = [(released <= t).sum() - (ended < t).sum() for t in released]
    assert max(in_flight) == WINDOW


def test_a_device_that_died_is_started_anew_for_the_next_plan(small_job: Job) -> None:
    system = packaged_system(2, 1, 0, seconds_per_image=1e-3)
    with DaskEngine(system, small_job, compute="nothing") as engine:
        old = engine.pids
        os.kill(old["edge-1"], signal.SIGKILL)
        os.kill(old["end-2"], signal.SIGSTOP)
        wait_until(lambda: engine.gone == {"edge-1", "end-2"}, "two devices to be missed")
        plan = make_plan("end-edge", system, small_job, engine.costs())
        record = engine.execute(plan)
        assert {name for name, pid in engine.pids.items() if pid != old[name]} == {"edge-1", "end-2"}
    assert record.complete
    assert (record.end == plan.end).all()
    assert (record.attempts == 1).all()


def test_a_device_that_cannot_start_says_why(small_job: Job, tmp_path: Path) -> None:
    bad = tmp_path / "net"
    bad.mkdir()
    good = zoo.bundle("mobilenet")
    for file in good.path.iterdir():
        (bad / file.name).write_bytes(file.read_bytes())
    (bad / "body.onnx").write_bytes(good.body_path.read_bytes()[:1000])
    system = Topology.from_dict(
        {"name": "bad", "devices": [{"name": "end", "tier": "end", "network": str(bad)}]}
    )
    with pytest.raises(BundleError, match=r"body\.onnx is damaged"):
        DaskEngine(system, small_job).__enter__()


def test_joining_checks_that_every_device_is_there(small_job: Job) -> None:
    there = packaged_system(1, 1, 0)
    with DaskEngine(there, small_job, compute="nothing") as running:
        address = running.scheduler_address
        with DaskEngine(there, small_job, compute="nothing", address=address) as joined:
            record = joined.execute(make_plan("end-edge", there, small_job, joined.costs()))
            assert record.complete
        with pytest.raises(ClusterError, match="missing devices: end-2, cloud-1"):
            DaskEngine(packaged_system(2, 1, 1), small_job, compute="nothing", address=address).__enter__()
        with pytest.raises(ClusterError, match="compute nothing, the job needs replay"):
            DaskEngine(there, small_job, compute="replay", address=address).__enter__()


def test_joining_checks_that_confidence_means_the_same(small_job: Job, calibrated: Bundle) -> None:
    system = only(calibrated)
    with DaskEngine(system, small_job, compute="nothing") as running:
        facts = calibrated.card.model_dump(exclude={"files"}) | {"temperature": 1.5}
        Bundle.create(calibrated.path, **facts)
        joined = DaskEngine(system, small_job, compute="nothing", address=running.scheduler_address)
        with pytest.raises(ClusterError, match=r"end has temperature 2\.0, the job needs 1\.5"):
            joined.__enter__()


def test_joining_nobody_says_so(small_job: Job) -> None:
    with pytest.raises(ClusterError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        DaskEngine(packaged_system(1, 0, 0), small_job, address="tcp://127.0.0.1:9").__enter__()


def test_devices_end_when_the_client_is_killed(tmp_path: Path) -> None:
    script = tmp_path / "client.py"
    script.write_text(
        textwrap.dedent(
            """
            import time
            from hddnn import Job, Topology, load_dataset
            from hddnn.engines.dask.client.engine import DaskEngine

            devices = [{"name": "end", "tier": "end", "count": 2, "network": "mobilenet"}]
            topology = Topology.from_dict({"name": "t", "devices": devices})
            with DaskEngine(topology, Job(load_dataset(), 50), compute="nothing") as engine:
                print(*engine.pids.values(), flush=True)
                time.sleep(60)
            """
        )
    )
    client = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    assert client.stdout is not None
    pids = [int(pid) for pid in client.stdout.readline().split()]
    assert len(pids) == 3
    client.kill()
    client.wait()
    client.stdout.close()
    _, alive = psutil.wait_procs(
        [psutil.Process(p) for p in pids if psutil.pid_exists(p)], timeout=PATIENCE_S
    )
    assert not alive
    # The launcher removes their files once they are gone.
    wait_until(lambda: not list(Path(os.environ["TMPDIR"]).glob("hddnn-*")), "files to go")
