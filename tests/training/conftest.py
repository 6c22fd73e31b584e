"""Tiny training sets, cut from the packaged sample."""

from __future__ import annotations

from collections.abc import Callable

import pytest

pytest.importorskip("torch", reason="needs the extra torch")

import torch

from hddnn.data.datasets import Dataset
from hddnn.training.images import Images


@pytest.fixture(autouse=True)
def one_thread() -> None:
    """Compute alike whatever ran before: torch's thread count is the process's."""
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def few(sample: Dataset) -> Callable[[int], Images]:
    """Return a function that gives the first n images of the sample as a training set."""

    def cut(n: int) -> Images:
        pixels = torch.from_numpy(sample.images[:n].copy()).permute(0, 3, 1, 2).contiguous()
        return Images(pixels, torch.from_numpy(sample.fine[:n].copy()), sample.labels)

    return cut
