"""A store of its own for each test, and no time lost on exact timing."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("onnx", reason="needs the extra onnx")

from hddnn.importing import checking


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("HDDNN_NETWORKS", str(tmp_path / "networks"))
    monkeypatch.setattr(checking, "_TIMED_S", 0.01)
    return tmp_path / "networks"
