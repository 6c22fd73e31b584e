"""Dask's own security settings, from a folder of certificates, and connections to who has the right one."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from distributed import Client, Worker
from distributed.comm.core import Comm
from distributed.security import Security

from hddnn.engines.dask.wire.certificates import identity
from hddnn.errors import ClusterError

CONNECT_TIMEOUT_S = 5.0


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


@asynccontextmanager
async def connected(side: Client | Worker, name: str, address: str) -> AsyncIterator[Comm]:
    """Lend a connection to a device, of those that a client, or another device, keeps.

    Any certificate of the authority gets a worker registered, under any name. Raises ClusterError, before anything
    is said, when this one's is of another name than the device's; OSError (TimeoutError) when nobody answers.
    """
    # Dask waits without an end for one who accepts a connection and says nothing.
    async with asyncio.timeout(CONNECT_TIMEOUT_S):
        comm = await side.rpc.connect(address)
    try:
        certified = certified_name(comm)
        # Without a certificate there is nothing to go by; with TLS there always is one.
        if certified != name and (certified is not None or side.security.require_encryption):
            raise ClusterError(
                f"the worker registered as {name} at {address} has the certificate of {certified}; "
                f"start {name} with its own"
            )
        yield comm
    finally:
        side.rpc.reuse(address, comm)


def certified_name(comm: Comm) -> str | None:
    """Return the common name in the certificate of a connection's other side; None without TLS."""
    certificate = comm.extra_info.get("peercert") or {}
    names = [value for part in certificate.get("subject", ()) for key, value in part if key == "commonName"]
    return names[0] if names else None
