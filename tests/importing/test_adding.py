"""From an ONNX file to a network with a name: what it answers, and what is refused."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from made_networks import LABELS, network, saved
from waiting import PATIENCE_S

from hddnn import runtimes, zoo
from hddnn.data.datasets import Dataset
from hddnn.data.labels import LabelHierarchy
from hddnn.errors import BundleError, DataError, InputError
from hddnn.importing import IMAGENET_MEAN, IMAGENET_STD, from_onnx
from hddnn.runtimes.openvino import OpenVINO, as_given
from hddnn.tasks.calibration import probabilities
from hddnn.zoo import Bundle

IMAGES = np.random.default_rng(1).integers(0, 256, (5, 24, 24, 3), np.uint8)


def add(
    folder: Path, name: str = "own", *, labels: Any = LABELS, image_size: Any = (24, 24), **wishes: Any
) -> Bundle:
    """Add the network that some wishes ask for; those that made_networks does not know go to from_onnx."""
    made = {key: wishes.pop(key) for key in list(wishes) if key in network.__kwdefaults__}
    return from_onnx(saved(folder, network(**made)), name, labels=labels, image_size=image_size, **wishes)


def expected(model: onnx.ModelProto, *, channels_last: bool = False, dtype: type = np.float32) -> np.ndarray:
    """Return what a network itself answers to IMAGES, prepared here."""
    x = (IMAGES / 255 - IMAGENET_MEAN) / IMAGENET_STD
    x = x if channels_last else x.transpose(0, 3, 1, 2)
    return as_given(model.SerializeToString(), 1)(np.ascontiguousarray(x, dtype))[0].reshape(len(IMAGES), -1)


KINDS: dict[str, dict[str, Any]] = {
    "plain": {},
    "channels last": {"channels_last": True},
    "half": {"dtype": np.float16},
    "double": {"dtype": np.float64},
    "any size": {"size": ("h", "w")},
    "scores (B, 10, 1, 1)": {"flatten": "no"},
    "batch read off the images": {"flatten": "shape"},
    "log-softmax": {"ends": ["log-softmax"]},
    "old": {"opset": 9, "ir_version": 3, "weights_as_inputs": True},
    "new": {"opset": 22, "ir_version": 10},
    "another output": {"outputs": ["flat"]},
}


@pytest.mark.parametrize("kind", KINDS)
def test_a_bundle_answers_as_its_network(tmp_path: Path, kind: str) -> None:
    made = add(tmp_path, **KINDS[kind])
    dtype = KINDS[kind].get("dtype", np.float32)
    wanted = expected(network(**KINDS[kind]), channels_last="last" in kind, dtype=dtype)
    tolerance = 2e-2 if kind == "half" else 1e-5
    parts = runtimes.load("openvino", made, parts=("stem", "body"))
    np.testing.assert_allclose(parts.body(parts.stem(IMAGES)), wanted, atol=tolerance)
    np.testing.assert_allclose(OpenVINO(made).run(IMAGES[:1]), wanted[:1], atol=tolerance)


@pytest.mark.parametrize("tensor", ["first", "relu", "second", "mean"])
def test_it_answers_alike_wherever_it_is_split(tmp_path: Path, tensor: str) -> None:
    made = add(tmp_path, stem_output=tensor)
    assert made.card.origin["stem_output"] == tensor
    parts = runtimes.load("openvino", made, parts=("stem", "body"))
    np.testing.assert_allclose(parts.body(parts.stem(IMAGES)), expected(network()), atol=1e-5)


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("flatten", ["flatten", "reshape"])
def test_a_fixed_batch_becomes_any(tmp_path: Path, batch: int, flatten: str) -> None:
    if (batch, flatten) == (2, "reshape"):
        pytest.skip("reshapes to a batch of 1")
    made = add(tmp_path, batch=batch, flatten=flatten)
    np.testing.assert_allclose(OpenVINO(made).run(IMAGES), expected(network()), atol=1e-5)


@pytest.mark.parametrize(
    ("ends", "done"),
    [
        (["softmax"], "the final Softmax was left off"),
        (["exp", "share"], "the logarithm of its probabilities"),
    ],
)
def test_probabilities_become_logits(tmp_path: Path, ends: list[str], done: str) -> None:
    made = add(tmp_path, ends=ends)
    assert made.card.origin["ending"] == done
    logits = OpenVINO(made).run(IMAGES)
    np.testing.assert_allclose(probabilities(logits), expected(network(ends=ends)), atol=1e-5)
    assert logits.min() < 0  # or a confidence would be the softmax of probabilities


def test_a_softmax_before_the_last_flatten_is_found(tmp_path: Path) -> None:
    made = add(tmp_path, flatten="no", ends=["softmax", "flatten"])
    assert made.card.origin["ending"] == "the final Softmax was left off"
    np.testing.assert_allclose(OpenVINO(made).run(IMAGES), expected(network(flatten="no")), atol=1e-5)


def test_the_card_says_what_was_done(tmp_path: Path) -> None:
    card = add(tmp_path, image_size=(32, 48), mean=(0.5, 0.4, 0.3), std=(0.2, 0.3, 0.1), task="coarse").card
    assert (card.name, card.task, card.labels) == ("own", "coarse", LABELS)
    assert (card.input_shape, card.stem_shape) == ((32, 48, 3), (8, 11, 11))
    assert (card.mean, card.std) == ((0.5, 0.4, 0.3), (0.2, 0.3, 0.1))
    assert card.stem_parameters == 8 * 27 + 8
    assert card.parameters == 8 * 27 + 8 + 16 * 72 + 160
    assert card.feature_bytes == 4 * 8 * 11 * 11
    assert 0 < card.service_time.total_s(1) < 1
    assert (card.precision.stem, card.precision.body, card.accuracy) == ("f32", "f32", {})
    assert card.origin["source"] == "own.onnx"
    assert card.origin["input_size"] == [24, 24]


def test_images_are_resized_as_torch_resizes_them(tmp_path: Path) -> None:
    functional = pytest.importorskip("torch.nn.functional", reason="needs the extra torch")
    import torch

    for image_size, size in (((32, 32), (24, 24)), ((16, 20), (30, 24)), ((24, 40), (24, 24))):
        made = add(tmp_path, size=size, image_size=image_size, replace=True)
        images = np.random.default_rng(2).integers(0, 256, (3, *image_size, 3), np.uint8)
        x = torch.from_numpy((images / 255 - IMAGENET_MEAN) / IMAGENET_STD).permute(0, 3, 1, 2)
        x = functional.interpolate(x, size, mode="bilinear", align_corners=False, antialias=False)
        (wanted,) = as_given(network(size=size).SerializeToString(), 1)(x.float().contiguous().numpy())
        np.testing.assert_allclose(OpenVINO(made).run(images), wanted, atol=1e-4)


def test_a_network_of_any_size_is_given_the_size_asked_for(tmp_path: Path) -> None:
    assert add(tmp_path, size=("h", "w")).card.stem_shape == (8, 11, 11)
    assert add(tmp_path, size=("h", "w"), input_size=(48, 24), replace=True).card.stem_shape == (8, 23, 11)
    with pytest.raises(BundleError, match=r"own\.onnx takes images of 24x24 only, not 48x24"):
        add(tmp_path, input_size=(48, 24), replace=True)


@pytest.mark.parametrize(
    ("wishes", "said"),
    [
        ({"labels": LABELS[:9]}, "own.onnx answers 10 classes, but there are 9 labels"),
        ({"labels": ["cat", "cat"]}, "labels: line 2: 'cat' stands in line 1 already"),
        ({"stem_output": "frist"}, "own.onnx has no tensor 'frist', did you mean 'first'?"),
        ({"stem_output": "first", "skip": True}, "own.onnx cannot be split at 'first': x goes round it"),
        ({"ends": ["sqrt"]}, "own.onnx answers 12 of 12 images with NaN or infinity"),
        (
            {"ends": ["argmax"]},
            "own.onnx: output argmax is int64 (12, 1) for a batch of 12; it must be a float score",
        ),
        (
            {"outputs": ["scores"], "ends": ["softmax"]},
            "own.onnx has 2 outputs (softmax (12, 10), scores (12, 10)), 2 of",
        ),
        (
            {"outputs": ["flat"], "labels": ["a"]},
            "own.onnx has 2 outputs (scores (12, 10), flat (12, 16)), 0 of them for",
        ),
        ({"flatten": "reshape"}, "own.onnx cannot answer a batch of 12 ("),
        ({"input_size": (0, 24)}, "the network's input size is 0x24"),
        ({"task": "finest"}, "task is 'finest'"),
    ],
)
def test_what_cannot_be_used_is_one_line_and_leaves_nothing(
    tmp_path: Path, store: Path, wishes: dict[str, Any], said: str
) -> None:
    with pytest.raises(BundleError) as error:
        add(tmp_path, **wishes)
    assert str(error.value).removeprefix(f"{tmp_path}/").startswith(said)
    assert "\n" not in str(error.value)
    assert not list(store.glob("*")) + list(store.glob(".*"))


def test_a_batch_size_hidden_in_the_network_is_noticed(tmp_path: Path, store: Path) -> None:
    # Declared for a batch of 1; a constant of that size is joined to the features.
    model = network(batch=1)
    ones = onnx.numpy_helper.from_array(np.ones((1, 8, 11, 11), np.float32), "ones")
    model.graph.initializer.append(ones)
    model.graph.node.insert(2, onnx.helper.make_node("Concat", ["relu", "ones"], ["joined"], axis=0))
    model.graph.node.insert(3, onnx.helper.make_node("ReduceMax", ["joined"], ["most"], axes=[0], keepdims=1))
    (second,) = [node for node in model.graph.node if node.output[0] == "second"]
    second.input[0] = "most"
    with pytest.raises(BundleError, match=r"torch\.onnx\.export\(\.\.\., dynamic_shapes="):
        from_onnx(saved(tmp_path, model), "own", labels=LABELS, image_size=(24, 24))
    assert not list(store.glob("*"))


def test_an_operator_that_openvino_does_not_know(tmp_path: Path) -> None:
    model = network()
    model.graph.node[1].op_type, model.graph.node[1].domain = "Rectify", "elsewhere"
    model.opset_import.append(onnx.helper.make_opsetid("elsewhere", 1))
    with pytest.raises(
        BundleError, match=r"own\.onnx cannot be run by OpenVINO: No conversion rule .* elsewhere\.Rectify"
    ):
        from_onnx(saved(tmp_path, model), "own", labels=LABELS)


def test_damage_done_later_is_noticed_when_the_network_is_opened(tmp_path: Path) -> None:
    made = add(tmp_path)
    made.body_path.write_bytes(made.body_path.read_bytes()[:-10])
    with pytest.raises(BundleError, match=r"networks/own/body\.onnx is damaged: its hash is not the card's"):
        zoo.bundle("own")


def test_accuracy_is_measured_on_data_of_its_classes(tmp_path: Path) -> None:
    truth = expected(network()).argmax(1)
    images = np.zeros((5, 32, 32, 3), np.uint8)
    images[:, :24, :24] = IMAGES
    labels = LabelHierarchy(LABELS, ("all",), np.zeros(10, int))
    made = add(tmp_path, size=(32, 32), image_size=(32, 32))
    truth = OpenVINO(made).run(images).argmax(1)
    truth[0] = (truth[0] + 1) % 10
    data = Dataset("five", images, np.zeros(5, int), truth, labels)
    again = add(tmp_path, "again", size=(32, 32), image_size=(32, 32), data=data)
    assert again.card.accuracy == {"fine": 0.8}


def test_data_of_other_classes_is_refused_before_the_network_is_run(tmp_path: Path, sample: Dataset) -> None:
    with pytest.raises(
        DataError, match="data set sample and network own do not fit: the network has no fine class"
    ):
        add(tmp_path, size=("h", "w"), image_size=(32, 32), data=sample)


def test_missing_onnx_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = saved(tmp_path)
    monkeypatch.setitem(sys.modules, "onnx", None)
    with pytest.raises(InputError, match=r"adding a network needs onnx: pip install 'hddnn\[onnx\]'"):
        from_onnx(file, "own", labels=LABELS)


def test_the_zoo_offers_it_without_loading_what_it_needs() -> None:
    code = (
        "import sys, hddnn.zoo\n"
        "from hddnn.zoo import from_onnx, from_torch\n"
        "assert not {'torch', 'onnx', 'openvino'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, timeout=PATIENCE_S)
    with pytest.raises(AttributeError, match="no attribute 'from_keras'"):
        zoo.from_keras  # noqa: B018


def test_data_of_another_size_is_refused_before_the_network_is_run(tmp_path: Path, sample: Dataset) -> None:
    with pytest.raises(
        DataError, match="the images of data set sample are 32x32, but network own gets 24x24"
    ):
        add(tmp_path, data=sample)


def test_a_scalar_beside_the_answers_of_a_fixed_batch(tmp_path: Path) -> None:
    model = network(batch=1)
    model.graph.node.append(onnx.helper.make_node("ReduceMax", ["scores"], ["most"], keepdims=0))
    model.graph.output.append(onnx.helper.make_tensor_value_info("most", onnx.TensorProto.FLOAT, []))
    made = from_onnx(saved(tmp_path, model), "own", labels=LABELS, image_size=(24, 24))
    np.testing.assert_allclose(OpenVINO(made).run(IMAGES), expected(network()), atol=1e-5)


def test_a_file_whose_name_is_no_text(tmp_path: Path) -> None:
    file = saved(tmp_path).rename(tmp_path / os.fsdecode(b"gull\xff.onnx"))
    made = from_onnx(file, "own", labels=LABELS, image_size=(24, 24))
    assert made.card.origin["source"] == "gull\N{REPLACEMENT CHARACTER}.onnx"


def test_images_of_a_size_that_a_network_cannot_take(tmp_path: Path) -> None:
    with pytest.raises(
        BundleError, match=r"cannot take images of 2x2 .*; give the size that it was made for"
    ):
        add(tmp_path, size=("h", "w"), image_size=(2, 2))
