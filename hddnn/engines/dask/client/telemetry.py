"""What a client tells the scheduler of its work, for whoever looks on: numbers and names, never an image.

A client publishes a digest four times a second, whatever the job's speed, as an event of the topic TELEMETRY. The
first event of a client says what its system looks like. hddnn.dashboard listens on the scheduler.
"""

from __future__ import annotations

import asyncio
import math
import time
import uuid
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import PurePath
from typing import Any, Literal

from distributed import Client

from hddnn.results.records import COARSE_ONLY, OK, Answer, Recorder
from hddnn.results.transfers import CLIENT, Transfer
from hddnn.system.topology import Topology

TELEMETRY = "hddnn-telemetry"
INTERVAL_S = 0.25
#: Response times are counted in bins of equal width on a logarithmic scale: bin b reaches up to 10 ** (b / 10) s.
BINS_PER_DECADE = 10
FIRST_BIN, LAST_BIN = -30, 50  # 1 ms and 100,000 s
TELL_TIMEOUT_S = 1.0
MOST_FAULTS = 100  # of a digest


def response_bin(response_s: float) -> int:
    """Return the bin that a response time is counted in."""
    if response_s <= 0:
        return FIRST_BIN
    return min(max(math.ceil(math.log10(response_s) * BINS_PER_DECADE), FIRST_BIN), LAST_BIN)


def system_message(topology: Topology, time_scale: float = 1.0) -> dict[str, Any]:
    """Return the event that says what a client's system looks like.

    time_scale: wall seconds for a second of model time.
    """
    return {
        "kind": "system",
        "name": topology.name,
        "time_scale": time_scale,
        "devices": [
            {
                "name": device.name,
                "tier": device.tier,
                "network": PurePath(device.network).name,  # of one's own bundle, no more than its name
                "trusted": device.trusted,
            }
            for device in topology.devices
        ],
        "links": [
            {
                "source": link.source,
                "target": link.target,
                "latency_s": link.latency_s,
                "bandwidth_bps": link.bandwidth_bps,
            }
            for link in topology.links
        ],
    }


class Telemetry:
    """Count what happens to the batches of one job, and publish it.

    The counts of a digest are of what is new since the one before. n_batches: of the job; 0 where it has no end.
    """

    def __init__(self, topology: Topology, scheme: str, n_batches: int = 0) -> None:
        self._scheme, self._n_batches, self._name = scheme, n_batches, uuid.uuid4().hex
        self._tiers: dict[str, str] = {device.name: device.tier for device in topology.devices}
        self._tiers[CLIENT] = CLIENT
        self._clear(time.monotonic())

    def _clear(self, now_s: float) -> None:
        self._since_s = now_s
        self._batches: Counter[str] = Counter()
        self._answers: dict[str, Counter[str]] = {"coarse": Counter(), "fine": Counter()}
        self._response: dict[str, Counter[int]] = {"coarse": Counter(), "fine": Counter()}
        self._response_s = {"coarse": 0.0, "fine": 0.0}
        self._images: Counter[str] = Counter()
        self._right: Counter[str] = Counter()
        self._bytes: Counter[tuple[str, str]] = Counter()
        self._faults: list[tuple[str, float]] = []

    def answered(
        self,
        stage: Literal["coarse", "fine"],
        device: str,
        response_s: float,
        images: int = 0,
        right: int = 0,
    ) -> None:
        """Count a batch's answer; images: those whose right label is known; right: how many answers are."""
        self._answers[stage][device] += 1
        self._response[stage][response_bin(response_s)] += 1
        self._response_s[stage] += response_s
        self._images[stage] += images
        self._right[stage] += right

    def ended(self, outcome: str) -> None:
        """Count a batch's end."""
        self._batches["answered" if outcome in (OK, COARSE_ONLY) else "failed"] += 1

    def resent(self) -> None:
        """Count a batch that was sent again."""
        self._batches["resent"] += 1

    def transferred(self, transfer: Transfer) -> None:
        """Count a payload's bytes."""
        if not transfer.refused:
            self._bytes[self._tiers[transfer.source], self._tiers[transfer.target]] += transfer.n_bytes

    def fault(self, device: str) -> None:
        """Note that a fault of a device begins."""
        if len(self._faults) < MOST_FAULTS:
            self._faults.append((device, time.monotonic()))

    def digest(self, *, running: bool = True, new: bool = True) -> dict[str, Any]:
        """Return the event that says what is new, and begin to count anew.

        new: whether it happened under this run, and not under an earlier one that a journal tells of.
        """
        now_s = time.monotonic()
        message = {
            "kind": "digest",
            "job": self._name,
            "scheme": self._scheme,
            "n_batches": self._n_batches,
            "running": running,
            "new": new,
            "span_s": now_s - self._since_s,
            "batches": dict(self._batches),
            "answers": {stage: dict(counts) for stage, counts in self._answers.items()},
            "response": {
                stage: [list(item) for item in bins.items()] for stage, bins in self._response.items()
            },
            "response_s": dict(self._response_s),
            "images": dict(self._images),
            "right": dict(self._right),
            "bytes": [[source, target, count] for (source, target), count in self._bytes.items()],
            # As an age: the clocks of two machines differ.
            "faults": [[device, now_s - at_s] for device, at_s in self._faults],
        }
        self._clear(now_s)
        return message

    @asynccontextmanager
    async def published(self, client: Client) -> AsyncIterator[None]:
        """Publish a digest each interval, one more before of what was there already, and one at the end."""
        await notify(client, self.digest(new=False))
        task = asyncio.create_task(self._publish(client))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
            await notify(client, self.digest(running=False))

    async def _publish(self, client: Client) -> None:
        while True:
            await asyncio.sleep(INTERVAL_S)
            await notify(client, self.digest())


async def notify(client: Client, message: dict[str, Any]) -> None:
    """Publish an event; where the scheduler does not take it, nobody looks on, and the job's own way notices."""
    if client.status == "running":
        with suppress(OSError, TimeoutError):
            async with asyncio.timeout(TELL_TIMEOUT_S):
                await client.log_event(TELEMETRY, message)


class MeteredRecorder(Recorder):
    """A recorder that has all that it is told counted, too."""

    def __init__(self, *args: Any, telemetry: Telemetry, **more: Any) -> None:
        super().__init__(*args, **more)
        self.telemetry = telemetry

    def submitted(self, batch: int, at_s: float) -> None:
        super().submitted(batch, at_s)
        if self._attempts[batch] > 1:
            self.telemetry.resent()

    def transferred(self, transfer: Transfer) -> None:
        super().transferred(transfer)
        self.telemetry.transferred(transfer)

    def answered(self, stage: Literal["coarse", "fine"], batch: int, at_s: float, answer: Answer) -> bool:
        new = super().answered(stage, batch, at_s, answer)
        if new:
            right, known = self._correct[stage][batch], not math.isnan(self._correct[stage][batch])
            self.telemetry.answered(
                stage,
                answer.device,
                at_s - float(self._steps["submitted"][batch]),
                int(self._plan.sizes[batch]) if known else 0,
                int(right) if known else 0,
            )
        return new

    def fault(self, device: str, at_s: float) -> None:
        super().fault(device, at_s)
        self.telemetry.fault(device)

    def _end(self, batch: int, outcome: str, at_s: float) -> None:
        super()._end(batch, outcome, at_s)
        self.telemetry.ended(outcome)
