"""With TLS, who has no certificate of the authority neither connects nor learns anything; and a run works."""

from __future__ import annotations

import shutil
import socket
import ssl
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from distributed import Client
from distributed.security import Security
from doors import Door, listening, told, told_by_http
from systems import packaged_system

from hddnn.data.datasets import Job
from hddnn.engines.dask.client.engine import DaskEngine
from hddnn.engines.dask.wire.certificates import identity, issue
from hddnn.engines.dask.wire.tls import security
from hddnn.errors import ClusterError, InputError
from hddnn.policies import DEFAULT, Monitor
from hddnn.schemes import make_plan

SYSTEM = packaged_system(1, 1, 1)


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Return the certificates of the system, and those that another authority made for the same names."""
    ours, theirs = tmp_path_factory.mktemp("ours"), tmp_path_factory.mktemp("theirs")
    for folder in (ours, theirs):
        issue(folder, [device.name for device in SYSTEM.devices])
    return ours, theirs


@pytest.fixture(scope="module")
def engine(folders: tuple[Path, Path], small_job: Job) -> Iterator[DaskEngine]:
    with DaskEngine(SYSTEM, small_job, tls=folders[0]) as running:
        yield running


@pytest.fixture(scope="module")
def doors(engine: DaskEngine, folders: tuple[Path, Path]) -> list[Door]:
    """Return where the scheduler and every device speak Dask's protocol."""
    with Client(
        engine.scheduler_address, security=security(folders[0], "client"), set_as_default=False
    ) as client:
        addresses = [engine.scheduler_address, *client.scheduler_info(n_workers=-1)["workers"]]
    hosts = [address.removeprefix("tls://").rsplit(":", 1) for address in addresses]
    return [(host, int(port)) for host, port in hosts]


def test_a_run_with_certificates_is_like_any_other(engine: DaskEngine) -> None:
    assert engine.scheduler_address.startswith("tls://127.0.0.1:")
    for scheme, at in (("end-edge", "end"), ("end-cloud", "edge")):
        record = engine.execute(make_plan(scheme, SYSTEM, engine.job, engine.costs(), encode_at=at))
        assert record.complete
        assert (record.attempts == 1).all()


def test_plain_speech_gets_no_answer(engine: DaskEngine, doors: list[Door]) -> None:
    every = listening(engine.pids.values())
    assert every > set(doors)  # Dask starts an HTTP server in every process
    for door in every:
        # At most the alert by which TLS ends a connection, or HTTP's error: neither says anything of the system.
        said = told(door, b"\x00" * 64 + b"\r\n\r\n")
        assert len(said) <= 7 or said.startswith(b"HTTP/1.1 400 "), door
        assert not told_by_http(door), door


def test_without_certificates_the_same_questions_are_answered(small_job: Job) -> None:
    with DaskEngine(SYSTEM, small_job, compute="nothing") as engine:
        for name, pid in engine.pids.items():
            assert any("/health" in told_by_http(door) for door in listening([pid])), name


@pytest.mark.parametrize("who", ["nobody", "another authority's client"])
def test_without_a_certificate_of_the_authority_nobody_is_heard(
    doors: list[Door], folders: tuple[Path, Path], who: str
) -> None:
    context, known = _context(), _context(folders[0])
    if who != "nobody":
        context = _context(folders[1])
    for door in doors:
        assert _served(door, known), door  # else the refusal could be a dead port's
        assert not _served(door, context), door


def _context(folder: Path | None = None) -> ssl.SSLContext:
    """Return how a client that trusts anybody speaks TLS, with its certificate of a folder or none."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if folder is not None:
        files = identity(folder, "client")
        context.load_cert_chain(files.certificate, files.key)
    return context


def _served(door: Door, context: ssl.SSLContext) -> bytes:
    """Return what a server says to whoever speaks TLS with it; nothing, when it ends the connection."""
    try:
        with socket.create_connection(door, 5) as plain, context.wrap_socket(plain) as stream:
            # With TLS 1.3 the refusal comes with the first answer.
            stream.sendall(b"\x00" * 64)
            return stream.recv(4096)
    except (ssl.SSLError, ConnectionError):
        return b""


def test_a_client_does_not_talk_to_devices_of_another_authority(
    engine: DaskEngine, folders: tuple[Path, Path]
) -> None:
    stranger = security(folders[1], "client")
    with pytest.raises(OSError, match=r"certificate|TLS|SSL|Timed out"):
        Client(engine.scheduler_address, security=stranger, timeout=3, set_as_default=False)


def test_dask_itself_refuses_to_go_back_to_plain_speech(
    engine: DaskEngine, folders: tuple[Path, Path]
) -> None:
    plain = engine.scheduler_address.replace("tls://", "tcp://")
    with pytest.raises((OSError, RuntimeError), match="encryption"):
        Client(plain, security=security(folders[0], "client"), timeout=3, set_as_default=False)
    assert isinstance(security(folders[0], "client"), Security)
    assert security(None, "client") is None


def test_a_certificate_that_is_missing_is_named_before_anything_starts(
    tmp_path: Path, small_job: Job
) -> None:
    issue(tmp_path, ["end-1", "edge-1"])
    with pytest.raises(InputError, match=r"has no cloud-1.crt; make it with `hddnn certs"):
        DaskEngine(SYSTEM, small_job, tls=tmp_path)


def test_no_image_goes_to_whoever_has_registered_under_a_device_s_name(
    folders: tuple[Path, Path], tmp_path: Path, small_job: Job
) -> None:
    shutil.copytree(folders[0], tmp_path, dirs_exist_ok=True)
    for kind in ("crt", "key"):
        shutil.copy(tmp_path / f"cloud-1.{kind}", tmp_path / f"end-1.{kind}")
    with pytest.raises(ClusterError, match=r"registered as end-1 at tls://.* has the certificate of cloud-1"):
        DaskEngine(SYSTEM, small_job, tls=tmp_path).__enter__()


def test_no_image_is_pushed_to_an_address_where_another_device_is_now(engine: DaskEngine) -> None:
    discovered = engine._membership.discovered
    end = discovered["end-1"]
    discovered["end-1"] = replace(end, address=discovered["cloud-1"].address)
    try:
        engine.policy = Monitor(patience_s=0.2)
        record = engine.execute(make_plan("end-edge", SYSTEM, engine.job, engine.costs()))
    finally:
        discovered["end-1"], engine.policy = end, DEFAULT
    assert not any(str(outcome) == "ok" for outcome in record.outcome)
    assert not any(transfer.kind == "images" for transfer in record.transfers)


def test_emulated_devices_listen_on_the_loopback_alone(small_job: Job) -> None:
    with DaskEngine(SYSTEM, small_job, compute="nothing", dashboard=True) as engine:
        doors = listening(engine.pids.values())
    assert len(doors) >= 4
    assert {host for host, _ in doors} <= {"127.0.0.1", "::1"}
