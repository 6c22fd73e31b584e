"""What only the torch runtime checks."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="needs the extra torch")

from hddnn import zoo
from hddnn.errors import BundleError
from hddnn.runtimes.torch import Torch
from hddnn.zoo import Bundle


def rewritten(path: Path, **changes: object) -> Bundle:
    facts = zoo.bundle("mobilenet").card.model_dump(exclude={"files"})
    return Bundle.create(shutil.copytree(zoo.bundle("mobilenet").path, path), **{**facts, **changes})


def test_network_without_a_torch_definition(tmp_path: Path) -> None:
    with pytest.raises(
        BundleError, match=r"no torch definition of network 'own'; there are mobilenet, resnet34"
    ):
        Torch(rewritten(tmp_path / "own", architecture="own"))


def test_weights_of_another_network(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"weights do not fit the network: "):
        Torch(rewritten(tmp_path / "other", architecture="resnet34"), device="cpu")


def test_features_that_are_not_the_cards(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"features are \(16, 32, 32\), but the card says \(64, 16, 16\)"):
        Torch(rewritten(tmp_path / "shape", stem_shape=(64, 16, 16)), device="cpu")


def test_file_that_is_no_onnx(tmp_path: Path) -> None:
    bundle = rewritten(tmp_path / "cut")
    bundle.body_path.write_bytes(bundle.body_path.read_bytes()[:5000])
    with pytest.raises(BundleError, match=r"body\.onnx is not an ONNX file"):
        Torch(bundle, device="cpu")


@pytest.mark.gpu
def test_cuda_answers_as_the_cpu_does() -> None:
    import numpy as np

    images = np.random.default_rng(0).integers(0, 256, (50, 32, 32, 3), dtype=np.uint8)
    for name in zoo.names():
        cpu, cuda = (Torch(zoo.bundle(name), device=device).run(images) for device in ("cpu", "cuda"))
        np.testing.assert_allclose(cuda, cpu, atol=0.02)
