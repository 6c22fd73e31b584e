"""What the scheduler makes of heartbeats and digests, without processes."""

from __future__ import annotations

import asyncio
import pickle
import time
from types import SimpleNamespace
from typing import Any

import pytest
from systems import packaged_system

from hddnn.dashboard.meter import MOST_HAPPENINGS, MOST_PROGRESS, Meter
from hddnn.dashboard.system import link_text
from hddnn.dashboard.timeline import in_words
from hddnn.engines.dask.client.telemetry import TELEMETRY, system_message
from hddnn.engines.dask.wire.heartbeat import DEVICES
from hddnn.engines.liveness import PATIENCE

SYSTEM = packaged_system(2, 1, 1)
BEAT_S = 0.25


class World:
    """A meter, and a scheduler whose list of devices is what a test says."""

    def __init__(self) -> None:
        self.listed: list[dict[str, Any]] = []
        self.workers = {"tcp://other": SimpleNamespace(resources={"edge": 1.0})}
        self.meter = Meter()
        scheduler = SimpleNamespace(handlers={DEVICES: lambda: self.listed}, workers=self.workers)
        asyncio.run(self.meter.start(scheduler))

    def see(
        self,
        name: str,
        *,
        silent_s: float = 0.0,
        live: bool = True,
        queue: int = 0,
        allowed_s: float = PATIENCE * BEAT_S,
    ) -> None:
        self.listed.append(
            {
                "name": name, "address": "tcp://other", "interval_s": BEAT_S, "live": live, "queue": queue,
                "seen_s": time.monotonic() - silent_s, "done": 3, "memory_bytes": 10**8,
                "allowed_s": allowed_s,
            }
        )  # fmt: skip

    def tell(self, **digest: Any) -> None:
        empty = {
            "kind": "digest", "job": "a", "scheme": "end-edge", "n_batches": 9, "running": True, "new": True,
            "span_s": 0.25, "batches": {}, "answers": {}, "response": {"coarse": [], "fine": []},
            "response_s": {"coarse": 0.0, "fine": 0.0}, "images": {}, "right": {}, "bytes": [], "faults": [],
        }  # fmt: skip
        self.meter.log_event(TELEMETRY, {**empty, **digest})

    def change(self, device: str, event: str) -> None:
        self.meter.log_event(DEVICES, {"event": event, "device": device, "address": "", "why": "so it is"})

    @property
    def states(self) -> dict[str, str]:
        return {view.name: view.state for view in self.meter.devices()}


@pytest.fixture
def world() -> World:
    made = World()
    made.meter.log_event(TELEMETRY, system_message(SYSTEM))
    return made


def test_devices_are_live_busy_suspect_or_dead(world: World) -> None:
    world.see("end-1")
    world.see("end-2", queue=2)
    world.see("edge-1", silent_s=2 * BEAT_S)
    world.see("cloud-1", silent_s=9.0, live=False, queue=4)
    assert world.states == {"end-1": "live", "end-2": "busy", "edge-1": "suspect", "cloud-1": "dead"}
    assert {view.name: view.queue for view in world.meter.devices()}["cloud-1"] == 0


def test_a_device_is_suspect_later_where_heartbeats_are_late_anyway(world: World) -> None:
    world.see("end-1", silent_s=2 * BEAT_S, allowed_s=8 * BEAT_S)
    world.see("end-2", silent_s=5 * BEAT_S, allowed_s=8 * BEAT_S)
    assert (world.states["end-1"], world.states["end-2"]) == ("live", "suspect")


def test_a_device_that_is_on_no_list_is_dead(world: World) -> None:
    assert set(world.states.values()) == {"dead"}


def test_a_device_started_anew_is_what_the_newer_entry_says(world: World) -> None:
    world.see("edge-1")
    world.see("edge-1", live=False, silent_s=5.0)
    assert world.states["edge-1"] == "live"


def test_a_device_that_no_client_has_described_is_of_the_tier_of_its_resource() -> None:
    world = World()
    world.see("gateway")
    (view,) = world.meter.devices()
    assert (view.name, view.tier, view.state) == ("gateway", "edge", "live")


def test_digests_are_counted_by_tier_and_stage(world: World) -> None:
    world.tell(
        answers={"coarse": {"end-1": 4}, "fine": {"edge-1": 2}}, images={"coarse": 80}, right={"coarse": 60},
        response={"coarse": [[0, 4]], "fine": [[10, 2]]}, response_s={"coarse": 3.0, "fine": 18.0},
        batches={"answered": 2}, bytes=[["end", "edge", 1000]],
    )  # fmt: skip
    work, totals = world.meter.work, world.meter.totals
    assert (work.batches["answered"], work.progress[-1].accuracy("coarse")) == (2, 0.75)
    assert dict(totals.answers) == {("end-1", "end", "coarse"): 4, ("edge-1", "edge", "fine"): 2}
    assert totals.response["fine"].n == 2
    later_s = time.time() + 1.0
    assert world.meter.flow.read("end", later_s).sum() / 2 == pytest.approx(4)
    assert world.meter.traffic.read(("end", "edge"), later_s).sum() / 2 == pytest.approx(1000)


def test_what_a_journal_tells_of_is_the_jobs_but_did_not_happen_now(world: World) -> None:
    world.tell(new=False, batches={"answered": 5}, answers={"coarse": {"end-1": 5}})
    world.tell(batches={"answered": 1}, answers={"coarse": {"end-1": 1}})
    assert world.meter.work.batches["answered"] == 6
    assert world.meter.totals.batches["answered"] == 1
    assert world.meter.totals.answers["end-1", "end", "coarse"] == 1


def test_a_second_clients_job_is_counted_and_shown_when_the_first_has_ended(world: World) -> None:
    world.tell(job="a", batches={"answered": 1})
    world.tell(job="b", batches={"answered": 10})
    assert (world.meter.work.name, world.meter.work.batches["answered"]) == ("a", 1)
    world.tell(job="a", running=False)
    world.tell(job="b", batches={"answered": 10})
    assert (world.meter.work.name, world.meter.work.batches["answered"]) == ("b", 10)
    assert world.meter.totals.batches["answered"] == 21


def test_first_joins_are_no_news_and_returns_are(world: World) -> None:
    for device in ("end-1", "edge-1"):
        world.change(device, "joined")
    world.change("edge-1", "left")
    world.change("edge-1", "joined")
    assert [(one.what, one.device) for one in world.meter.happenings] == [
        ("left", "edge-1"),
        ("joined", "edge-1"),
    ]


def test_a_fault_told_of_late_is_listed_before_its_detection(world: World) -> None:
    world.change("edge-1", "left")
    world.tell(faults=[["edge-1", 0.5]], batches={"resent": 3})
    text = in_words(list(world.meter.happenings))
    assert text.index("3 batches") < text.index("found gone") < text.index("fault made")
    assert "(0.50 s after its fault)" in text


def test_names_that_are_html_are_shown_as_they_are(world: World) -> None:
    world.change("<b>", "left")
    assert "&lt;b&gt;" in in_words(list(world.meter.happenings))


def test_memory_goes_by_the_devices_and_not_by_the_work(world: World) -> None:
    def size() -> int:
        meter = world.meter
        kept = (meter.work, meter.totals, meter.happenings, meter.flow, meter.traffic)
        return len(pickle.dumps(kept))

    def work(n: int) -> None:
        for _ in range(n):
            world.tell(
                answers={"coarse": {"end-1": 10**6}}, batches={"answered": 10**6, "resent": 7},
                bytes=[["end", "edge", 10**9]], faults=[["edge-1", 0.1]],
            )  # fmt: skip

    work(2 * max(MOST_HAPPENINGS, MOST_PROGRESS))
    before = size()
    work(1000)
    assert size() < 1.05 * before
    assert len(world.meter.happenings) == MOST_HAPPENINGS


@pytest.mark.parametrize(
    ("time_scale", "receivers", "says"),
    [
        (1.0, 1, "1.00 MB/s\n100% of bandwidth\n"),
        (0.1, 1, "\n10% of"),
        (0.1, 2, "\n5% of"),
        (0.0, 1, None),
        (1.0, 0, None),
    ],
)
def test_a_links_share_is_of_the_scenarios_time_and_of_live_receivers(
    time_scale: float, receivers: int, says: str | None
) -> None:
    told = link_text({"bandwidth_bps": 8e6, "latency_s": 0.5}, 1e6, receivers, time_scale)
    assert told.endswith("latency 0.5 s")
    assert says in told if says else "bandwidth" not in told


def test_the_meter_knows_the_time_scale_of_whoever_tells(world: World) -> None:
    assert world.meter.time_scale == 1.0
    world.meter.log_event(TELEMETRY, system_message(SYSTEM, 0.2))
    assert world.meter.time_scale == 0.2
