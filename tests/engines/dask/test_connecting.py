"""Whatever is at an address, or hangs behind it: each wait has an end, one line says why, and nothing is left."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner
from listeners import LISTENERS, TLS_LISTENERS, web_server
from PIL import Image
from systems import packaged_system
from waiting import PATIENCE_S

from hddnn.cli.main import main
from hddnn.data.datasets import Job
from hddnn.engines.dask.client.engine import DaskEngine
from hddnn.engines.dask.client.status import statuses
from hddnn.engines.dask.client.supervisor import silence
from hddnn.engines.dask.cluster.processes import LocalProcesses
from hddnn.engines.dask.wire import connecting
from hddnn.engines.dask.wire.certificates import issue
from hddnn.engines.dask.wire.connecting import answered, close, connect, leave_when_silent
from hddnn.engines.dask.wire.messages import DeviceSpec
from hddnn.errors import ClusterError
from hddnn.schemes import make_plan

SYSTEM = packaged_system(1, 1, 0)
SPECS = [DeviceSpec.of(SYSTEM, device.name, compute="nothing") for device in SYSTEM.devices]
EVERY = {**LISTENERS, **TLS_LISTENERS}
SOME = ("nobody", "a web server", "a mail server", "plain speech to TLS", "TLS to plain speech")
#: How a command is told where the scheduler is, beside the address.
COMMANDS = {
    "status": ["status"],
    "classify": ["classify", "{folder}/one.png"],
    "serve": ["serve", "--port", "0"],
    "profile": ["profile", "--out", "{folder}/new.yaml", "--topology", "laptop"],
    "run": ["run", "--out", "{folder}/run.nc", "--topology", "laptop"],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with an image, and with the certificates of a client and a scheduler."""
    made = tmp_path_factory.mktemp("here")
    Image.new("RGB", (32, 32)).save(made / "one.png")
    issue(made / "certs", [])
    return made


@pytest.fixture
def short(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connecting, "CONNECT_TIMEOUT_S", 0.6)
    monkeypatch.setattr(connecting, "GREETING_TIMEOUT_S", 0.4)


@pytest.mark.timeout(PATIENCE_S)
@pytest.mark.parametrize("name", EVERY)
def test_whatever_listens_there_is_told_in_one_line(
    name: str, folder: Path, short: None, capfd: pytest.CaptureFixture[str]
) -> None:
    async def tried(address: str, tls: Path | None) -> str:
        with pytest.raises(ClusterError) as error:
            await connect(address, tls)
        assert asyncio.all_tasks() == {asyncio.current_task()}
        return str(error.value)

    with EVERY[name](folder / "certs") as address:
        tls = folder / "certs" if address.startswith("tls") else None
        said = asyncio.run(tried(address, tls))
    assert said.startswith(f"no Dask scheduler answers at {address} (")
    assert len(said.splitlines()) == 1
    assert "Error" not in said
    gc.collect()  # of what is left open the end is told then
    assert capfd.readouterr() == ("", "")


@pytest.mark.timeout(PATIENCE_S)
@pytest.mark.parametrize("name", SOME)
@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_that_connects_says_so_and_ends(
    command: str, name: str, folder: Path, short: None, capfd: pytest.CaptureFixture[str]
) -> None:
    with EVERY[name](folder / "certs") as address:
        words = [word.format(folder=folder) for word in COMMANDS[command]]
        tls = ["--tls", str(folder / "certs")] if address.startswith("tls") else []
        done = CliRunner().invoke(main, [*words, "--address", address, *tls])
    assert done.exit_code == 2, done.stderr
    *before, said = done.stderr.splitlines()
    assert said.startswith(f"hddnn: no Dask scheduler answers at {address} (")
    assert before == (["joining the devices of laptop"] if command == "serve" else [])
    assert capfd.readouterr() == ("", "")


@pytest.mark.timeout(PATIENCE_S)
def test_the_command_line_itself_ends(folder: Path) -> None:
    with web_server(folder) as address:
        done = subprocess.run(
            [sys.executable, "-m", "hddnn", "status", "--address", address],
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
    assert done.returncode == 2
    assert done.stderr == (
        f"hddnn: no Dask scheduler answers at {address} (something listens there and says nothing for 5 s); "
        "start one with 'dask scheduler', or give the address of one\n"
    )
    assert done.stdout == ""


def test_an_address_whose_port_is_none_is_refused() -> None:
    done = CliRunner().invoke(main, ["status", "--address", "tcp://127.0.0.1:65536"])
    assert (done.exit_code, len(done.stderr.splitlines())) == (2, 1)
    assert "address 'tcp://127.0.0.1:65536' is none" in done.stderr


@pytest.fixture
def stopped() -> Iterator[list[int]]:
    """Yield a list of processes that are stopped, and go on at the end."""
    pids: list[int] = []
    yield pids
    for pid in pids:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.timeout(PATIENCE_S)
def test_a_scheduler_that_hangs_is_waited_for_no_longer_than_its_answer_takes(
    monkeypatch: pytest.MonkeyPatch, stopped: list[int]
) -> None:
    for name, limit_s in (
        ("ANSWER_TIMEOUT_S", 0.5),
        ("CLOSE_TIMEOUT_S", 0.5),
        ("PATIENCE_S", 0.3),
        ("ASK_S", 0.1),
    ):
        monkeypatch.setattr(connecting, name, limit_s)

    async def tried() -> None:
        async with LocalProcesses(SPECS, dashboard=False) as processes:
            first, second = [await connect(processes.address) for _ in range(2)]
            (device, *_) = (await first.scheduler.identity(n_workers=-1))["workers"]
            with pytest.raises(ClusterError, match="does not speak Dask's protocol"):
                await statuses(device, None, None)  # the address of a device
            os.kill(processes.pids["scheduler"], signal.SIGSTOP)
            stopped.append(processes.pids["scheduler"])
            with pytest.raises(
                ClusterError, match=r"the scheduler does not answer within 0\.5 s; start it again"
            ):
                await answered(first.scheduler.identity(), "the scheduler")
            for _ in range(20):  # more than the connection holds
                first.scheduler_comm.send({"op": "log-event", "topic": "x", "msg": b"x" * 1_000_000})
            await close(first)
            assert first.status == "closed"
            assert second.status == "running"
            await leave_when_silent(second)
            assert second.status == "closed"
            os.kill(processes.pids["scheduler"], signal.SIGCONT)
            stopped.clear()
        assert asyncio.all_tasks() == {asyncio.current_task()}

    asyncio.run(tried())


@pytest.mark.timeout(PATIENCE_S)
def test_a_job_whose_scheduler_hangs_ends(monkeypatch: pytest.MonkeyPatch, small_job: Job) -> None:
    for name, limit_s in (("PATIENCE_S", 0.5), ("ASK_S", 0.1)):
        monkeypatch.setattr(connecting, name, limit_s)
    system = packaged_system(1, 1, 0, seconds_per_image=0.01)  # 1.7 s in all
    with DaskEngine(system, small_job, compute="nothing") as engine:
        pid, answers = engine.pids["scheduler"], []

        def stop_it(stage: str, batch: int, ended: bool) -> None:
            answers.append(batch)
            if len(answers) == 2:
                os.kill(pid, signal.SIGSTOP)

        record = engine.execute(make_plan("end-edge", system, small_job, engine.costs()), stop_it)
        assert "failed: the scheduler left" in set(record.outcome)
        with pytest.raises(ClusterError, match="the scheduler left; start again"):
            engine.execute(make_plan("end-edge", system, small_job, engine.costs()))


@pytest.mark.timeout(PATIENCE_S)
def test_a_scheduler_that_is_kept_up_and_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, limit_s in (("PATIENCE_S", 0.5), ("ASK_S", 0.1)):
        monkeypatch.setattr(connecting, name, limit_s)
    told: list[str] = []

    async def kept() -> None:
        async with LocalProcesses(SPECS, dashboard=False) as processes, silence(processes, None, told.append):
            await asyncio.sleep(1)  # one that is well stays
            assert "scheduler" in processes.pids
            os.kill(processes.pids["scheduler"], signal.SIGSTOP)
            while "scheduler" in processes.pids:
                await asyncio.sleep(0.05)

    asyncio.run(kept())
    assert told == ["the scheduler does not answer; its process is ended"]
