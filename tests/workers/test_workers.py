"""The launch scripts: a scheduler and two devices as their users start them, and what is said to a wrong call."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from distributed.deploy import old_ssh
from doors import listening, told_by_http
from systems import packaged_system
from traps import LATER, lay, sprung
from waiting import PATIENCE_S, wait_until, wait_until_said

from hddnn.data.datasets import Job
from hddnn.engines.dask.client.engine import DaskEngine
from hddnn.engines.dask.wire.certificates import issue
from hddnn.errors import ClusterError
from hddnn.schemes import make_plan

FOLDER = Path(__file__).parents[2] / "workers"
SYSTEM = packaged_system(1, 1, 0)
# As in an activated environment.
ENVIRONMENT = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}


@pytest.fixture(autouse=True)
def traps(tmp_path: Path) -> Iterator[None]:
    """Have every script started where modules of the user's have the names of others; none of them is run."""
    lay(tmp_path, LATER)  # dask-ssh has a device start `python -m hddnn`
    yield
    assert sprung(tmp_path) == []


@pytest.fixture
def topology(tmp_path: Path) -> Path:
    path = tmp_path / "site.yaml"
    path.write_text(SYSTEM.to_yaml())
    return path


def started(
    stack: ExitStack, log: Path, says: str, *command: object, **variables: str
) -> subprocess.Popen[bytes]:
    """Start a script, and wait until it says that it is ready; it ends with the stack."""
    words = [str(word) for word in command]
    with log.open("wb") as file:
        process = subprocess.Popen(
            words, stdout=file, stderr=file, cwd=log.parent, env=ENVIRONMENT | variables
        )
    stack.callback(process.wait, PATIENCE_S)
    stack.callback(process.terminate)
    wait_until_said(says, log, process)
    return process


def address_in(file: Path) -> str:
    """Return the address in a scheduler's file, which it writes a moment after it says where it is."""
    text = wait_until(lambda: file.exists() and file.read_text().strip(), "the scheduler's file")
    address: str = json.loads(text)["address"]
    return address


def test_a_system_with_certificates_as_its_users_start_it(
    tmp_path: Path, topology: Path, small_job: Job
) -> None:
    certificates, file = tmp_path / "certs", tmp_path / "scheduler.json"
    issue(certificates, [device.name for device in SYSTEM.devices])
    with ExitStack() as stack:
        words = (FOLDER / "scheduler.sh", "--tls", certificates, "--port", 0, "--scheduler-file", file)
        pids = [started(stack, tmp_path / "scheduler.log", "Scheduler at", *words).pid]
        address = address_in(file)
        assert address.startswith("tls://")
        for device in SYSTEM.devices:
            log = tmp_path / f"{device.name}.log"
            script = FOLDER / f"{device.tier}.sh"
            words = (script, device.name, "--topology", topology, "--tls", certificates, address)
            pids.append(started(stack, log, "Registered to", *words).pid)
        for pid in pids:
            doors = listening([pid])
            assert len({port for _, port in doors}) == 2  # Dask's protocol, with TLS, and plain HTTP
            assert not [(door, paths) for door in doors if (paths := told_by_http(door))]
            # From other machines there is the first alone.
            assert len({port for host, port in doors if host not in ("127.0.0.1", "::1")}) == 1
        with DaskEngine(SYSTEM, small_job, address=address, tls=certificates) as engine:
            record = engine.execute(make_plan("end-edge", SYSTEM, small_job, engine.costs()))
        assert record.complete
        with pytest.raises(ClusterError, match="no Dask scheduler answers"):
            DaskEngine(SYSTEM, small_job, address=address.replace("tls", "tcp")).__enter__()


def typed_by_dask_ssh(monkeypatch: pytest.MonkeyPatch, address: str, worker: str) -> str:
    """Return the command that `dask ssh --remote-dask-worker WORKER` runs on a device."""
    monkeypatch.setattr(old_ssh, "async_ssh", lambda words: None)
    host, port = address.removeprefix("tcp://").split(":")
    here = (None, host, port, host, 0, 1, None, 22, None, False, None, None, None, sys.executable)
    command: str = old_ssh.start_worker(*here, remote_dask_worker=worker)["cmd"]
    return command


def test_devices_find_their_scheduler_as_any_dask_worker_does(
    tmp_path: Path, small_job: Job, monkeypatch: pytest.MonkeyPatch
) -> None:
    system, topology, file = packaged_system(2, 1, 0), tmp_path / "site.yaml", tmp_path / "shared.json"
    topology.write_text(system.to_yaml())
    with ExitStack() as stack:
        options = ("--host", "127.0.0.1", "--port", 0, "--dashboard-address", "127.0.0.1:0")
        words = (FOLDER / "scheduler.sh", *options, "--scheduler-file", file)
        scheduler = started(stack, tmp_path / "scheduler.log", "Scheduler at", *words)
        address = address_in(file)
        words = (FOLDER / "end.sh", "end-1", "--topology", topology, "--scheduler-file", file)
        end = started(stack, tmp_path / "end.log", "Registered to", *words)
        remote = f"hddnn worker $(printf end-2) --topology {topology}"
        words = ("sh", "-c", f"exec {typed_by_dask_ssh(monkeypatch, address, remote)}")
        started(stack, tmp_path / "ssh.log", "Registered to", *words)
        # Nothing but Dask's own command, and variables: as in a container, or in a batch system's job.
        variables = {
            "DASK_SCHEDULER_ADDRESS": address,
            "DASK_DISTRIBUTED__WORKER__PRELOAD": "hddnn.engines.dask.preload",
            "HDDNN_TOPOLOGY": str(topology),
            "HDDNN_HEARTBEAT": "0.5",
        }
        words = ("dask", "worker", "--name", "edge-1", "--resources", "edge=1")
        options = ("--nthreads", "1", "--no-nanny", "--memory-limit", "0")
        edge = started(stack, tmp_path / "edge.log", "Registered to", *words, *options, **variables)
        with DaskEngine(system, small_job, address=address) as engine:
            record = engine.execute(make_plan("end-edge", system, small_job, engine.costs()))
        assert record.complete
        # As a service manager ends them: at once, and devices when their scheduler has gone.
        edge.send_signal(signal.SIGTERM)
        edge.wait(PATIENCE_S)
        scheduler.send_signal(signal.SIGTERM)
        end.wait(PATIENCE_S)


def test_every_option_of_dask_goes_on(tmp_path: Path, topology: Path) -> None:
    words = (FOLDER / "end.sh", "end-1", "--topology", topology, "--death-timeout", "1", "tcp://127.0.0.1:9")
    done = subprocess.run(
        [*map(str, words)], capture_output=True, text=True, timeout=PATIENCE_S, cwd=tmp_path, env=ENVIRONMENT
    )
    assert done.returncode == 1
    assert "Registered" not in done.stderr


@pytest.mark.parametrize(
    ("script", "words", "says"),
    [
        ("end.sh", [], "Missing argument 'DEVICE'"),
        (
            "end.sh",
            ["end-1"],
            "no scheduler; give its address, such as tcp://10.0.0.1:8786, or --scheduler-file",
        ),
        ("end.sh", ["edge-1", "tcp://h:1"], "edge-1 is of tier edge, not end; start it with workers/edge.sh"),
        ("cloud.sh", ["cloud-9", "tcp://h:1"], "unknown device 'cloud-9'"),
        ("edge.sh", ["edge-1", "tls://h:1", "--tls", "none"], "none has no authority.crt; make it with"),
        ("scheduler.sh", ["--tls", "none"], "none has no authority.crt; make it with `hddnn certs none`"),
    ],
)
def test_a_script_that_is_called_wrongly_says_how(
    script: str, words: list[str], says: str, topology: Path, tmp_path: Path
) -> None:
    env = ENVIRONMENT | {"HDDNN_TOPOLOGY": str(topology)}
    done = subprocess.run(
        [str(FOLDER / script), *words],
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        env=env,
        cwd=tmp_path,
    )
    assert done.returncode == 2
    assert says in done.stderr
    assert len(done.stderr.splitlines()) == 1
