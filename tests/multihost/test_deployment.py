"""The page on deployment, followed to the letter on machines of their own: a job runs, and answers as emulated."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from hosts import Host, Network
from waiting import PATIENCE_S, wait_until

from hddnn.system.topology import Topology

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "how-to" / "deploy.md").read_text()
(SHOP,) = re.findall(r'```yaml title="shop.yaml"\n(.*?)```', PAGE, re.DOTALL)
SECTION = PAGE.partition("## Three blocks")[2].partition("\n## ")[0]
AT_SCHEDULER, ON_DEVICE, AT_CLIENT = re.findall(r"```sh\n(.*?)```", SECTION, re.DOTALL)
RATE_BPS = 20e6
JOIN = ("--topology", "shop.yaml", "--address", "tls://scheduler:8786", "--tls", "certs")

pytestmark = pytest.mark.multihost


class Shop:
    """The page's shop: its machines, and where its topology lies."""

    def __init__(self, network: Network, folder: Path) -> None:
        self.hosts, self.folder = network.hosts, folder
        self.topology = Topology.load(folder / "shop.yaml")
        self.devices = [network.hosts[device.name] for device in self.topology.devices]
        self.scheduler, self.client = network.hosts["scheduler"], network.hosts["client"]

    def copy(self, name: str) -> None:
        """Bring a machine what the page says that it gets."""
        folder = self.hosts[name].folder
        shutil.copy(self.folder / "shop.yaml", folder)
        made = self.scheduler.folder / "certs"
        (folder / "certs").mkdir()
        for file in ("authority.crt", f"{name}.crt", f"{name}.key"):
            shutil.copy(made / file, folder / "certs")


def block(host: Host, text: str) -> list[str]:
    """Return the words that run a block of the page, as typed into a shell."""
    script = host.folder / "block.sh"
    script.write_text(text)
    return ["sh", "-eu", str(script)]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    folder = tmp_path_factory.mktemp("shop")
    (folder / "shop.yaml").write_text(SHOP)
    names = [device.name for device in Topology.load(folder / "shop.yaml").devices]
    with Network(["scheduler", "client", *names], rate_bps=RATE_BPS, folder=folder) as network:
        place = Shop(network, folder)
        shutil.copy(folder / "shop.yaml", place.scheduler.folder)
        place.scheduler.start(block(place.scheduler, AT_SCHEDULER))
        log = place.scheduler.log
        wait_until(lambda: "Scheduler at" in log.read_text(), "the scheduler")
        for name in ("client", *names):
            place.copy(name)
        for device in place.devices:
            device.start(block(device, ON_DEVICE))
        yield place


def emulated(topology: Path, out: Path, *options: str) -> xr.Dataset:
    """Return the cube of 2,000 images, emulated on this machine alone."""
    words = (
        "-m",
        "hddnn",
        "run",
        "--topology",
        str(topology),
        "--schemes",
        "end-edge,mapping",
        "--images",
        "2000",
    )
    more = ("--out", str(out), *options)
    subprocess.run([sys.executable, *words, *more], check=True, capture_output=True, timeout=PATIENCE_S)
    return xr.open_dataset(out)


@pytest.fixture(scope="module")
def reference(shop: Shop) -> xr.Dataset:
    return emulated(shop.folder / "shop.yaml", shop.folder / "emulated.nc")


def assert_same_answers(cube: xr.Dataset, reference: xr.Dataset) -> None:
    """Compare image by image; a job walks through the reference's images, again and again where it has more."""
    for stage in ("coarse_label", "fine_label"):
        for scheme in cube.scheme.values:
            expected = reference[stage].sel(scheme=scheme).values
            answered = cube[stage].sel(scheme=scheme).values
            np.testing.assert_array_equal(answered, np.resize(expected, answered.shape))


def test_three_blocks_and_a_job_finishes_with_the_answers_of_the_emulated_one(
    shop: Shop, reference: xr.Dataset
) -> None:
    told = shop.client.run(block(shop.client, AT_CLIENT))
    assert told.count(" live ") == len(shop.devices)
    cube = xr.open_dataset(shop.client.folder / "results" / "run.nc")
    assert (cube.outcome == "ok").all()
    assert list(cube.scheme.values) == ["end-edge", "mapping"]
    # Bandwidth is limited: every image left the client by its one cable.
    assert (cube.makespan_s > 0.9 * cube.sizes["image"] * 32 * 32 * 3 * 8 / RATE_BPS).all()
    assert_same_answers(cube, reference)


def test_a_cut_cable_and_a_stopped_host_lose_nothing_and_return(shop: Shop, reference: xr.Dataset) -> None:
    """8,000 images take the client's cable 10 s at least."""
    camera, gateway, client = shop.hosts["camera-2"], shop.hosts["gateway-1"], shop.client
    job = ("--schemes", "end-edge", "--images", "8000", "--out", "faults.nc")
    before, process = client.sent_bytes(), client.start(["hddnn", "run", *JOIN, *job])

    def noticed(*news: str) -> bool:
        assert process.poll() is None, client.log.read_text()
        return all(line in client.log.read_text() for line in news)

    # A tenth of the images is out; what came before, to get to know the devices, is far less.
    wait_until(lambda: noticed() and client.sent_bytes() - before > 800 * 32 * 32 * 3, "the job's beginning")
    camera.cut()
    gateway.stop()
    left = ("camera-2 left: it does not answer", "gateway-1 left: its process ended")
    wait_until(lambda: noticed(*left), "the devices to be missed")
    camera.mend()
    assert process.wait(PATIENCE_S) == 0, client.log.read_text()
    assert "camera-2 is back: it answers" in client.log.read_text()
    cube = xr.open_dataset(client.folder / "faults.nc")
    assert (cube.outcome == "ok").all()
    assert_same_answers(cube, reference)
    left_s = cube.left_s.sel(scheme="end-edge")
    assert (left_s.sel(device=["camera-2", "gateway-1"]) > 0).all()
    # What was on its way when the cable was cut may still have arrived; half a second later nothing has.
    late = cube.coarse_s > float(left_s.sel(device="camera-2")) + 0.5
    assert ((cube.end_device == "camera-2") & late).any()
    # A host that was started again takes part in the next job, which asks for it.
    gateway.start(block(gateway, ON_DEVICE))
    client.run(block(client, AT_CLIENT))
    cube = xr.open_dataset(client.folder / "results" / "run.nc")
    assert (cube.upper_device == "gateway-1").any()
    assert_same_answers(cube, reference)


@pytest.mark.slow
def test_the_papers_thirteen_devices_on_thirteen_hosts(tmp_path: Path) -> None:
    """Started by the scripts, one a tier, with certificates; edge-3, edge-4 and the cloud get features alone."""
    topology = Topology.load("paper")
    names = [device.name for device in topology.devices]
    with Network(["scheduler", "client", *names], rate_bps=100e6, folder=tmp_path) as network:
        scheduler, client = network.hosts["scheduler"], network.hosts["client"]
        scheduler.run(["hddnn", "certs", str(tmp_path / "certs")])
        certificates = ("--tls", str(tmp_path / "certs"))
        scheduler.start([str(ROOT / "workers" / "scheduler.sh"), *certificates])
        address = "tls://scheduler:8786"
        for device in topology.devices:
            script = str(ROOT / "workers" / f"{device.tier}.sh")
            network.hosts[device.name].start([script, device.name, *certificates, address])
        at = ("--address", address, *certificates)
        client.run(["hddnn", "status", *at, "--topology", "paper", "--wait", "120"])
        client.run(["hddnn", "run", *at, "--schemes", "end-edge,mapping"])
        cube = xr.open_dataset(client.folder / "results" / "run.nc")
    assert (cube.outcome == "ok").all()
    assert set(np.unique(cube.end_device)) == {f"end-{n}" for n in range(1, 9)}
    assert_same_answers(cube, emulated(Path("paper"), tmp_path / "emulated.nc", "--time-scale", "0.05"))
