"""The machine's name."""

from __future__ import annotations

import os
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
