"""Making a bundle of a trained network: all that its card says is measured."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from full_disk import room_for

from hddnn.data.datasets import Dataset
from hddnn.data.labels import LabelHierarchy
from hddnn.errors import BundleError, HddnnError
from hddnn.runtimes.openvino import OpenVINO
from hddnn.tasks.calibration import calibrate
from hddnn.training import bundling
from hddnn.training.bundling import accuracies, in_batches, make_bundle
from hddnn.training.images import Images
from hddnn.zoo import Bundle
from hddnn.zoo.networks import Network, build


@pytest.fixture
def network() -> Network:
    torch.manual_seed(0)
    return build("wrn16_4", 100)


@pytest.fixture
def data(sample: Dataset) -> Dataset:
    return Dataset("few", sample.images[:100], sample.coarse[:100], sample.fine[:100], sample.labels)


def test_card_is_measured(
    network: Network, data: Dataset, few: Callable[[int], Images], tmp_path: Path
) -> None:
    out, held_out = tmp_path / "own", few(60)
    facts = {"architecture": "wrn16_4", "task": "fine", "training": {"epochs": 0}}
    made = make_bundle(network, out, data, held_out=held_out, threads=1, **facts)
    assert Bundle.open(out) == made
    card = made.card
    assert (card.name, card.architecture, card.training["epochs"]) == ("own", "wrn16_4", 0)
    assert (card.parameters, card.stem_parameters, card.stem_shape) == (2_772_020, 432, (16, 32, 32))
    assert card.agreement["f32"] >= 0.999
    assert (card.precision.body == "default") == (card.agreement.get("default", 0) >= 0.995)
    runtime = OpenVINO(made)
    logits = in_batches(runtime, data.images)
    # Near, not equal: where `default` was chosen it was measured in bfloat16, which this CPU may not have.
    near = pytest.approx(accuracies(logits, data, "fine"), abs=0.02)
    assert card.accuracy == near
    fitted = calibrate(in_batches(runtime, held_out.hwc), held_out.targets("fine"), logits, data.fine)
    assert card.temperature == pytest.approx(fitted.temperature, rel=0.02)
    assert card.calibration is not None
    assert card.training["held_out_accuracy"] <= 0.1  # it has learned nothing
    assert (card.calibration.images, card.calibration.test_images) == (60, 100)
    assert card.calibration.ece_before == pytest.approx(fitted.ece_before, abs=0.01)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["own"]


def test_a_bundle_that_is_not_the_network_is_refused(
    network: Network, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundling, "_torch_answers", lambda network, images: np.eye(100)[data.fine])
    facts = {"architecture": "wrn16_4", "task": "fine", "training": {}}
    with pytest.raises(BundleError, match=r"^own as exported agrees with its torch network on \d"):
        make_bundle(network, tmp_path / "own", data, **facts)
    assert not list(tmp_path.iterdir())  # not even in part


def test_what_this_cpu_cannot_measure_is_not_claimed(
    network: Network, data: Dataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundling, "can_compute", lambda precision: False)
    facts = {"architecture": "wrn16_4", "task": "fine", "training": {}}
    card = make_bundle(network, tmp_path / "own", data, threads=1, **facts).card
    assert set(card.agreement) == {"f32"}
    assert card.precision.body == "f32"


def test_a_full_disk_is_one_line_and_leaves_nothing(network: Network, data: Dataset, tmp_path: Path) -> None:
    facts = {"architecture": "wrn16_4", "task": "fine", "training": {}}
    with room_for(1000), pytest.raises(HddnnError, match=r"^cannot write .*own: File too large$"):
        make_bundle(network, tmp_path / "own", data, threads=1, **facts)
    assert not list(tmp_path.iterdir())


def test_nothing_that_is_there_is_replaced(network: Network, data: Dataset, tmp_path: Path) -> None:
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "mine").write_text("kept")
    facts = {"architecture": "wrn16_4", "task": "fine", "training": {}}
    few = Dataset("few", data.images[:2], data.coarse[:2], data.fine[:2], data.labels)
    with pytest.raises(BundleError, match="own is there by now"):
        make_bundle(network, tmp_path / "own", few, threads=1, **facts)
    assert [path.name for path in tmp_path.rglob("*")] == ["own", "mine"]


def test_coarse_accuracy_sums_fine_probabilities() -> None:
    labels = LabelHierarchy(("a", "b", "c"), ("x", "y"), np.array([0, 0, 1]))
    images = np.zeros((2, 32, 32, 3), np.uint8)
    data = Dataset("two", images, coarse=np.array([0, 1]), fine=np.array([0, 2]), labels=labels)
    # First image: c is likeliest alone (0.4), but a and b together (0.6) make x.
    logits = np.log(np.array([[0.3, 0.3, 0.4], [0.1, 0.2, 0.7]], np.float32))
    assert accuracies(logits, data, "fine") == {"fine": 0.5, "coarse": 1.0}
    assert accuracies(np.array([[1.0, 0.0], [1.0, 0.0]]), data, "coarse") == {"coarse": 0.5}
