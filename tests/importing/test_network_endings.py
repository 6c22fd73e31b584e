"""What a network ends in: logits come out of the bundle, or it is said why none can."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from made_networks import LABELS, network, saved
from test_adding import IMAGES, add, expected

from hddnn.errors import BundleError
from hddnn.importing import from_onnx
from hddnn.runtimes.openvino import OpenVINO
from hddnn.tasks.calibration import probabilities


@pytest.mark.parametrize("flatten", ["flatten", "no"])
def test_a_sigmoid_is_left_off(tmp_path: Path, flatten: str) -> None:
    """Its outputs were taken for logits, so that every answer was nearly as sure as every other."""
    made = add(tmp_path, flatten=flatten, ends=["sigmoid"])
    assert made.card.origin["ending"] == "the final Sigmoid was left off"
    logits = OpenVINO(made).run(IMAGES)
    wanted = expected(network(flatten=flatten, ends=["sigmoid"]))
    np.testing.assert_allclose(1 / (1 + np.exp(-logits)), wanted, atol=1e-5)


def test_confidence_is_that_of_exactly_one_class(tmp_path: Path) -> None:
    odds = expected(network(ends=["sigmoid"])).astype(np.float64)  # (B, classes): each class by itself
    alone = [odds[:, i] * np.delete(1 - odds, i, axis=1).prod(axis=1) for i in range(odds.shape[1])]
    wanted = np.stack(alone, axis=1) / np.sum(alone, axis=0)[:, None]
    got = probabilities(OpenVINO(add(tmp_path, ends=["sigmoid"])).run(IMAGES))
    np.testing.assert_allclose(got, wanted, atol=1e-4)


@pytest.mark.parametrize(
    ("ends", "done"),
    [
        (["log-softmax"], ""),
        (["softmax", "log"], ""),
        (["cool"], ""),
        (["last relu"], ""),
        (["cool", "softmax"], "the final Softmax was left off"),
        (["softmax", "percent"], "the logarithm of its probabilities"),
    ],
)
def test_confidence_is_the_networks_own(tmp_path: Path, ends: list[str], done: str) -> None:
    made = add(tmp_path, ends=ends)
    assert made.card.origin["ending"] == done
    values = expected(network(ends=ends))
    wanted = values / values.sum(axis=1, keepdims=True) if done else probabilities(values)
    np.testing.assert_allclose(probabilities(OpenVINO(made).run(IMAGES)), wanted, atol=1e-5)


@pytest.mark.parametrize(
    ("ends", "said"),
    [
        (["hard-sigmoid"], "own.onnx ends in HardSigmoid 'hard-sigmoid', which squeezes its scores"),
        (["tanh"], "own.onnx ends in Tanh 'tanh', which squeezes its scores"),
        (["softmax over images"], "own.onnx ends in Softmax 'softmax over images', which is not over its 10"),
        (["exp", "and one", "inverse"], "own.onnx ends in Reciprocal 'inverse' with scores between 0 and 1"),
        (
            ["sigmoid", "cool"],
            "own.onnx ends in Div 'cool' with scores between 0 and 1 that do not sum to one",
        ),
    ],
)
def test_scores_that_no_confidence_can_be_made_of(tmp_path: Path, ends: list[str], said: str) -> None:
    with pytest.raises(BundleError) as error:
        add(tmp_path, ends=ends)
    assert str(error.value).removeprefix(f"{tmp_path}/").startswith(said)
    assert "; export it with" in str(error.value)


def test_logits_that_happen_to_lie_between_zero_and_one_are_logits(tmp_path: Path) -> None:
    model = network()
    (last,) = [node for node in model.graph.node if node.output[0] == "scores"]
    assert last.op_type == "MatMul"
    for tensor in model.graph.initializer:
        if tensor.name == "w3":
            weights = np.abs(np.frombuffer(tensor.raw_data, np.float32)) / 1e3
            tensor.raw_data = weights.astype(np.float32).tobytes()
    second = next(node for node in model.graph.node if node.output[0] == "mean")
    second.op_type = "GlobalMaxPool"
    made = from_onnx(saved(tmp_path, model), "own", labels=LABELS, image_size=(24, 24))
    assert made.card.origin["ending"] == ""
