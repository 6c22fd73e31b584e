"""`hddnn up` and `hddnn status`: a system of real processes is started, looked at, hurt, and comes back."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
from click.testing import CliRunner
from doors import ipv6, listening
from systems import packaged_system
from waiting import PATIENCE_S, wait_until

from hddnn.cli.main import main
from hddnn.engines.dask.client.supervisor import Pauses

SYSTEM = packaged_system(1, 1, 0)


class Up:
    """A running `hddnn up`, and what it says."""

    def __init__(self, folder: Path, *options: str) -> None:
        self.topology = folder / "small.yaml"
        self.topology.write_text(SYSTEM.to_yaml())
        self._out, self._err = folder / "out", folder / "err"
        words = ("-m", "hddnn", "up", "--topology", str(self.topology), "--port", "0", *options)
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen([sys.executable, *words], stdout=out, stderr=err)
        wait_until(lambda: self.starts or self.process.poll() is not None, "all to be up")
        assert self.process.poll() is None, self.said

    @property
    def starts(self) -> list[str]:
        """Return the scheduler's address, each time that it was told."""
        return re.findall(r"2 devices ready at (\S+)\n", self._out.read_text())

    @property
    def said(self) -> list[str]:
        return self._err.read_text().splitlines()

    def hurt(self, address: str, how: signal.Signals = signal.SIGKILL) -> None:
        """Send a signal to the process that listens at an address; by default it ends, as in a crash."""
        port = int(address.rsplit(":", 1)[1])
        own = psutil.Process(self.process.pid)
        (pid,) = [
            p.pid for p in own.children(recursive=True) if port in {port for _, port in listening([p.pid])}
        ]
        os.kill(pid, how)

    def status(self, *options: str) -> dict[str, dict[str, Any]]:
        """Return each device as `hddnn status` tells of it, by name."""
        words = ["status", "--address", self.starts[-1], "--json", *options]
        done = CliRunner().invoke(main, words)
        self.code = done.exit_code
        return {one["name"]: one for one in json.loads(done.stdout)}


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    running = Up(tmp_path_factory.mktemp("up"))
    yield running
    running.process.kill()
    running.process.wait(PATIENCE_S)


def test_status_tells_of_each_device(up: Up) -> None:
    found = up.status()
    assert up.code == 0
    assert [(one["tier"], one["network"]) for one in found.values()] == [
        ("end", "mobilenet"),
        ("edge", "resnet34"),
    ]
    for one in found.values():
        assert (one["state"], one["queue"], one["trusted"]) == ("live", 0, True)
        assert one["round_trip_s"] > 0
        assert one["memory_bytes"] > 5e7


def test_status_tells_what_is_missing_or_silent_or_unknown(up: Up, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(packaged_system(2, 0, 1).to_yaml())
    found = up.status("--topology", str(other))
    assert {name: one["state"] for name, one in found.items()} == {
        "end-1": "live",
        "end-2": "missing",
        "cloud-1": "missing",
        "edge-1": "unknown",
    }
    assert found["cloud-1"]["network"] == "wrn16_4"
    assert found["cloud-1"]["trusted"] is False
    words = ["status", "--address", up.starts[-1], "--topology", str(other), "--wait", "0.1"]
    done = CliRunner().invoke(main, words)
    assert done.exit_code == 1
    assert done.stderr == "hddnn: not live: end-2 (missing), cloud-1 (missing)\n"
    assert re.search(r"^cloud-1 +cloud +missing +wrn16_4 +undependable +- +- +-$", done.stdout, re.MULTILINE)
    assert max(map(len, done.stdout.splitlines())) <= 80


def test_status_without_a_scheduler_says_so() -> None:
    for address, says in (
        ("tcp://127.0.0.1:9", "no Dask scheduler answers at"),
        ("here", "address 'here' is none"),
    ):
        done = CliRunner().invoke(main, ["status", "--address", address])
        assert done.exit_code == 2
        assert says in done.stderr
        assert len(done.stderr.splitlines()) == 1


def test_a_system_that_cannot_start_says_why(up: Up, tmp_path: Path) -> None:
    taken = up.starts[-1].rsplit(":", 1)[1]
    for options, says in (
        (
            ("--port", taken),
            "hddnn: the scheduler did not start: OSError: [Errno 98] Address already in use\n",
        ),
        (
            ("--port", "0", "--tls", "none"),
            f"hddnn: none has no authority.crt; make it with `hddnn certs none --topology {up.topology}`\n",
        ),
    ):
        words = ("-m", "hddnn", "up", "--topology", str(up.topology), *options)
        done = subprocess.run(
            [sys.executable, *words], capture_output=True, text=True, timeout=PATIENCE_S, cwd=tmp_path
        )
        assert (done.returncode, done.stderr) == (2, says)


def test_all_may_listen_at_ipv6(tmp_path: Path) -> None:
    up = Up(tmp_path, "--host", ipv6("::1"))
    try:
        assert up.starts[0].startswith("tcp://[::1]:")
        found = up.status()
        assert up.code == 0
        assert all(one["address"].startswith("tcp://[::1]:") for one in found.values())
        without = CliRunner().invoke(main, ["status", "--address", up.starts[0].removeprefix("tcp://")])
        assert without.exit_code == 0
        up.process.terminate()
        assert up.process.wait(PATIENCE_S) == 0
    finally:
        up.process.kill()
        up.process.wait(PATIENCE_S)


def test_what_hangs_comes_back(up: Up) -> None:
    before = up.status()
    up.hurt(before["end-1"]["address"], signal.SIGSTOP)
    wait_until(lambda: "hddnn: end-1 did not answer for 15 s; its process is ended" in up.said, "the news")
    wait_until(lambda: "hddnn: end-1 is back" in up.said, "end-1")
    after = up.status("--topology", str(up.topology), "--wait", "30")
    assert up.code == 0
    assert after["end-1"]["address"] != before["end-1"]["address"]
    assert after["edge-1"]["address"] == before["edge-1"]["address"]


def test_what_dies_comes_back_until_all_is_ended(up: Up) -> None:
    (address,), before = up.starts, up.status()
    for pause in ("1", "2"):  # each time a longer one
        up.hurt(up.status()["edge-1"]["address"])
        wait_until(lambda: f"hddnn: edge-1 ended; it starts again in {pause} s" in up.said, "the news")  # noqa: B023
        back = int(pause)
        wait_until(lambda: up.said.count("hddnn: edge-1 is back") == back, "edge-1")  # noqa: B023
    after = up.status("--topology", str(up.topology), "--wait", "30")
    assert up.code == 0
    assert after["edge-1"]["address"] != before["edge-1"]["address"]
    assert after["end-1"]["address"] == before["end-1"]["address"]
    up.hurt(address)
    wait_until(lambda: len(up.starts) == 2, "all to start again")
    assert up.starts == [address, address]
    up.status("--topology", str(up.topology), "--wait", "30")
    assert up.code == 0
    children = psutil.Process(up.process.pid).children(recursive=True)
    up.process.send_signal(signal.SIGTERM)
    assert up.process.wait(PATIENCE_S) == 0
    assert up.said[-1] == "hddnn: all ended"
    _, left = psutil.wait_procs(children, 10)
    assert not left


def test_pauses_grow_and_are_forgotten() -> None:
    pauses = Pauses()
    ends_s = (0, 5, 10, 20, 40, 80, 140, 210)
    assert [pauses.next("edge-1", now_s) for now_s in ends_s] == [1, 2, 4, 8, 16, 32, 60, 60]
    assert pauses.next("cloud", 211.0) == 1
    assert pauses.next("edge-1", 331.0) == 1  # it ran for more than a minute
