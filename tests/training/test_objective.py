"""What is minimised, against sums done by hand, and the head that is wide in training only."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from hddnn.training.images import Images
from hddnn.training.objective import Objective, narrow_head, widen_head
from hddnn.training.recipes import RECIPES
from hddnn.zoo.networks import build

COARSE, FINE = RECIPES["default"]["mobilenet"], RECIPES["default"]["wrn16_4"]


def test_labels_alone_are_smoothed_cross_entropy(few: Callable[[int], Images]) -> None:
    images = few(8)
    aim = Objective(replace(FINE, label_smoothing=0.2), images.fine, images.labels)
    logits = torch.randn(8, 100, generator=torch.Generator().manual_seed(0))
    expected = F.cross_entropy(logits, images.fine, label_smoothing=0.2)
    assert aim.widths == [100]
    assert float(aim.loss(logits, aim.rows)) == pytest.approx(float(expected), rel=1e-6)


def test_a_coarse_network_learns_both_levels_and_the_teacher(few: Callable[[int], Images]) -> None:
    images = few(8)
    rng = np.random.default_rng(0)
    taught = rng.normal(size=(8, 100)).astype(np.float32)
    recipe = replace(COARSE, label_smoothing=0.0, teacher_weight=0.75, teacher_temperature=2.0)
    aim = Objective(recipe, images.fine, images.labels, taught)
    assert aim.widths == [20, 100]
    logits = torch.from_numpy(rng.normal(size=(8, 120)).astype(np.float32))
    coarse, fine = logits[:, :20], logits[:, 20:]
    parents = torch.from_numpy(images.labels.fine_to_coarse)
    labels = F.cross_entropy(coarse, parents[images.fine]) + F.cross_entropy(fine, images.fine)
    soft = F.softmax(torch.from_numpy(taught) / 2, 1)
    soft_coarse = torch.zeros(8, 20).index_add_(1, parents, soft)
    teacher = -(soft_coarse * F.log_softmax(coarse / 2, 1)).sum(1).mean() * 4
    teacher = teacher - (soft * F.log_softmax(fine / 2, 1)).sum(1).mean() * 4
    expected = 0.25 * labels + 0.75 * teacher
    assert float(aim.loss(logits, aim.rows)) == pytest.approx(float(expected), rel=1e-5)


def test_rows_are_probabilities(few: Callable[[int], Images]) -> None:
    images = few(20)
    taught = np.random.default_rng(0).normal(size=(20, 100)).astype(np.float32)
    aim = Objective(replace(COARSE, label_smoothing=0.1), images.fine, images.labels, taught)
    for part in aim.rows.split([20, 100, 20, 100], 1):
        assert torch.allclose(part.sum(1), torch.ones(20), atol=1e-5)
        assert part.min() >= 0


def test_accuracy_is_of_the_networks_own_level(few: Callable[[int], Images]) -> None:
    images = few(10)
    aim = Objective(COARSE, images.fine, images.labels)
    logits = torch.zeros(10, 120)
    logits[range(10), torch.from_numpy(images.targets("coarse"))] = 1.0
    logits[:3, :20] = logits[:3, :20].roll(1, 1)
    assert int(aim.correct(logits, aim.rows)) == 7


def test_the_wide_head_goes_as_it_came() -> None:
    torch.manual_seed(0)
    network = build("mobilenet", 20)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    images = torch.randint(0, 256, (2, 32, 32, 3), dtype=torch.uint8)
    with torch.inference_mode():
        answers = network(images)
        widen_head(network, 120)
        assert torch.allclose(network(images)[:, :20], answers, atol=1e-6)
    narrow_head(network, 20)
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(before[key], after[key]) for key in before)
