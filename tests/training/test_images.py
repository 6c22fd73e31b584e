"""What a network learns from: which images, and the same ones in the same order for the same seed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from hddnn.data.datasets import Dataset
from hddnn.errors import DataError
from hddnn.training.images import Batches, Images, load_training_images, split
from hddnn.training.recipes import RECIPES

RECIPE = replace(RECIPES["default"]["wrn16_4"], batch_size=16)


def test_held_out_are_the_last_of_each_class(few: Callable[[int], Images]) -> None:
    images = few(2000)  # 20 of each class
    train, held_out = split(images, of_each=5)
    assert len(train) == 1500
    assert len(held_out) == 500
    assert set(np.bincount(held_out.fine.numpy())) == {5}
    rows = np.flatnonzero(images.fine.numpy() == 7)
    assert torch.equal(held_out.pixels[held_out.fine == 7], images.pixels[rows[-5:]])
    assert torch.equal(train.pixels[train.fine == 7], images.pixels[rows[:-5]])


def test_a_class_is_never_held_out_whole(few: Callable[[int], Images]) -> None:
    with pytest.raises(DataError, match=r"has 20 images; holding out 20 leaves none to train on"):
        split(few(2000), of_each=20)


def test_targets_of_both_levels(sample: Dataset, few: Callable[[int], Images]) -> None:
    images = few(50)
    assert np.array_equal(images.targets("fine"), sample.fine[:50])
    assert np.array_equal(images.targets("coarse"), sample.coarse[:50])
    assert np.array_equal(images.hwc, sample.images[:50])


def epoch(batches: Batches, number: int) -> tuple[torch.Tensor, torch.Tensor]:
    parts = list(batches.epoch(number))
    return torch.cat([images for images, _ in parts]), torch.cat([rows for _, rows in parts])


def test_an_epoch_depends_on_seed_and_number_only(few: Callable[[int], Images]) -> None:
    images = few(100)
    first, again = Batches(images, RECIPE, seed=1), Batches(images, RECIPE, seed=1)
    epoch(first, 1)
    torch.rand(5)  # what others draw in between does not matter
    pixels, rows = epoch(first, 2)
    assert len(first) == 6  # the last 4 images make no whole batch
    assert rows.unique().numel() == len(rows) == 96
    for mine, other in zip((pixels, rows), epoch(again, 2), strict=True):
        assert torch.equal(mine, other)
    assert not torch.equal(rows, epoch(first, 3)[1])
    assert not torch.equal(rows, epoch(Batches(images, RECIPE, seed=2), 2)[1])


def test_images_are_cropped_and_flipped_each_in_its_own_way(few: Callable[[int], Images]) -> None:
    one = few(1)
    same = Images(one.pixels.repeat(64, 1, 1, 1), one.fine.repeat(64), one.labels)
    pixels, _ = epoch(Batches(same, RECIPE, seed=0), 1)
    assert pixels.unique(dim=0).shape[0] > 20
    plain = Batches(same, replace(RECIPE, crop=False, flip=False), seed=0)
    assert epoch(plain, 1)[0].unique(dim=0).shape[0] == 1
    flipped = epoch(Batches(same, replace(RECIPE, crop=False), seed=0), 1)[0].unique(dim=0)
    assert torch.equal(flipped.sum(3).sort(0).values, one.pixels.sum(3).repeat(2, 1, 1))


def test_no_training_images_say_what_to_do(sample: Dataset, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"--data-root the folder of cifar-100-python/, or --download"):
        load_training_images(tmp_path, sample.labels)
