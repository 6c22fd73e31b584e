"""What networks need in memory is near what they take."""

from __future__ import annotations

import subprocess
import sys

import pytest
from waiting import PATIENCE_S

from hddnn import zoo
from hddnn.engines.dask.device import memory
from hddnn.engines.dask.device.memory import check_memory, free_bytes, needed_bytes
from hddnn.errors import ClusterError

TAKES = """
import sys, psutil, distributed
from hddnn import runtimes, zoo
runtimes.preload()
own = psutil.Process()
before = own.memory_info().rss
network = runtimes.load("openvino", zoo.bundle(sys.argv[1]))
network.warm_up(int(sys.argv[2]), runs=1)
print(own.memory_info().rss - before)
"""


@pytest.mark.parametrize(("name", "batch"), [("mobilenet", 1), ("resnet34", 50), ("wrn16_4", 100)])
def test_what_a_network_needs_is_near_what_it_takes(name: str, batch: int) -> None:
    done = subprocess.run(
        [sys.executable, "-c", TAKES, name, str(batch)],
        capture_output=True,
        text=True,
        check=True,
        timeout=PATIENCE_S,
    )
    needed = needed_bytes(zoo.bundle(name), (), batch)
    assert 0.9 < needed / int(done.stdout) < 1.8


def test_float32_takes_more_than_bfloat16(monkeypatch: pytest.MonkeyPatch) -> None:
    needed = {}
    for precision in ("f32", "bf16"):
        monkeypatch.setattr(memory, "default_precision", lambda precision=precision: precision)
        needed[precision] = needed_bytes(zoo.bundle("wrn16_4"), (), 100)
    # What it took, in bytes, on a CPU that has nothing but float32.
    assert 0.9 < needed["f32"] / 174.5e6 < 1.2
    assert needed["bf16"] < needed["f32"]


def test_stems_count_by_their_features() -> None:
    end, stem = zoo.bundle("mobilenet"), zoo.bundle("resnet34")
    more = needed_bytes(end, [stem], 50) - needed_bytes(end, [], 50)
    assert 50 * stem.card.feature_bytes < more < 1e8


def test_too_little_is_told_in_numbers() -> None:
    assert free_bytes() > 0
    check_memory("cloud", 1e8, 1e8)
    with pytest.raises(ClusterError, match=r"the networks of cloud need about 200 MB, and 50 MB are free; "):
        check_memory("cloud", 2e8, 5e7)
