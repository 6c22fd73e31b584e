"""What `hddnn status` takes for silence: a device that does not answer, unless it is on the list of live ones."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from hddnn.engines.dask.client import status
from hddnn.engines.dask.client.status import LIVE, SILENT, DeviceStatus
from hddnn.engines.dask.wire.heartbeat import DEVICES

ADDRESS = "tcp://127.0.0.1:1"
HELLO = {"tier": "end", "network_name": "mobilenet", "trusted": True}


def asked(monkeypatch: pytest.MonkeyPatch, live: Callable[[int], bool], answers_after: int) -> DeviceStatus:
    """Ask a device that answers once the list was looked at so often; live: what that says at each look."""
    looks, enough = 0, asyncio.Event()

    async def devices() -> list[dict[str, Any]]:
        nonlocal looks
        looks += 1
        if looks == answers_after:
            enough.set()
        return [{"address": ADDRESS, "live": live(looks)}]

    async def answer(*args: object) -> tuple[dict[str, Any], float]:
        await enough.wait()
        return HELLO, 0.7

    monkeypatch.setattr(status, "ANSWER_TIMEOUT_S", 0.01)
    monkeypatch.setattr(status, "_asked", answer)
    client = SimpleNamespace(scheduler=SimpleNamespace(address="tcp://127.0.0.1:2", **{DEVICES: devices}))
    return asyncio.run(status._ask(client, {"name": "end-1", "resources": {"end": 1}}, ADDRESS))  # type: ignore[arg-type]


def test_a_device_that_is_live_is_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    found = asked(monkeypatch, live=lambda look: True, answers_after=5)
    assert (found.state, found.round_trip_s, found.network) == (LIVE, 0.7, "mobilenet")


def test_a_device_that_is_not_is_silent_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = asked(monkeypatch, live=lambda look: look < 3, answers_after=4)
    assert (found.state, found.round_trip_s) == (SILENT, None)


def test_a_device_that_is_live_and_never_answers_is_not_waited_for_without_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(status, "LONGEST_S", 0.1)
    assert asked(monkeypatch, live=lambda look: True, answers_after=10**9).state == SILENT
