"""Networks of torchvision and timm, ImageNet-sized and untrained, under names of their own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
import pytest

pytest.importorskip("torch", reason="needs the extra torch")

import timm
import torch
from torch import nn
from torchvision.models import VisionTransformer, mobilenet_v3_small, shufflenet_v2_x0_5

from hddnn import runtimes, zoo
from hddnn.data.datasets import Dataset
from hddnn.errors import BundleError
from hddnn.importing import IMAGENET_MEAN, IMAGENET_STD
from hddnn.runtimes.known import check_known_answer, known_image

LABELS = [f"class {n}" for n in range(1000)]
NETWORKS: dict[str, Callable[[], nn.Module]] = {
    "torchvision": lambda: shufflenet_v2_x0_5(weights=None),
    "logits near zero": lambda: mobilenet_v3_small(weights=None),
    "timm": lambda: timm.create_model("mobilenetv3_small_050", pretrained=False),
}


@pytest.mark.parametrize("origin", NETWORKS)
def test_a_network_of_imagenets_size(origin: str, sample: Dataset) -> None:
    torch.manual_seed(0)
    module = NETWORKS[origin]().eval()
    made = zoo.from_torch(module, "own", labels=LABELS)
    assert zoo.bundle("own") == made
    assert made.card.origin["input_size"] == [224, 224]
    assert made.card.origin["stem_op"] == "Conv"
    images = sample.images[:3]
    x = torch.from_numpy(images.transpose(0, 3, 1, 2).astype(np.float32) / 255)
    x = nn.functional.interpolate(x, (224, 224), mode="bilinear", align_corners=False)
    mean, std = (torch.tensor(v, dtype=torch.float32).reshape(3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
    with torch.inference_mode():
        expected = module((x - mean) / std).numpy()
    runtime = runtimes.load("openvino", made, parts=("stem", "body"))
    assert np.abs(runtime.run(images) - expected).max() < 1e-2 * np.abs(expected).max()
    check_known_answer(made, runtime.run(known_image(made.card)))  # as each device does
    assert made.card.origin["reference"] == "the torch module"
    with pytest.raises(BundleError, match="runtime torch has no definition of network own"):
        runtimes.load("torch", made)


def test_a_module_that_answers_nan_is_refused() -> None:
    class Broken(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 4, 3)

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return torch.log(-self.conv(x).mean((2, 3)).abs() - 1)

    with pytest.raises(BundleError, match="NaN or infinity"):
        zoo.from_torch(Broken(), "own", labels=["a", "b", "c", "d"], input_size=(24, 24))
    assert "own" not in zoo.names()


def test_a_module_with_more_weights_than_a_file_can_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(onnx.checker, "MAXIMUM_PROTOBUF", 1000)
    monkeypatch.setattr(torch.onnx, "export", None)  # which would take minutes and much memory
    with pytest.raises(BundleError, match="Linear has more than 2 GB of weights"):
        zoo.from_torch(nn.Linear(20, 20), "own", labels=["a", "b"], input_size=(24, 24))


def test_what_is_no_module_or_cannot_take_the_images() -> None:
    with pytest.raises(BundleError, match="OrderedDict is no torch module; build the network, and load its"):
        zoo.from_torch(shufflenet_v2_x0_5(weights=None).state_dict(), "own", labels=LABELS)
    fussy = VisionTransformer(32, 16, 1, 1, 8, 8, num_classes=3)  # asserts the size of its images
    with pytest.raises(BundleError, match=r"cannot take images \(2, 3, 224, 224\): Wrong image height"):
        zoo.from_torch(fussy, "own", labels=["a", "b", "c"])
    assert "own" not in zoo.names()
