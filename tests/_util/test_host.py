"""What this machine is, and how much of it one gets."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from hddnn._util import host


@pytest.fixture(autouse=True)
def asked_anew() -> Iterator[None]:
    host.gpu.cache_clear()
    yield
    host.gpu.cache_clear()


def test_a_processor_has_a_name() -> None:
    assert host.processor() == host.processor().strip() != ""
    assert "\n" not in host.processor()


def test_the_description_tells_cores_and_memory() -> None:
    assert host.description().startswith(f"{os.cpu_count()} cores of {host.processor()}")
    assert f"{host.memory_gb():.0f} GB" in host.description()


def test_without_a_driver_there_is_no_gpu(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    assert host.gpu() == "none"


def test_gpus_are_those_that_the_driver_lists(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    tool = tmp_path / "nvidia-smi"
    tool.write_text("#!/bin/sh\nprintf 'NVIDIA H100\\nNVIDIA A2\\n'\n")
    tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert host.gpu() == "NVIDIA H100, NVIDIA A2"
    assert host.description().endswith(", NVIDIA H100, NVIDIA A2")


def test_how_long_a_thread_was_starved_grows_and_is_none_where_nothing_tells(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    first_s = host.starved_s()
    assert 0 <= first_s <= host.starved_s() <= time.monotonic()

    def unreadable(*args: object, **kwargs: object) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(Path, "read_text", unreadable)
    assert host.starved_s() == 0


def test_a_thread_that_has_to_share_its_core_is_starved_for_as_long_as_the_other_runs() -> None:
    if host.starved_s() == 0 and not Path("/proc/thread-self/schedstat").exists():
        pytest.skip("this system does not tell how long a thread waits for a processor")
    before_s, allowed = host.starved_s(), os.sched_getaffinity(0)
    core = {min(allowed)}
    other = subprocess.Popen(
        [sys.executable, "-c", f"import os\nos.sched_setaffinity(0, {core})\nwhile True: pass"]
    )
    try:
        os.sched_setaffinity(0, core)
        # What it takes, and not what the clock shows: half of the core is the other's.
        end_s = time.thread_time() + 0.5
        while time.thread_time() < end_s:
            pass
    finally:
        os.sched_setaffinity(0, allowed)
        other.kill()
        other.wait()
    assert host.starved_s() - before_s > 0.1
