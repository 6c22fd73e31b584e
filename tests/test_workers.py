"""The launch scripts, with certificates: a scheduler and two devices as their users start them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from contextlib import ExitStack
from pathlib import Path

import pytest
from doors import listening, told_by_http
from systems import packaged_system

from hddnn.certificates import issue
from hddnn.data import Job
from hddnn.engines.dask.engine import DaskEngine
from hddnn.errors import ClusterError
from hddnn.schemes import make_plan

FOLDER = Path(__file__).parents[1] / "workers"
SYSTEM = packaged_system(1, 1, 0)


def started(stack: ExitStack, log: Path, says: str, *command: object) -> int:
    """Start a script, and wait until it says that it is ready; it ends with the stack. Return its process."""
    # As in an activated environment.
    env = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    words = [str(word) for word in command]
    with log.open("wb") as file:
        process = subprocess.Popen(words, stdout=file, stderr=file, cwd=log.parent, env=env)
    stack.callback(process.wait, 20)
    stack.callback(process.terminate)
    deadline_s = time.monotonic() + 60
    while says not in log.read_text():
        assert time.monotonic() < deadline_s, log.read_text()
        assert process.poll() is None, log.read_text()
        time.sleep(0.1)
    return process.pid


def test_a_system_with_certificates_as_its_users_start_it(tmp_path: Path, small_job: Job) -> None:
    topology, certificates = tmp_path / "site.yaml", tmp_path / "certs"
    topology.write_text(SYSTEM.to_yaml())
    issue(certificates, [device.name for device in SYSTEM.devices])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    address = f"tls://127.0.0.1:{port}"
    with ExitStack() as stack:
        script = FOLDER / "scheduler.sh"
        pids = [started(stack, tmp_path / "scheduler.log", "Scheduler at", script, port, certificates)]
        for device in SYSTEM.devices:
            log = tmp_path / f"{device.name}.log"
            script = FOLDER / "device.sh"
            words = (device.name, device.tier, topology, address, certificates)
            pids.append(started(stack, log, "Registered to", script, *words))
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


@pytest.mark.parametrize(("script", "words"), [("device.sh", ["end-1"]), ("scheduler.sh", ["1", "2", "3"])])
def test_a_script_that_is_called_wrongly_says_how(script: str, words: list[str]) -> None:
    done = subprocess.run([FOLDER / script, *words], capture_output=True, text=True, timeout=20)
    assert done.returncode == 2
    assert f"workers/{script} " in done.stderr
