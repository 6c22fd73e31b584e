"""The tool that makes a bundle of trained weights: what it measures, and what it refuses."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra torch")

import torch

from hddnn.data import Dataset
from hddnn.errors import BundleError
from hddnn.labels import LabelHierarchy
from hddnn.runtimes.openvino import OpenVINO
from hddnn.zoo import Bundle
from hddnn.zoo.networks import build
from hddnn.zoo_tool import accuracies, make_bundle


def test_card_is_measured(sample: Dataset, tmp_path: Path) -> None:
    data = Dataset("few", sample.images[:100], sample.coarse[:100], sample.fine[:100], sample.labels)
    torch.manual_seed(0)
    state = build("wrn16_4", 100).state_dict()
    plain = {key.removeprefix("body.").replace("stem.conv", "conv1"): value for key, value in state.items()}
    torch.save(plain, tmp_path / "weights.pt")
    out = tmp_path / "own"
    made = make_bundle("wrn16_4", tmp_path / "weights.pt", out, data, task="fine", training={"epochs": 0})
    assert Bundle.open(out) == made
    card = made.card
    assert (card.name, card.architecture, card.training) == ("own", "wrn16_4", {"epochs": 0})
    assert (card.parameters, card.stem_parameters, card.stem_shape) == (2_772_020, 432, (16, 32, 32))
    assert card.agreement["f32"] >= 0.999
    assert (card.precision.body == "default") == (card.agreement["default"] >= 0.995)
    logits = np.concatenate([OpenVINO(made, threads=2).run(data.images[i : i + 50]) for i in (0, 50)])
    assert card.accuracy == accuracies(logits, data, "fine")
    with pytest.raises(BundleError, match="weights do not fit the network"):
        make_bundle("mobilenet", tmp_path / "weights.pt", out, data, task="coarse", training={})


def test_coarse_accuracy_sums_fine_probabilities() -> None:
    labels = LabelHierarchy(("a", "b", "c"), ("x", "y"), np.array([0, 0, 1]))
    images = np.zeros((2, 32, 32, 3), np.uint8)
    data = Dataset("two", images, coarse=np.array([0, 1]), fine=np.array([0, 2]), labels=labels)
    # First image: c is likeliest alone (0.4), but a and b together (0.6) make x.
    logits = np.log(np.array([[0.3, 0.3, 0.4], [0.1, 0.2, 0.7]], np.float32))
    assert accuracies(logits, data, "fine") == {"fine": 0.5, "coarse": 1.0}
    assert accuracies(np.array([[1.0, 0.0], [1.0, 0.0]]), data, "coarse") == {"coarse": 0.5}
