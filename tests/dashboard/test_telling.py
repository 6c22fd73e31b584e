"""What a real job tells: as much as its record says, numbers and names only, and the same at /metrics."""

from __future__ import annotations

import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from distributed import Client, LocalCluster
from prometheus_client.parser import text_string_to_metric_families
from waiting import PATIENCE_S, wait_until

from hddnn.engines.dask.client.engine import DaskEngine
from hddnn.engines.dask.client.telemetry import INTERVAL_S, TELEMETRY
from hddnn.results.records import Record
from hddnn.schemes import make_plan
from hddnn.system.faults import FaultSchedule


@dataclass
class Told:
    """What was told while a job ran."""

    record: Record
    seconds: float
    messages: list[dict[str, Any]] = field(default_factory=list)

    def total(self, key: str) -> Counter[Any]:
        """Return a kind of counts, over all digests."""
        counts: Counter[Any] = Counter()
        for message in self.messages:
            counts.update(message[key])
        return counts


@contextmanager
def listening(engine: DaskEngine) -> Iterator[list[dict[str, Any]]]:
    messages: list[dict[str, Any]] = []
    with Client(engine.scheduler_address, set_as_default=False) as client:
        client.subscribe_topic(TELEMETRY, lambda event: messages.append(event[1]))
        time.sleep(0.2)
        yield messages
        wait_until(lambda: messages and not messages[-1].get("running", True), "the last digest")


@pytest.fixture(scope="module")
def told(engine: DaskEngine) -> Told:
    engine.faults = FaultSchedule.parse("crash:edge-2@0.5s")
    with listening(engine) as messages:
        start_s = time.monotonic()
        record = engine.execute(make_plan("end-edge", engine.topology, engine.job, engine.costs()))
        seconds = time.monotonic() - start_s
    return Told(record, seconds, messages)


def test_digests_add_up_to_the_record(told: Told) -> None:
    record = told.record
    assert record.complete
    assert told.total("batches") == Counter(
        answered=len(record.outcome), resent=int((record.attempts - 1).sum())
    ) + Counter(failed=0)
    assert told.total("batches")["resent"] > 0
    for stage in ("coarse", "fine"):
        assert told.total("images")[stage] == record.labels[stage].size
        assert told.total("right")[stage] == record.correct[stage].sum()
        assert told.total("response_s")[stage] == pytest.approx(record.response_s(stage).sum())
        n = sum(count for message in told.messages for _, count in message["response"][stage])
        assert n == len(record.outcome)
    moved = [
        count for message in told.messages for source, _, count in message["bytes"] if source != "client"
    ]
    assert sum(moved) == record.bytes_up.sum()
    assert [device for message in told.messages for device, _ in message["faults"]] == ["edge-2"]


def test_there_are_four_digests_a_second_whatever_the_job(told: Told) -> None:
    # And one before and one at the end; fewer on a busy machine.
    assert 5 < len(told.messages) <= told.seconds / INTERVAL_S + 3


def things(value: Any) -> Iterator[Any]:
    """Yield everything in a message that is no container."""
    if isinstance(value, dict):
        for key, one in value.items():
            yield key
            yield from things(one)
    elif isinstance(value, list | tuple):
        for one in value:
            yield from things(one)
    else:
        yield value


def test_nothing_is_told_but_numbers_and_names(engine: DaskEngine, told: Told) -> None:
    with Client(engine.scheduler_address, set_as_default=False) as client:
        events = [message for _, message in client.get_events(TELEMETRY)]
    assert {message["kind"] for message in events} == {"system", "digest"}
    assert len(events) >= len(told.messages)
    for message in events:
        for thing in things(message):
            assert isinstance(thing, str | int | float | None)
            assert not isinstance(thing, str) or len(thing) <= 32


def read_metrics(link: str) -> dict[tuple[str, frozenset[tuple[str, str]]], float]:
    with urllib.request.urlopen(link, timeout=PATIENCE_S) as answer:
        families = list(text_string_to_metric_families(answer.read().decode()))
    return {
        (sample.name, frozenset(sample.labels.items())): sample.value
        for family in families
        for sample in family.samples
    }


def test_metrics_stand_beside_dasks(engine: DaskEngine, told: Told) -> None:
    assert engine.dashboard_link is not None
    read = read_metrics(engine.dashboard_link.replace("/hddnn", "/metrics"))

    def value(name: str, **labels: str) -> float:
        return read[name, frozenset(labels.items())]

    record = told.record
    n = len(record.outcome)
    assert value("dask_scheduler_clients") >= 1
    assert value("hddnn_batches_total", outcome="answered") == n
    assert value("hddnn_batches_total", outcome="failed") == 0
    assert value("hddnn_batches_resent_total") == (record.attempts - 1).sum()
    assert value("hddnn_images_right_total", stage="fine") == record.correct["fine"].sum()
    assert value("hddnn_coarse_response_seconds_count") == n
    assert value("hddnn_coarse_response_seconds_bucket", le="+Inf") == n
    assert value("hddnn_fine_response_seconds_sum") == pytest.approx(record.response_s("fine").sum())
    assert value("hddnn_faults_total") == value("hddnn_devices_left_total") == 1
    assert value("hddnn_devices", tier="edge", state="dead") == 1
    alive = sum(value("hddnn_devices", tier="end", state=state) for state in ("live", "busy", "suspect"))
    assert alive == 3
    answers = [count for (name, _), count in read.items() if name == "hddnn_answers_total"]
    assert sum(answers) == 2 * n
    buckets = [count for (name, _), count in read.items() if name == "hddnn_fine_response_seconds_bucket"]
    assert buckets == sorted(buckets)


def test_a_second_scheduler_in_the_same_process_takes_over() -> None:
    for _ in range(2):
        with LocalCluster(
            n_workers=0, processes=False, dashboard_address="127.0.0.1:0",
            scheduler_kwargs={"preload": ["hddnn.dashboard.preload"]},
        ) as cluster:  # fmt: skip
            port = cluster.scheduler.http_server.port
            read = read_metrics(f"http://127.0.0.1:{port}/metrics")
            assert read["hddnn_faults_total", frozenset()] == 0


def test_a_scheduler_without_a_dashboard_has_no_pages() -> None:
    with LocalCluster(
        n_workers=0, processes=False, dashboard_address=None,
        scheduler_kwargs={"preload": ["hddnn.dashboard.preload"], "dashboard": False},
    ) as cluster:  # fmt: skip
        port = cluster.scheduler.http_server.port
        assert "hddnn_batches_total" in {name for name, _ in read_metrics(f"http://127.0.0.1:{port}/metrics")}
        with pytest.raises(urllib.error.HTTPError, match="404"):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/hddnn", timeout=PATIENCE_S)


def test_the_command_line_prints_the_address(tmp_path: Path) -> None:
    words = ["run", "--topology", "laptop", "--images", "10", "--schemes", "end", "--dashboard"]
    done = subprocess.run(
        [sys.executable, "-m", "hddnn", *words, "--out", str(tmp_path / "run.nc")],
        capture_output=True, text=True, timeout=PATIENCE_S, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert re.search(r"^dashboard: http://127\.0\.0\.1:\d+/hddnn$", done.stderr, re.MULTILINE)
