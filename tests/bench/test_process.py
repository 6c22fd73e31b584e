"""The process that holds a network: what it measures, and what it says when it cannot."""

from __future__ import annotations

import io
import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from hddnn.bench import process
from hddnn.data.datasets import load_dataset


class Clocked:
    """A network that takes the given seconds a call, by a clock of its own."""

    def __init__(self, *seconds: float) -> None:
        self.seconds, self.calls, self.now = seconds, 0, 0.0

    def run(self, batch: np.ndarray) -> np.ndarray:
        self.now += self.seconds[min(self.calls, len(self.seconds) - 1)]
        self.calls += 1
        return batch


def test_the_first_call_does_not_count_and_calls_go_on_for_the_asked_time(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    network = Clocked(9.0, 0.5, 0.02)
    monkeypatch.setattr(process.time, "perf_counter", lambda: network.now)
    taken = process.timed(network, np.zeros((10, 1)), least_s=0.59)
    assert taken == pytest.approx(0.02 / 10)  # the median: one slow call is no network's time
    assert network.calls == 1 + 1 + 5


def test_a_call_longer_than_the_asked_time_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    network = Clocked(9.0, 2.0)
    monkeypatch.setattr(process.time, "perf_counter", lambda: network.now)
    assert process.timed(network, np.zeros((4, 1)), least_s=0.1) == pytest.approx(0.5)
    assert network.calls == 2


def test_peak_memory_is_this_programs_own() -> None:
    code = (
        "import numpy as np; from hddnn.bench.process import peak_bytes; a = peak_bytes(); "
        "b = np.ones(12_500_000); del b; print(a, peak_bytes())"
    )
    # A large parent: what it holds must not count.
    held = np.ones(25_000_000)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    before, after = map(int, done.stdout.split())
    assert 95e6 < after - before < 120e6
    assert before < held.nbytes


@pytest.fixture
def images(tmp_path: Path) -> Path:
    """Return a file of the packaged images."""
    np.save(tmp_path / "images.npy", load_dataset().images[:60])
    return tmp_path / "images.npy"


def served(
    images: Path, *asked: dict[str, object], variant: str = "openvino", bundle: str = "mobilenet"
) -> list[dict]:
    lines = io.StringIO("".join(json.dumps(one) + "\n" for one in asked))
    out = io.StringIO()
    process.serve(lines, out, bundle, variant, 1, str(images))
    return [json.loads(line) for line in out.getvalue().splitlines()]


def test_it_answers_line_by_line(images: Path) -> None:
    asked = (
        {"do": "answers", "images": 55},
        {"do": "time", "batch_size": 2, "least_s": 0.0},
        {"do": "memory"},
    )
    loaded, answers, taken, memory = served(images, *asked)
    assert loaded["load_s"] > 0
    assert len(answers["classes"]) == 55
    right = np.mean(np.array(answers["classes"]) == load_dataset().coarse[:55])
    assert right > 0.5  # by chance 0.05
    assert 0 < taken["seconds_per_image"] < 1
    assert memory["peak_bytes"] > 50e6


def test_what_cannot_be_loaded_is_an_answer_in_one_line(images: Path) -> None:
    (answer,) = served(images, bundle="nowhere")
    assert answer["error"].startswith("no network 'nowhere'")


def test_an_error_without_words_has_a_name(images: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*args: object) -> None:
        raise RuntimeError

    monkeypatch.setattr(process, "timed", broken)
    _, answer = served(images, {"do": "time", "batch_size": 1, "least_s": 0.0})
    assert answer == {"error": "RuntimeError"}
