"""A network split anywhere answers as the whole; a depth that it does not have is told."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch

from hddnn import zoo
from hddnn.audit import Auditor
from hddnn.audit.depths import blank, depths, seconds_per_image, split
from hddnn.data.datasets import Dataset
from hddnn.errors import InputError
from hddnn.runtimes.torch import Torch

ENDS = {"mobilenet": "block13", "resnet34": "layer4", "wrn16_4": "group3"}


@pytest.mark.parametrize("network", ENDS)
def test_every_split_answers_as_the_whole_network(network: str, sample: Dataset) -> None:
    bundle = zoo.bundle(network)
    there = depths(bundle)
    assert (there[0], there[-1]) == ("stem", ENDS[network])
    images = sample.images[:4]
    logits = Torch(bundle, device="cpu").run(images)
    for depth in there:
        part = split(bundle, depth)
        assert part.affine == (depth == "stem")
        with torch.no_grad():
            features = part.prefix(torch.from_numpy(images.copy()))
            assert part.suffix(features).numpy() == pytest.approx(logits, abs=1e-3)
            # Images of an attack's are of floats.
            assert torch.equal(part.prefix(torch.from_numpy(images.astype(np.float32))), features)


def test_an_unknown_depth_lists_those_that_there_are(own: zoo.Bundle) -> None:
    with pytest.raises(
        InputError,
        match=r"unknown depth 'layer9', did you mean .* stem, layer1, layer2, layer3, layer4$",
    ):
        split(zoo.bundle("resnet34"), "layer9")
    with pytest.raises(InputError, match=r"unknown depth 'block1'.* stem, as gulls has no torch definition"):
        split(own, "block1")
    assert depths(own) == ("stem",)


def test_a_network_of_onnx_files_is_split_after_its_stem(own: zoo.Bundle, sample: Dataset) -> None:
    part, same = split(own, "stem"), split(zoo.bundle("mobilenet"), "stem")
    images = torch.from_numpy(sample.images[:3].copy())
    features = part.prefix(images)
    assert features.numpy() == pytest.approx(same.prefix(images).numpy(), abs=1e-3)
    assert part.suffix(features).shape == (3, 20)
    assert not part.affine


def test_a_blank_part_knows_nothing(auditor: Callable[[str, str], Auditor]) -> None:
    bundle, known = zoo.bundle("resnet34"), auditor("resnet34", "stem").split.prefix
    one, two, other = (blank(bundle, "stem", seed).state_dict() for seed in (1, 1, 2))
    assert set(one) == set(known.state_dict())
    weight = next(name for name in one if name.endswith("conv.weight"))
    assert torch.equal(one[weight], two[weight])
    assert not torch.equal(one[weight], other[weight])
    assert not torch.allclose(one[weight], known.state_dict()[weight])


def test_deeper_takes_longer(sample: Dataset) -> None:
    bundle = zoo.bundle("resnet34")
    images = sample.images[:20]
    taken = [seconds_per_image(bundle, split(bundle, depth), images, runs=2) for depth in ("stem", "layer3")]
    assert [runtime for _, runtime in taken] == ["openvino", "torch"]
    assert 0 < taken[0][0] < taken[1][0]
