"""The images a network learns from: CIFAR-100's training split by torchvision, and what is done to each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset
from torchvision.datasets import CIFAR100
from torchvision.transforms import v2

from hddnn.data.labels import LabelHierarchy
from hddnn.errors import DataError
from hddnn.training.recipes import Recipe

# Of each fine class, so many images (the last in the file's order) are never trained on: what the temperature
# is fitted on. The same for every network, so that none learns them from a teacher either.
HELD_OUT_OF_EACH = 25


@dataclass(frozen=True, eq=False)
class Images:
    """Labelled images: uint8 (N, 3, H, W) and fine labels int64 (N,)."""

    pixels: Tensor
    fine: Tensor
    labels: LabelHierarchy

    def __len__(self) -> int:
        return len(self.pixels)

    def select(self, rows: np.ndarray) -> Images:
        """Return the images of these rows."""
        index = torch.from_numpy(rows)
        return Images(self.pixels[index], self.fine[index], self.labels)

    @property
    def hwc(self) -> np.ndarray:
        """Return the pixels as runtimes take them: uint8 (N, H, W, 3)."""
        return np.ascontiguousarray(self.pixels.permute(0, 2, 3, 1).numpy())

    def targets(self, task: str) -> np.ndarray:
        """Return the labels of a level: int64 (N,)."""
        fine: np.ndarray = self.fine.numpy()
        return fine if task == "fine" else self.labels.fine_to_coarse[fine]


def load_training_images(root: Path, labels: LabelHierarchy, *, download: bool = False) -> Images:
    """Read CIFAR-100's 50,000 training images from root/cifar-100-python; raises DataError."""
    try:
        data = CIFAR100(root, train=True, download=download)
    except (RuntimeError, OSError) as error:
        raise DataError(
            f"{root}: no CIFAR-100 training images that can be read ({str(error).splitlines()[0]}); "
            "give --data-root the folder of cifar-100-python/, or --download"
        ) from error
    if tuple(data.classes) != labels.fine:
        raise DataError(f"{root}: the training images name other classes than the test images")
    pixels = torch.from_numpy(data.data).permute(0, 3, 1, 2).contiguous()
    return Images(pixels, torch.tensor(data.targets), labels)


def split(images: Images, of_each: int = HELD_OUT_OF_EACH) -> tuple[Images, Images]:
    """Return (images to train on, images held out): the last `of_each` of every fine class are held out.

    Raises DataError when a class would have nothing left to train on.
    """
    fine = images.fine.numpy()
    held = np.zeros(len(fine), bool)
    for label in np.unique(fine):
        rows = np.flatnonzero(fine == label)
        if len(rows) <= of_each:
            raise DataError(
                f"class {images.labels.fine[label]} has {len(rows)} images; "
                f"holding out {of_each} leaves none to train on"
            )
        held[rows[len(rows) - of_each :]] = True
    return images.select(np.flatnonzero(~held)), images.select(np.flatnonzero(held))


class _Augmented(TorchDataset[tuple[Tensor, int]]):
    """Each image cropped and flipped at random, with its row."""

    def __init__(self, images: Images, recipe: Recipe) -> None:
        size = list(images.pixels.shape[2:])
        steps: list[torch.nn.Module] = []
        if recipe.crop:
            steps.append(v2.RandomCrop(size, padding=4, padding_mode="reflect"))
        if recipe.flip:
            steps.append(v2.RandomHorizontalFlip())
        self._change = v2.Compose(steps or [v2.Identity()])
        self._images = images

    def __len__(self) -> int:
        return len(self._images)

    def __getitem__(self, row: int) -> tuple[Tensor, int]:
        return self._change(self._images.pixels[row]), row


class Batches:
    """The augmented batches of each epoch; an epoch's depend on the seed and its number only.

    workers: processes that augment; 0: this one does (their number is part of what decides the batches).
    """

    def __init__(self, images: Images, recipe: Recipe, *, seed: int, workers: int = 0) -> None:
        self._order = torch.Generator()
        self._seed = seed
        self._loader = DataLoader(
            _Augmented(images, recipe),
            batch_size=min(recipe.batch_size, len(images)),
            shuffle=True,
            drop_last=True,  # a last batch of a few images would spoil the batch statistics
            generator=self._order,
            num_workers=workers,
        )

    def __len__(self) -> int:
        return len(self._loader)

    def epoch(self, number: int) -> Iterator[tuple[Tensor, Tensor]]:
        """Yield (images uint8 (B, 3, H, W), rows int64 (B,)); seeds torch's generator first."""
        torch.manual_seed(self._seed * 100_003 + number)
        self._order.manual_seed(self._seed * 100_003 + number)
        yield from self._loader
