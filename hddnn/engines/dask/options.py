"""The options of the Dask engine, which can be checked without loading Dask."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from hddnn.engines.base import Engine, EngineOptions, Setting, policy_attributes
from hddnn.engines.clocks import check_time_scale
from hddnn.engines.liveness import HEARTBEAT_S, check_heartbeat
from hddnn.errors import InputError

MOST_PORT = 65535
_ADDRESS = re.compile(r"((tcp|tls|ws|wss)://)?([^\s/:\[\]]+|\[[^\]\s]+\]):([0-9]{1,5})")


@dataclass(frozen=True)
class Dask(EngineOptions):
    """Real devices, each a Dask worker: started on this machine, or found behind a scheduler's address.

    Args:
        compute: "real" runs the networks; "replay" returns their stored answers, computed first where missing;
            "nothing" answers at once, and wrong, which leaves the engine's own cost.
        time_scale: Wall seconds for a second of model time, above 0; applies to all modelled times.
        heartbeat_s: Wall seconds between two heartbeats of a device that is started here, 0.01 or more.
        address: A Dask scheduler whose workers are the devices; None starts them on this machine.
        tls: A folder made by `hddnn certs`: every connection is encrypted, and nobody without a certificate of
            that authority takes part.
        dashboard: Whether Dask's dashboard starts with the local scheduler.
        wait_s: Seconds for which devices behind the address are waited for, at most, until all are live.
        allow_missing: Whether to begin without devices behind the address that are not there, as long as an end
            device is: they count as gone from the start, and take part when they come.
    """

    compute: Literal["real", "replay", "nothing"] = "real"
    time_scale: float = 1.0
    heartbeat_s: float = HEARTBEAT_S
    address: str | None = None
    tls: Path | None = None
    dashboard: bool = False
    wait_s: float = 0.0
    allow_missing: bool = False

    name = "dask"
    caption = "run real devices and networks"
    keeps_journals = True

    def __post_init__(self) -> None:
        if not self.time_scale > 0:
            raise InputError(
                f"time scale is {self.time_scale:g}; give wall seconds for a second of model time, above 0"
            )
        check_time_scale(self.time_scale)
        check_heartbeat(self.heartbeat_s)
        check_joining(self.address, self.wait_s, allow_missing=self.allow_missing)
        if self.address is not None:
            check_address(self.address, tls=self.tls is not None)
            if self.heartbeat_s != HEARTBEAT_S:
                raise InputError(
                    "devices behind an address have their own heartbeat; give it to their preload"
                )

    @property
    def answers(self) -> str:
        """Return where answers come from: the networks, or a replay."""
        return self.compute

    def check(self, setting: Setting) -> None:
        """Raise InputError for faults that cannot be made."""
        if len(setting.faults) and self.address is not None:
            raise InputError("faults are made on devices of this machine only; leave the address out")

    def make(self, setting: Setting) -> Engine:
        """Return the engine, not yet entered."""
        from hddnn.engines.dask.client.engine import DaskEngine

        return DaskEngine(
            setting.topology,
            setting.job,
            compute=self.compute,
            time_scale=self.time_scale,
            heartbeat_s=self.heartbeat_s,
            address=self.address,
            tls=self.tls,
            dashboard=self.dashboard,
            wait_s=self.wait_s,
            allow_missing=self.allow_missing,
            policy=setting.policy,
            faults=setting.faults,
            codec=setting.codec,
            journals=setting.journals,
            on_ready=setting.observer.device_ready,
            on_change=setting.observer.device_changed,
            awaiting=setting.observer.awaiting,
            noted=setting.observer.noted,
        )

    def attributes(self, setting: Setting) -> dict[str, Any]:
        """Return what the cube says of it, policy and faults included."""
        heartbeat_s = math.nan if self.address else self.heartbeat_s
        about = super().attributes(setting) | policy_attributes(setting, heartbeat_s)
        return about | {"tls": int(self.tls is not None)}


def check_address(address: str, *, tls: bool) -> None:
    """Raise InputError for what is no address of a scheduler, or one that does not go with TLS, or without it."""
    found = _ADDRESS.fullmatch(address)
    if found is None or int(found[4]) > MOST_PORT:
        raise InputError(f"address '{address}' is none; give a Dask scheduler's, such as tcp://10.0.0.5:8786")
    if "://" in address and tls != address.startswith(("tls://", "wss://")):
        raise InputError(
            f"address {address} and TLS go together: give tls://HOST:PORT and the certificates' folder"
        )


def check_joining(address: str | None, wait_s: float, *, allow_missing: bool) -> None:
    """Raise InputError for a time to wait that is none, or where there is nobody to wait for, or to do without."""
    if not 0 <= wait_s < math.inf:
        raise InputError(f"wait is {wait_s:g} s; give 0 s or more")
    if address is None and (wait_s or allow_missing):
        raise InputError(
            "devices that are started here are not waited for, nor missing; give an address, too"
        )
