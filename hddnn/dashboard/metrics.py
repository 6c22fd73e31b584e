"""Prometheus metrics `hddnn_*`, at the scheduler's /metrics beside Dask's own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import numpy as np
from distributed import Scheduler
from distributed.diagnostics.plugin import SchedulerPlugin
from prometheus_client import REGISTRY, CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from hddnn.dashboard.look import STATES
from hddnn.dashboard.meter import STAGES, Meter
from hddnn.dashboard.series import Histogram

HAPPENINGS = {
    "fault": ("faults", "Faults made on purpose that took a device away"),
    "left": ("devices_left", "Devices found gone"),
    "joined": ("devices_returned", "Devices that came back"),
}


class Metrics(SchedulerPlugin, Collector):
    """Give what a meter knows whenever Prometheus asks.

    registry: Dask writes out the process's own at /metrics.
    """

    name = "hddnn-metrics"
    idempotent = True

    def __init__(self, meter: Meter, registry: CollectorRegistry = REGISTRY) -> None:
        self._meter, self._registry = meter, registry

    async def start(self, scheduler: Scheduler) -> None:
        """Have the metrics written out from now on."""
        self._registry.register(self)

    async def close(self) -> None:
        """Have them written out no longer: another scheduler may start in this process."""
        self._registry.unregister(self)

    def describe(self) -> list[Metric]:
        """Say nothing of the names: the registry would read everything to know them."""
        return []

    def collect(self) -> Iterator[Metric]:
        """Yield every metric."""
        yield from self._devices()
        yield from self._answers()
        totals = self._meter.totals
        for stage in STAGES:
            yield from self._response(stage, totals.response[stage])
        traffic = CounterMetricFamily(
            "hddnn_payload_bytes", "Bytes of payloads by tiers", labels=["source", "target"]
        )
        for pair, count in totals.bytes.items():
            traffic.add_metric(list(pair), count)
        yield traffic
        for what, (name, text) in HAPPENINGS.items():
            yield CounterMetricFamily(f"hddnn_{name}", text, value=totals.happenings[what])

    def _devices(self) -> Iterator[Metric]:
        views = self._meter.devices()
        states = GaugeMetricFamily("hddnn_devices", "Devices by tier and state", labels=["tier", "state"])
        counts: Counter[tuple[str, str]] = Counter((view.tier, view.state) for view in views)
        for tier in dict.fromkeys(view.tier for view in views):
            for state in STATES:
                states.add_metric([tier, state], counts[tier, state])
        yield states
        queue = GaugeMetricFamily("hddnn_device_queue", "Tasks that wait or run", labels=["device", "tier"])
        memory = GaugeMetricFamily(
            "hddnn_device_memory_bytes", "Resident memory of the device's process", labels=["device", "tier"]
        )
        for view in views:
            queue.add_metric([view.name, view.tier], view.queue)
            if view.state != "dead":
                memory.add_metric([view.name, view.tier], view.memory_bytes)
        yield queue
        yield memory

    def _answers(self) -> Iterator[Metric]:
        totals = self._meter.totals
        answers = CounterMetricFamily("hddnn_answers", "Batches answered", labels=["device", "tier", "stage"])
        for labels, count in totals.answers.items():
            answers.add_metric(list(labels), count)
        yield answers
        batches = CounterMetricFamily("hddnn_batches", "Batches that have ended", labels=["outcome"])
        for outcome in ("answered", "failed"):
            batches.add_metric([outcome], totals.batches[outcome])
        yield batches
        yield CounterMetricFamily(
            "hddnn_batches_resent", "Batches sent again", value=totals.batches["resent"]
        )
        for name, text, of in (
            ("images_judged", "Images answered whose right label is known", totals.images),
            ("images_right", "Images answered right", totals.right),
        ):
            family = CounterMetricFamily(f"hddnn_{name}", text, labels=["stage"])
            for stage in STAGES:
                family.add_metric([stage], of[stage])
            yield family

    def _response(self, stage: str, histogram: Histogram) -> Iterator[Metric]:
        family = HistogramMetricFamily(
            f"hddnn_{stage}_response_seconds", f"Release of a batch to its {stage} answer, model time in s"
        )
        reached = np.cumsum(histogram.counts)
        buckets = [
            (f"{edge:.6g}", float(count))
            for edge, count in zip(histogram.edges_s()[1:], reached, strict=True)
        ]
        family.add_metric([], [*buckets, ("+Inf", float(histogram.n))], histogram.total_s)
        yield family
