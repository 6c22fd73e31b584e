"""Dask's own security settings, from a folder of certificates."""

from __future__ import annotations

from pathlib import Path

from distributed.security import Security

from hddnn.certificates import identity


def security(folder: Path | None, name: str) -> Security | None:
    """Return the settings of one side: all is encrypted, and both ends have certificates; None without TLS.

    name: of a device, "client" or "scheduler". Raises InputError when its files are not in the folder.
    """
    if folder is None:
        return None
    files = identity(folder, name)
    roles = {}
    for role in ("client", "scheduler", "worker"):
        roles[f"tls_{role}_cert"], roles[f"tls_{role}_key"] = str(files.certificate), str(files.key)
    return Security(require_encryption=True, tls_ca_file=str(files.authority), **roles)
