"""`hddnn profile`: what it writes and says, what it refuses, and how it stops."""

from __future__ import annotations

import asyncio
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from systems import packaged_system
from waiting import PATIENCE_S, wait_until_said

from hddnn.cli.main import main
from hddnn.engines.dask.cluster.processes import LocalProcesses
from hddnn.engines.dask.wire.certificates import issue
from hddnn.engines.dask.wire.messages import DeviceSpec
from hddnn.system.topology import Topology

#: Modelled times and links, so that the measured ones are seen to stand in their place.
SYSTEM = packaged_system(2, 1, 1, seconds_per_image=5.0, latency_s=30.0)


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run each command in a folder of its own, with a topology file there."""
    monkeypatch.chdir(tmp_path)
    Path("site.yaml").write_text("# by hand\n" + SYSTEM.to_yaml())
    return tmp_path


def hddnn(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


def profile(*words: object) -> Result:
    return hddnn("profile", "--topology", "site.yaml", "--rounds", 3, "--batch", 10, "--images", 60, *words)


def test_the_new_file_has_measured_numbers_for_all_devices_and_links_and_runs_everywhere() -> None:
    result = profile("--out", "below/new.yaml", "--schemes", "end-edge,end-cloud")
    assert result.exit_code == 0, result.stderr
    text = Path("below/new.yaml").read_text()
    new = Topology.load("below/new.yaml")
    assert [device.at_own_speed() for device in new.devices] == [d.at_own_speed() for d in SYSTEM.devices]
    assert (new.name, new.schemes) == ("small", {"mapping": {"n_map": 1}})
    held = {device.name: set(device.seconds_per_image) for device in new.devices}
    assert held == {
        "end-1": {"mobilenet", "wrn16_4:stem"},
        "end-2": {"mobilenet", "wrn16_4:stem"},
        "edge-1": {"resnet34", "wrn16_4:stem"},
        "cloud-1": {"wrn16_4"},
    }
    for device in new.devices:
        for network, seconds in device.seconds_per_image.items():
            assert 0 <= seconds < 1
            assert 0 < seconds + device.seconds_per_batch.get(network, 0) < 1
            assert re.search(
                rf"# {device.name}, {network}: \S+ ms for 10 \(.*\); \S+ ms a batch \+ \S+ ms an image", text
            )
    assert [(link.source, link.target) for link in new.links] == [
        ("end", "edge"),
        ("end", "cloud"),
        ("edge", "cloud"),
    ]
    assert all(0 < link.latency_s < 1 and link.mode == "overlapped" for link in new.links)

    assert max(map(len, result.stdout.splitlines())) <= 80
    assert "…" not in result.stdout
    for word in (
        "wrn16_4:stem",
        "end to cloud",
        "Mbit/s",
        "quartiles",
        "simu-",
        "measured",
        "below/new.yaml",
    ):
        assert word in result.stdout
    (row,) = [line.split() for line in result.stdout.splitlines() if line.startswith("end-cloud")]
    predicted, measured = max(float(row[3]), float(row[4])), float(row[5])
    assert float(row[-1]) == pytest.approx(measured / predicted, rel=0.05)
    for told in ("networks: 7 measured", "links: 5 measured", "end-edge: 18 of 18 batches"):
        assert told in result.stderr

    for engine in ("sim", "closed"):
        run = hddnn("run", "--engine", engine, "--topology", "below/new.yaml", "--images", 60)
        assert run.exit_code == 0, run.stderr


def test_devices_behind_an_address_are_measured_over_encrypted_connections() -> None:
    issue(Path("tls"), [device.name for device in SYSTEM.devices])
    specs = [DeviceSpec.of(SYSTEM, device.name, batch_size=10, emulate=False) for device in SYSTEM.devices]

    async def measured() -> Result:
        async with LocalProcesses(specs, dashboard=False, tls=Path("tls")) as processes:
            options = ("--address", processes.address, "--tls", "tls", "--out", "new.yaml")
            return await asyncio.to_thread(profile, *options, "--schemes", "mapping")

    result = asyncio.run(measured())
    assert result.exit_code == 0, result.stderr
    assert "end to cloud" in result.stdout
    assert "Cores' limit" not in result.stdout  # what cores the devices have is not known here
    assert all(0 < link.latency_s < 1 for link in Topology.load("new.yaml").links)


def test_in_place_the_file_is_replaced() -> None:
    result = profile("--in-place", "--schemes", "end")
    assert result.exit_code == 0, result.stderr
    assert Topology.load("site.yaml").device("end-1").seconds_per_image["mobilenet"] < 1
    assert [path.name for path in Path().iterdir()] == ["site.yaml"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ((), ("either --out FILE or --in-place",)),
        (("--out", "new.yaml", "--in-place"), ("either --out FILE or --in-place",)),
        (("--out", "./site.yaml"), ("site.yaml is the topology itself", "--in-place")),
        (("--out", "new.nc"), ("new.nc", "end with .yaml")),
        (("--out", "site.yaml/new.yaml"), ("site.yaml is not a folder",)),
        (("--topology", "paper", "--in-place"), ("paper is a packaged topology", "--out FILE")),
        (("--topology", "none.yaml", "--out", "new.yaml"), ("none.yaml: no such file",)),
        (("--topology", "none.yaml", "--out", "site.yaml"), ("none.yaml: no such file",)),
        (("--out", f"new/{'x' * 400}.yaml"), ("a name in it is too long",)),
        (("--out", "new.yaml", "--schemes", "end,up"), ("unknown scheme 'up'",)),
        (("--out", "new.yaml", "--codec", "int3"), ("int3",)),
        (("--out", "new.yaml", "--rounds", 2), ("--rounds", "x>=3")),
        (("--out", "new.yaml", "--data", "nowhere"), ("nowhere",)),
        (("--out", "new.yaml", "--address", "here"), ("address 'here' is none",)),
        (("--out", "new.yaml", "--address", "tcp://127.0.0.1:1"), ("no Dask scheduler answers",)),
        (("--out", "new.yaml", "--address", "tls://127.0.0.1:1"), ("TLS go together",)),
        (("--out", "new.yaml", "--tls", "nowhere"), ("nowhere has no authority.crt",)),
    ],
)
def test_what_cannot_be_is_refused_in_one_line(options: tuple[object, ...], words: tuple[str, ...]) -> None:
    result = profile(*options)
    assert result.exit_code == 2
    line = [line for line in result.stderr.splitlines() if line.startswith("hddnn: ")]
    assert result.stderr.splitlines() == line
    assert len(line) == 1
    assert [word for word in words if word not in line[0]] == []
    assert [path.name for path in Path().iterdir()] == ["site.yaml"]


@pytest.mark.parametrize(
    ("options", "seen", "said", "written"),
    [
        (("--rounds", "100000"), "devices: 4 ready", "nothing was written", False),
        (
            ("--rounds", "3", "--images", "20000"),
            "links: 5 measured",
            "stopped before the end of end",
            True,
        ),
    ],
)
def test_ctrl_c_ends_all_and_keeps_what_was_measured(
    options: tuple[str, ...], seen: str, said: str, written: bool
) -> None:
    command = [
        sys.executable,
        "-m",
        "hddnn",
        "profile",
        "--topology",
        "site.yaml",
        "--out",
        "new.yaml",
        *options,
    ]
    with Path("told").open("wb") as told:
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=told)
    try:
        wait_until_said(seen, Path("told"), process)
        time.sleep(0.5)
        process.send_signal(signal.SIGINT)
        assert process.wait(PATIENCE_S) == 1
    finally:
        process.kill()
        process.wait()
    text = Path("told").read_text()
    assert said in text.splitlines()[-1]
    assert "Traceback" not in text
    assert Path("new.yaml").exists() == written
