"""A private authority, and one certificate for each device of a system: who is who, and nobody else."""

from __future__ import annotations

import datetime
import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hddnn._util import given
from hddnn._util.paths import store
from hddnn.errors import CertificateError, InputError

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

AUTHORITY = "authority"
CLIENT, SCHEDULER = "client", "scheduler"
RESERVED = (AUTHORITY, CLIENT, SCHEDULER)
#: Clocks of devices are not all right: certificates hold from a day ago.
EARLY = datetime.timedelta(days=1)


@dataclass(frozen=True)
class Identity:
    """The files by which one side shows who it is, and the authority that it trusts."""

    authority: Path
    certificate: Path
    key: Path


def identity(folder: Path, name: str) -> Identity:
    """Return the files by which one side shows who it is.

    Args:
        folder: Made by `issue`, or some files of such a folder.
        name: A device's name, "client" or "scheduler".

    Raises:
        CertificateError: A file is missing or has expired; its text names the command that helps.
        InputError: A file cannot be read, or no command helps in this folder.
    """
    found = Identity(folder / f"{AUTHORITY}.crt", folder / f"{name}.crt", folder / f"{name}.key")
    # The command gets its devices from a topology, and another's would make certificates of other names.
    topology = "" if name in RESERVED else "FILE"
    key_is_away = found.authority.is_file() and not (folder / f"{AUTHORITY}.key").is_file()
    where = f" where {AUTHORITY}.key is, and copy it here" if key_is_away else ""
    for path in (found.authority, found.certificate, found.key):
        if not path.is_file():
            wrong = f"{folder} has no {path.name}"
            if path == found.authority and found.certificate.is_file():
                raise InputError(f"{wrong}; copy it from where {found.certificate.name} was made")
            raise CertificateError(f"{wrong}; make it", folder, topology, where=where)
        if not os.access(path, os.R_OK):
            raise InputError(f"{path} cannot be read; run this as its owner")
    if _expired(found.authority):
        raise CertificateError(
            f"{found.authority} has expired or is damaged; make all anew, in a folder that is not there yet,",
            Path("NEW"),
            topology,
        )
    if _expired(found.certificate):
        wrong = f"{found.certificate} has expired or is damaged; make it anew"
        raise CertificateError(wrong, folder, topology, where=where)
    return found


def issue(folder: Path, devices: Iterable[str], *, days: int = 365) -> list[str]:
    """Make an authority, and certificates for a scheduler, a client and devices; return the names that are new.

    What is there already stays, so that devices can be added later; without its key, or expired, a certificate is
    made anew. The files can be read by their owner alone. A
    device's machine needs authority.crt and its own two files, and never authority.key, which makes new ones.
    Raises InputError for a device named as one of the others, and for a folder that cannot be written.
    """
    names = list(devices)
    for name in names:
        if name in RESERVED:
            raise InputError(f"a device cannot be named {name} and have a certificate; rename it")
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        authority = _authority(folder, days)
        new = [name for name in (SCHEDULER, CLIENT, *names) if not _usable(folder / name)]
        for name in new:
            key = _new_key()
            certificate = _certify(name, key.public_key(), *authority, days=days)
            _write_pair(folder / name, certificate, key)
    except OSError as error:
        raise InputError(f"cannot write certificates to {folder}: {error.strerror}") from None
    return new


def _authority(folder: Path, days: int) -> tuple[Certificate, Any]:
    """Return the folder's authority, and its key; made if there is none."""
    from cryptography import x509
    from cryptography.hazmat.primitives.serialization import load_pem_private_key

    path = folder / AUTHORITY
    certificate_file, key_file = path.with_suffix(".crt"), path.with_suffix(".key")
    # A key alone was left by a start that came to nothing, unless certificates are there that it may have signed.
    signed = any(file.suffix == ".crt" for file in folder.iterdir())
    if signed and not (certificate_file.exists() and key_file.exists()):
        raise InputError(f"{folder} has one half of an authority; to add devices, {AUTHORITY}.key is needed")
    if not certificate_file.exists():
        key = _new_key()
        certificate = _certify("hddnn authority", key.public_key(), None, key, days=10 * days)
        _write_pair(path, certificate, key)
        return certificate, key
    try:
        certificate = x509.load_pem_x509_certificate(_read(certificate_file))
        if _expired(certificate_file):
            raise InputError(f"the authority in {folder} has expired; begin a new folder")
        return certificate, load_pem_private_key(_read(key_file), None)
    except ValueError as error:
        raise InputError(f"the authority in {folder} cannot be read ({error}); begin a new folder") from None


def _usable(path: Path) -> bool:
    """Tell whether a certificate and its key are there, and it has not expired."""
    certificate, key = path.parent / f"{path.name}.crt", path.parent / f"{path.name}.key"
    return certificate.is_file() and key.is_file() and not _expired(certificate)


def _read(file: Path) -> bytes:
    with given.open_file(file) as stream:
        return stream.read()


def _expired(file: Path) -> bool:
    """Tell whether a certificate holds no longer; one that cannot be read is as good as none."""
    from cryptography import x509

    try:
        certificate = x509.load_pem_x509_certificate(_read(file))
    except ValueError:
        return True
    return certificate.not_valid_after_utc <= datetime.datetime.now(datetime.UTC)


def _new_key() -> Any:
    from cryptography.hazmat.primitives.asymmetric import ec

    return ec.generate_private_key(ec.SECP256R1())


def _certify(
    name: str, public_key: Any, issuer: Certificate | None, issuer_key: Any, *, days: int
) -> Certificate:
    """Return a certificate for a name; issuer None: one that signs itself and others."""
    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.datetime.now(datetime.UTC)
    own_signer = x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer_key.public_key())
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer.subject)
        .public_key(public_key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - EARLY)
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(
            x509.BasicConstraints(ca=issuer is None, path_length=0 if issuer is None else None), True
        )
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public_key), False)
        .add_extension(own_signer, False)
        .add_extension(_usage(signs=issuer is None), True)
    )
    if issuer is not None:
        # Every side of Dask both listens and connects.
        both = [ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]
        builder = builder.add_extension(x509.ExtendedKeyUsage(both), False)
        builder = builder.add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), False)
    return builder.sign(issuer_key, hashes.SHA256())


def _usage(*, signs: bool) -> Any:
    from cryptography import x509

    names = (
        "digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement",
        "key_cert_sign", "crl_sign", "encipher_only", "decipher_only",
    )  # fmt: skip
    allowed = {"key_cert_sign", "crl_sign"} if signs else {"digital_signature"}
    return x509.KeyUsage(**{name: name in allowed for name in names})


def _write_pair(path: Path, certificate: Certificate, key: Any) -> None:
    """Write a certificate and its key beside each other, readable by their owner alone; the certificate last."""
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

    text = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    for suffix, contents in ((".key", text), (".crt", certificate.public_bytes(Encoding.PEM))):
        store(contents, path.parent / f"{path.name}{suffix}", private=True)
