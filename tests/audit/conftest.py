"""Networks split once for all tests, and attacks that take seconds."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the extra torch")
pytest.importorskip("skimage", reason="needs the extra torch")

import torch

from hddnn import zoo
from hddnn.audit import Auditor, Effort
from hddnn.zoo.card import ONNX_ONLY

QUICK = Effort(decoder_steps=20, gradient_steps=12, shadow_steps=30, tuned=3, learned=100)


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def auditor() -> Callable[[str, str], Auditor]:
    return cache(lambda network, depth: Auditor(zoo.bundle(network), depth))


@pytest.fixture(scope="session")
def quick() -> Effort:
    return QUICK


@pytest.fixture
def own(tmp_path: Path) -> zoo.Bundle:
    """Return a network that torch does not know: a packaged one under another name."""
    folder, bundle = tmp_path / "gulls", zoo.bundle("mobilenet")
    shutil.copytree(bundle.path, folder)
    facts = bundle.card.model_dump(exclude={"files"}) | {"name": "gulls", "architecture": ONNX_ONLY}
    zoo.Bundle.create(folder, **facts)
    return zoo.bundle(folder)
