"""The torch definitions: sizes, shapes, weights and export."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra torch")

import torch

from hddnn.errors import BundleError
from hddnn.runtimes.openvino import OpenVINO
from hddnn.zoo import Bundle
from hddnn.zoo.export import export
from hddnn.zoo.networks import NETWORKS, build, load_weights
from hddnn.zoo.onnx_files import read_weights

# name: classes, parameters, of these in the stem, features of one image
EXPECTED = {
    "mobilenet": (20, 828_852, 432, (16, 32, 32)),
    "resnet34": (100, 21_336_036, 9_472, (64, 16, 16)),
    "wrn16_4": (100, 2_772_020, 432, (16, 32, 32)),
    "wrn28_10": (100, 36_536_884, 432, (16, 32, 32)),
}


@pytest.mark.parametrize("name", list(NETWORKS))
def test_sizes_and_shapes(name: str) -> None:
    classes, parameters, in_stem, shape = EXPECTED[name]
    network = build(name, classes)
    assert sum(p.numel() for p in network.parameters()) == parameters
    assert sum(p.numel() for p in network.stem.parameters()) == in_stem
    with torch.inference_mode():
        features = network.stem(torch.zeros((2, 32, 32, 3), dtype=torch.uint8))
        assert tuple(features.shape) == (2, *shape)
        assert tuple(network.body(features).shape) == (2, classes)


def test_export_reproduces_the_network(tmp_path: Path) -> None:
    name = "mobilenet"  # the other kind of body is exported in training/test_bundling.py
    torch.manual_seed(0)
    network = build(name, 10)
    for module in network.modules():  # as after training: statistics that are neither 0 nor 1
        if isinstance(module, torch.nn.BatchNorm2d):
            torch.nn.init.uniform_(module.running_mean, -0.1, 0.1)
            torch.nn.init.uniform_(module.running_var, 0.5, 1.5)
    network.half().float()  # as the file will hold them
    facts = export(network, tmp_path)
    labels = [str(i) for i in range(10)]
    bundle = Bundle.create(
        tmp_path, name="own", architecture=name, task="fine", labels=labels, seconds_per_image=1, **facts
    )
    images = np.random.default_rng(0).integers(0, 256, (20, 32, 32, 3), dtype=np.uint8)
    with torch.inference_mode():
        expected = network(torch.from_numpy(images)).numpy()
    np.testing.assert_allclose(OpenVINO(bundle).run(images), expected, atol=1e-4)
    load_weights(network.stem, read_weights(bundle.stem_path))
    load_weights(network.body, read_weights(bundle.body_path))
    with torch.inference_mode():
        np.testing.assert_array_equal(network(torch.from_numpy(images)).numpy(), expected)


def test_preprocessing_is_part_of_the_stem() -> None:
    network = build("mobilenet", 20)
    image = torch.randint(0, 256, (1, 32, 32, 3), dtype=torch.uint8)
    scaled = (image.numpy() / 255 - [0.5071, 0.4865, 0.4409]) / [0.2673, 0.2564, 0.2762]
    with torch.inference_mode():
        expected = network.stem.conv(torch.from_numpy(scaled.astype(np.float32)).permute(0, 3, 1, 2))
        torch.testing.assert_close(network.stem(image), expected)


def test_plain_keys_find_their_part() -> None:
    network = build("resnet34", 100)
    plain = {k.removeprefix("body."): v for k, v in network.state_dict().items()}
    plain = {k.replace("stem.conv", "conv1"): v for k, v in plain.items()}
    network.load_plain(plain)
    del plain["conv1.bias"]
    plain["fc.bias"] = torch.zeros(3)
    with pytest.raises(BundleError, match=r"weights do not fit the network: stem\.conv\.bias missing"):
        network.load_plain(plain)


def test_unknown_network_lists_the_valid_ones() -> None:
    with pytest.raises(BundleError, match="there are mobilenet, resnet34, wrn16_4, wrn28_10"):
        build("vgg", 10)
