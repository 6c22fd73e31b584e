"""What is minimised: true labels and a teacher's answers, on both levels of labels where that helps."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from hddnn.data.labels import LabelHierarchy
from hddnn.training.recipes import Recipe
from hddnn.zoo.networks import Network


class Objective:
    """Targets of every training image as one row of probabilities, and the loss against them.

    A row holds, side by side, the labels and then (with a teacher) the teacher's answers; each for the levels
    in `widths`. Rows are probabilities, so images that are mixed have mixed rows.
    A coarse network learns the fine level too, through a second head that is dropped at the end: the fine
    labels say more about an image than the coarse ones.
    teacher: the teacher's logits of the training images, float (N, fine).
    """

    def __init__(
        self, recipe: Recipe, fine: Tensor, labels: LabelHierarchy, teacher: np.ndarray | None = None
    ) -> None:
        self.recipe = recipe
        coarse = torch.from_numpy(labels.fine_to_coarse)[fine]
        self.levels = ("coarse", "fine") if recipe.task == "coarse" else ("fine",)
        self.widths = [len(labels.levels[level]) for level in self.levels]
        truth = {"coarse": coarse, "fine": fine}
        parts = [
            _smoothed(truth[level], width, recipe.label_smoothing)
            for level, width in zip(self.levels, self.widths, strict=True)
        ]
        self.taught = teacher is not None
        if teacher is not None:
            soft = F.softmax(torch.from_numpy(teacher).float() / recipe.teacher_temperature, 1)  # (N, fine)
            members = torch.eye(len(labels.coarse))[torch.from_numpy(labels.fine_to_coarse)]  # (fine, coarse)
            parts += [soft @ members if level == "coarse" else soft for level in self.levels]
        self.rows = torch.cat(parts, 1)  # (N, sum of widths, twice with a teacher)

    def loss(self, logits: Tensor, rows: Tensor) -> Tensor:
        """Return the mean loss of logits (B, sum of widths) against their rows of targets."""
        recipe, n = self.recipe, len(self.widths)
        answers = logits.float().split(self.widths, 1)
        targets = rows.split(self.widths * (2 if self.taught else 1), 1)
        by_labels = sum(F.cross_entropy(a, t) for a, t in zip(answers, targets[:n], strict=True))
        if not self.taught:
            return torch.as_tensor(by_labels)
        # The square keeps the gradients' size independent of the temperature (Hinton et al. 2015, section 2).
        soft = recipe.teacher_temperature
        by_teacher = sum(
            soft**2 * F.cross_entropy(a / soft, t) for a, t in zip(answers, targets[n:], strict=True)
        )
        return (1 - recipe.teacher_weight) * by_labels + recipe.teacher_weight * by_teacher

    def correct(self, logits: Tensor, rows: Tensor) -> Tensor:
        """Return how many answers of the network's own level are the likeliest target: int64 ()."""
        width = self.widths[0]
        return (logits[:, :width].argmax(1) == rows[:, :width].argmax(1)).sum()


def widen_head(network: Network, classes: int) -> None:
    """Give the network's last layer `classes` outputs, its own first; the new ones start at random."""
    old = network.body.fc
    wide = nn.Linear(old.in_features, classes)
    with torch.no_grad():
        wide.weight[: old.out_features] = old.weight
        wide.bias[: old.out_features] = old.bias
    network.body.fc = wide


def narrow_head(network: Network, classes: int) -> None:
    """Keep the first `classes` outputs of the network's last layer."""
    old = network.body.fc
    narrow = nn.Linear(old.in_features, classes)
    with torch.no_grad():
        narrow.weight.copy_(old.weight[:classes])
        narrow.bias.copy_(old.bias[:classes])
    network.body.fc = narrow


def _smoothed(labels: Tensor, classes: int, smoothing: float) -> Tensor:
    return F.one_hot(labels, classes) * (1 - smoothing) + smoothing / classes
