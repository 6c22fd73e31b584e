"""The list of live devices: silence is noticed in time, and a scheduler's own absence is no silence."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from types import SimpleNamespace
from typing import Any

import pytest

from hddnn.engines.dask.wire.heartbeat import BEAT, DEVICES, HeartbeatMonitor
from hddnn.engines.liveness import CHECKS, PATIENCE

INTERVAL_S = 0.05
ADDRESS = "tcp://127.0.0.1:1"
MACHINE = "the boot id"


class Scheduler:
    """What a HeartbeatMonitor needs of a scheduler; it keeps what is published."""

    def __init__(self) -> None:
        self.workers = {ADDRESS: SimpleNamespace(name="end-1")}
        self.handlers: dict[str, Any] = {}
        self.events: list[tuple[float, str, str]] = []

    def log_event(self, topic: str, message: dict[str, str]) -> None:
        assert topic == DEVICES
        self.events.append((time.monotonic(), message["event"], message["why"]))

    @property
    def told(self) -> list[str]:
        return [event for _, event, _ in self.events]


def beat(watch: HeartbeatMonitor, **more: Any) -> None:
    facts = {"worker": ADDRESS, "interval_s": INTERVAL_S, "queue": 2, "done": 7, "memory_bytes": 10**8}
    facts |= {"machine": MACHINE, "starved_s": 0.0}
    watch.log_event(BEAT, {**facts, **more})


async def said(scheduler: Scheduler, events: list[str]) -> None:
    """Wait until so much was published; a busy machine may take its time."""
    async with asyncio.timeout(60):
        while scheduler.told != events:
            await asyncio.sleep(INTERVAL_S / CHECKS)


def watched(course: Callable[[HeartbeatMonitor, Scheduler], Coroutine[Any, Any, None]]) -> Scheduler:
    """Run a course of events around a HeartbeatMonitor."""
    scheduler, watch = Scheduler(), HeartbeatMonitor()

    async def run() -> None:
        await watch.start(scheduler)
        await course(watch, scheduler)
        await watch.close()

    asyncio.run(run())
    return scheduler


def test_a_device_joins_with_its_first_heartbeat_and_is_on_the_list() -> None:
    async def course(watch: HeartbeatMonitor, scheduler: Scheduler) -> None:
        beat(watch)
        (entry,) = scheduler.handlers[DEVICES]()
        assert entry.pop("seen_s") == pytest.approx(time.monotonic(), abs=0.5)
        assert entry == {
            "name": "end-1", "address": ADDRESS, "interval_s": INTERVAL_S, "live": True, "queue": 2, "done": 7,
            "memory_bytes": 10**8, "machine": MACHINE, "allowed_s": PATIENCE * INTERVAL_S,
        }  # fmt: skip

    assert watched(course).told == ["joined"]


def test_a_silent_device_leaves_and_one_that_is_heard_again_joins() -> None:
    last_s = 0.0

    async def course(watch: HeartbeatMonitor, scheduler: Scheduler) -> None:
        nonlocal last_s
        for _ in range(6):
            beat(watch)
            await asyncio.sleep(INTERVAL_S)
        assert scheduler.told == ["joined"]
        beat(watch)
        last_s = time.monotonic()
        await said(scheduler, ["joined", "left"])
        beat(watch)

    scheduler = watched(course)
    assert scheduler.told == ["joined", "left", "joined"]
    assert (
        scheduler.events[1][0] - last_s > 3.2 * INTERVAL_S
    )  # how much more it may be: tests/engines/test_liveness.py
    assert scheduler.events[1][2] == "it does not answer"


def test_a_device_that_falls_silent_before_its_first_heartbeat_is_missed_too() -> None:
    async def course(watch: HeartbeatMonitor, scheduler: Scheduler) -> None:
        listed = watch.devices(expected={ADDRESS: INTERVAL_S, "tcp://127.0.0.1:2": INTERVAL_S})
        assert [entry["address"] for entry in listed] == [ADDRESS]  # the other one is no worker
        await said(scheduler, ["left"])

    assert watched(course).told == ["left"]


def test_a_connection_that_ends_is_told_at_once_and_once() -> None:
    async def course(watch: HeartbeatMonitor, scheduler: Scheduler) -> None:
        beat(watch)
        watch.remove_worker(scheduler, ADDRESS, stimulus_id="test")
        del scheduler.workers[ADDRESS]
        beat(watch)  # one that was on its way
        await asyncio.sleep(6 * INTERVAL_S)

    scheduler = watched(course)
    assert scheduler.told == ["joined", "left"]
    assert scheduler.events[1][2] == "its process ended"


def test_a_scheduler_that_was_stopped_does_not_take_its_own_absence_for_silence() -> None:
    async def course(watch: HeartbeatMonitor, scheduler: Scheduler) -> None:
        for _ in range(4):
            beat(watch)
            await asyncio.sleep(INTERVAL_S)
        time.sleep(20 * INTERVAL_S)  # its event loop stands still; heartbeats pile up unread
        await asyncio.sleep(INTERVAL_S)  # looks, and finds no new one
        beat(watch)
        await asyncio.sleep(INTERVAL_S)

    assert watched(course).told == ["joined"]


def test_a_machine_whose_senders_are_starved_of_a_processor_is_waited_for_longer() -> None:
    async def course(watch: HeartbeatMonitor, scheduler: Scheduler) -> None:
        for _ in range(4):
            beat(watch, starved_s=20 * INTERVAL_S)
            await asyncio.sleep(INTERVAL_S)
        await asyncio.sleep(6 * INTERVAL_S)  # above 3.25, far below what is allowed now
        beat(watch)

    assert watched(course).told == ["joined"]
