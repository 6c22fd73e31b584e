"""Certificates: one authority, one for each device, readable by their owner alone."""

from __future__ import annotations

import datetime
import shlex
import stat
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.x509.verification import PolicyBuilder, Store

from hddnn.cli.main import main
from hddnn.engines.dask.wire.certificates import identity, issue
from hddnn.errors import CertificateError, InputError


def load(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def test_every_device_gets_one_of_its_own_and_only_its_owner_can_read_it(tmp_path: Path) -> None:
    folder = tmp_path / "certs"
    assert issue(folder, ["end-1", "edge-1"]) == ["scheduler", "client", "end-1", "edge-1"]
    names = {"authority", "scheduler", "client", "end-1", "edge-1"}
    assert {path.name for path in folder.iterdir()} == {
        f"{n}.{kind}" for n in names for kind in ("crt", "key")
    }
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
    authority = load(folder / "authority.crt")
    for name in names - {"authority"}:
        certificate = load(folder / f"{name}.crt")
        certificate.verify_directly_issued_by(authority)
        (common,) = certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)
        assert common.value == name
        assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
        left = certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
        assert datetime.timedelta(days=364) < left <= datetime.timedelta(days=365)
    keys = {load(folder / f"{name}.crt").public_key().public_numbers() for name in names}
    assert len(keys) == len(names)
    for name in names - {"authority"}:
        verifier = PolicyBuilder().store(Store([authority])).build_client_verifier()
        assert verifier.verify(load(folder / f"{name}.crt"), [])


def test_devices_can_be_added_by_the_same_authority(tmp_path: Path) -> None:
    issue(tmp_path, ["end-1"])
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    assert issue(tmp_path, ["end-1", "end-2"]) == ["end-2"]
    assert {name: (tmp_path / name).read_bytes() for name in before} == before
    load(tmp_path / "end-2.crt").verify_directly_issued_by(load(tmp_path / "authority.crt"))
    assert issue(tmp_path, ["end-1", "end-2"]) == []


def test_what_lacks_its_key_or_has_expired_is_made_anew(tmp_path: Path) -> None:
    issue(tmp_path, ["end-1"])
    issue(tmp_path, ["end-2"], days=0)  # it held from a day until an hour ago
    (tmp_path / "end-1.key").unlink()
    with pytest.raises(InputError, match=r"has no end-1\.key; make it with `hddnn certs "):
        identity(tmp_path, "end-1")
    with pytest.raises(
        InputError, match=r"end-2\.crt has expired or is damaged; make it anew with `hddnn certs "
    ):
        identity(tmp_path, "end-2")
    kept = (tmp_path / "client.crt").read_bytes()
    assert issue(tmp_path, ["end-1", "end-2"]) == ["end-1", "end-2"]
    assert (tmp_path / "client.crt").read_bytes() == kept
    authority = load(tmp_path / "authority.crt")
    for name in ("end-1", "end-2"):
        load(identity(tmp_path, name).certificate).verify_directly_issued_by(authority)


def test_an_authority_that_has_expired_makes_nothing(tmp_path: Path) -> None:
    issue(tmp_path, [], days=0)
    with pytest.raises(InputError, match="has expired; begin a new folder"):
        issue(tmp_path, ["end-1"])
    # In this folder the command would make nothing.
    with pytest.raises(InputError, match=r"authority\.crt has expired .* with `hddnn certs NEW`$"):
        identity(tmp_path, "client")


@pytest.mark.parametrize("name", ["client", "scheduler", "authority"])
def test_a_device_cannot_pass_for_another(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=rf"cannot be named {name}"):
        issue(tmp_path / "certs", ["end-1", name])
    assert not (tmp_path / "certs").exists()


def test_half_an_authority_makes_nothing(tmp_path: Path) -> None:
    issue(tmp_path, [])
    (tmp_path / "authority.key").unlink()
    with pytest.raises(InputError, match=r"authority\.key is needed"):
        issue(tmp_path, ["end-1"])
    assert not (tmp_path / "end-1.crt").exists()
    (tmp_path / "authority.key").write_text("no key")
    with pytest.raises(InputError, match="begin a new folder"):
        issue(tmp_path, ["end-1"])


def test_what_is_missing_is_named_with_its_remedy(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"has no authority\.crt; make it with `hddnn certs "):
        identity(tmp_path, "client")
    issue(tmp_path, [])
    assert identity(tmp_path, "client").key == tmp_path / "client.key"
    with pytest.raises(InputError, match=r"has no end-1.crt"):
        identity(tmp_path, "end-1")


def test_the_command_makes_them_for_a_topology(tmp_path: Path) -> None:
    first = CliRunner().invoke(main, ["certs", str(tmp_path / "certs")])
    assert first.exit_code == 0
    assert "new: scheduler, client, end-1" in first.stdout
    again = CliRunner().invoke(main, ["certs", str(tmp_path / "certs")])
    assert again.stdout.endswith(", for topology paper: nothing new\n")
    assert (tmp_path / "certs" / "cloud.key").is_file()
    wrong = CliRunner().invoke(main, ["certs", str(tmp_path / "certs" / "cloud.key" / "below")])
    assert wrong.exit_code == 2
    assert wrong.stderr.startswith("hddnn: cannot write certificates to ")
    assert len(wrong.stderr.splitlines()) == 1


def test_the_command_that_an_error_names_makes_what_was_missing(tmp_path: Path) -> None:
    """As for a user who made the default topology's certificates, and runs another one."""
    folder = tmp_path / "my certs"
    assert CliRunner().invoke(main, ["certs", str(folder)]).exit_code == 0
    run = ["run", "--topology", "laptop", "--schemes", "end", "--images", "50", "--tls", str(folder)]
    refused = CliRunner().invoke(main, [*run, "--out", str(tmp_path / "run.nc")])
    assert refused.exit_code == 2
    said = f"hddnn: {folder} has no camera-1.crt; make it with `hddnn certs '{folder}' --topology laptop`\n"
    assert refused.stderr == said
    command = shlex.split(said.split("`")[1])
    assert CliRunner().invoke(main, command[1:]).exit_code == 0
    assert identity(folder, "camera-1").certificate.is_file()


def test_where_the_authority_s_key_is_not_the_error_says_so(tmp_path: Path) -> None:
    """As on a device's own machine, which got its files from another one."""
    issue(tmp_path, ["end-1"])
    (tmp_path / "authority.key").unlink()
    said = r"make it with `hddnn certs \S+ --topology FILE` where authority\.key is, and copy it here$"
    with pytest.raises(CertificateError, match=said):
        identity(tmp_path, "end-2")
    (tmp_path / "authority.crt").unlink()
    with pytest.raises(InputError, match=r"has no authority\.crt; copy it from where end-1\.crt was made$"):
        identity(tmp_path, "end-1")
