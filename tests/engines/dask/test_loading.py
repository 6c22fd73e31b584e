"""Networks are loaded once for a machine's devices and answer the same in each; damage is found all the same."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import numpy as np
import psutil
import pytest
from systems import packaged_system

from hddnn import runtimes, zoo
from hddnn.data.datasets import Job, load_dataset
from hddnn.engines.dask.client.engine import DaskEngine
from hddnn.engines.dask.device.loading import Networks, needs, shared
from hddnn.engines.dask.wire.messages import DeviceSpec
from hddnn.errors import BundleError
from hddnn.system.topology import Topology


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return the folder of a copied bundle."""
    return Path(shutil.copytree(zoo.bundle("mobilenet").path, tmp_path / "copy"))


def spec_of(network: str | Path, *, tier: str = "end", name: str = "a", **more: object) -> DeviceSpec:
    device = {"name": name, "tier": tier, "network": str(network), **more}
    others = [] if tier == "end" else [{"name": "end", "tier": "end", "network": "mobilenet"}]
    links = [] if tier == "end" else [{"from": "end", "to": tier}]
    system = Topology.from_dict({"name": "one", "devices": [*others, device], "links": links})
    return DeviceSpec.of(system, name, batch_size=4)


def test_what_was_prepared_is_taken() -> None:
    system = packaged_system(2, 1, 1)
    networks = Networks()
    specs = [DeviceSpec.of(system, device.name, batch_size=4) for device in system.devices]
    for spec in specs:
        networks.prepare(spec, needs(spec))
    first, again = networks.load(specs[0]), networks.load(specs[1])
    assert first.own is again.own
    assert first.stems == again.stems
    assert set(first.stems) == {"wrn16_4"}
    cloud = networks.load(next(spec for spec in specs if spec.device.tier == "cloud"))
    assert cloud.own.parts == ("body",)
    assert cloud.own is networks.load(next(spec for spec in specs if spec.device.tier == "cloud")).own


def test_shared_is_what_several_devices_load() -> None:
    system = packaged_system(2, 2, 1)
    specs = [DeviceSpec.of(system, device.name) for device in system.devices]
    assert {(need.network, need.part) for need in shared(specs)} == {
        ("mobilenet", "whole"), ("resnet34", "whole"), ("wrn16_4", "stem"),
    }  # fmt: skip
    assert not shared(DeviceSpec.of(system, name, compute="replay") for name in ("end-1", "end-2"))
    networks = Networks()
    networks.prepare(specs[0], shared(specs[:1]))
    assert networks.load(specs[0]).own is not networks.load(specs[0]).own


def test_a_body_is_that_of_the_whole_network_which_is_there() -> None:
    networks = Networks()
    trusted, other = spec_of("resnet34", tier="edge"), spec_of("resnet34", tier="edge", trust="undependable")
    networks.prepare(trusted, needs(trusted))
    networks.prepare(other, needs(other))
    whole, body = networks.load(trusted).own, networks.load(other).own
    assert body.parts == ("body",)
    images = np.random.default_rng(0).integers(0, 256, (4, 32, 32, 3), np.uint8)
    features = runtimes.load("openvino", body.bundle, parts=("stem",)).stem(images)
    assert np.array_equal(body.body(features), whole.run(images))
    with pytest.raises(BundleError, match="the body of resnet34 was not loaded"):
        whole.body(features)  # it keeps to what it was asked for
    requests = [network.__dict__["_body"] for network in (whole, body)]
    assert requests[0] is not requests[1]  # the two may be called at once


def test_several_threads_and_other_runtimes_are_left_to_the_device() -> None:
    for spec in (
        spec_of("mobilenet", threads=2),
        spec_of("mobilenet", runtime="examples/own_runtime.py:Tuned"),
    ):
        networks = Networks()
        networks.prepare(spec, needs(spec))
        assert networks.load(spec).own is not networks.load(spec).own


def test_a_network_that_was_changed_is_loaded_anew(copy: Path) -> None:
    networks, spec = Networks(), spec_of(copy)
    networks.prepare(spec, needs(spec))
    before = networks.load(spec).own
    card = json.loads((copy / "card.json").read_text())
    card["labels"] = [f"other {label}" for label in card["labels"]]
    (copy / "card.json").write_text(json.dumps(card))
    after = networks.load(spec).own
    assert after is not before
    assert after.bundle.card.labels == tuple(card["labels"])


def test_damage_is_found_though_the_network_was_loaded_before(copy: Path) -> None:
    networks, spec = Networks(), spec_of(copy)
    networks.prepare(spec, needs(spec))
    networks.load(spec)
    body = copy / "body.onnx"
    content = bytearray(body.read_bytes())
    content[len(content) // 2] ^= 1
    body.write_bytes(content)
    with pytest.raises(BundleError, match=r"body\.onnx is damaged"):
        networks.load(spec)


def test_what_cannot_be_prepared_is_told_by_the_device(copy: Path) -> None:
    (copy / "stem.onnx").write_bytes(b"none")
    networks, spec = Networks(), spec_of(copy)
    networks.prepare(spec, needs(spec))
    with pytest.raises(BundleError, match=r"stem\.onnx is damaged"):
        networks.load(spec)


def test_a_wrong_known_answer_is_found_in_the_device(copy: Path) -> None:
    card = json.loads((copy / "card.json").read_text())
    card["known_answer"][0] += 100
    (copy / "card.json").write_text(json.dumps(card))
    networks, spec = Networks(), spec_of(copy)
    networks.prepare(spec, needs(spec))
    with pytest.raises(BundleError, match="does not give its known answer"):
        networks.load(spec)


FORKED = """
    import os
    from concurrent.futures import ThreadPoolExecutor
    import numpy as np
    from hddnn.engines.dask.device.loading import Networks, needs
    from hddnn.engines.dask.wire.messages import DeviceSpec
    from hddnn.system.topology import Topology

    def ticks(others):
        "Return the processor time of this thread, or of all others of this process."
        threads = [int(n) for n in os.listdir("/proc/self/task") if (int(n) != os.getpid()) == others]
        stats = [open(f"/proc/self/task/{n}/stat").read().rsplit(")", 1)[1].split() for n in threads]
        return sum(int(stat[11]) + int(stat[12]) for stat in stats)

    def spec(threads):
        return DeviceSpec.of(Topology.from_dict({"name": "one", "devices": [
            {"name": "a", "tier": "end", "network": "resnet34", "threads": threads}]}), "a", batch_size=20)

    networks = Networks()
    networks.prepare(spec(1), needs(spec(1)))
    images = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), np.uint8)
    whole = networks.load(spec(1)).own
    stem, body = whole.narrowed("stem"), whole.narrowed("body")
    wanted, features = whole.run(images), stem.stem(images)
    child = os.fork()
    if child == 0:
        inherited = networks.load(spec(1)).own
        assert np.array_equal(inherited.run(images), wanted)
        assert np.array_equal(inherited.run(images[:7]), wanted[:7])
        assert len(os.listdir("/proc/self/task")) == 1, "it computes in the thread that asks"
        with ThreadPoolExecutor(3) as pool:
            for _ in range(5):
                calls = (inherited.run, images), (stem.stem, images), (body.body, features)
                logits, sent, again = pool.map(lambda call: call[0](call[1]), calls)
                assert np.array_equal(sent, features)
                assert np.array_equal(logits, wanted) and np.array_equal(again, wanted)
        own = networks.load(spec(2)).own
        assert own is not inherited
        before, limit = ticks(True), ticks(False) + 3000
        while len(os.sched_getaffinity(0)) > 1 and ticks(True) < before + 3:
            assert np.allclose(own.run(images), wanted, atol=1e-2)
            assert ticks(False) < limit, "nobody else computes in 30 s"
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
"""


def test_a_forked_process_answers_the_same_and_may_still_have_threads_of_its_own() -> None:
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(FORKED)],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )
    assert done.returncode == 0, done.stderr


def test_devices_share_what_was_loaded_before_they_were_forked() -> None:
    devices = [
        {"name": "end", "tier": "end", "network": "mobilenet"},
        {"name": "shares", "tier": "edge", "network": "resnet34", "count": 2},
        {"name": "loads", "tier": "edge", "network": "resnet34", "threads": 2},
    ]
    links = [{"from": "end", "to": "edge"}]
    system = Topology.from_dict({"name": "pair", "devices": devices, "links": links})
    job = Job(load_dataset(), images=8, batch_size=4)
    with DaskEngine(system, job) as engine:
        own = {name: psutil.Process(pid).memory_full_info().uss for name, pid in engine.pids.items()}
    assert own["shares-2"] < own["loads"] / 2  # its weights alone are 85 MB


def test_an_idle_device_hardly_ever_wakes() -> None:
    system = packaged_system(1, 1, 0)
    with DaskEngine(system, Job(load_dataset(), images=8, batch_size=4), compute="nothing") as engine:
        devices = [psutil.Process(engine.pids[device.name]) for device in system.devices]
        before = [device.num_ctx_switches().voluntary for device in devices]
        began_s = time.monotonic()
        time.sleep(3)
        taken_s = time.monotonic() - began_s
        woken = [device.num_ctx_switches().voluntary for device in devices]
    # Four heartbeats a second, and what Dask does: 12. With Dask's own setting, 57.
    for first, last in zip(before, woken, strict=True):
        assert (last - first) / taken_s < 30
