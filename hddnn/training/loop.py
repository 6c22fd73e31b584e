"""The loop that trains a network, epoch by epoch, and can be stopped and gone on with exactly."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.optim import SGD, Adam, Optimizer
from torch.optim.lr_scheduler import ConstantLR, CosineAnnealingLR, LRScheduler, MultiStepLR, OneCycleLR
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from torchvision.transforms import v2

from hddnn._util.paths import beside
from hddnn.errors import HddnnError, InputError, first_line
from hddnn.training.images import Batches, Images
from hddnn.training.objective import Objective, narrow_head, widen_head
from hddnn.training.recipes import Recipe
from hddnn.zoo.networks import Network

# progress(epoch, batch, batches, loss, accuracy): epochs and batches from 1; loss and accuracy of the epoch so
# far, on the augmented images
BatchProgress = Callable[[int, int, int, float, float], object]


class Trainer:
    """A network in training.

    network: as built, with as many outputs as its task has classes; it is changed in place. precision: "f32",
    "bf16" or "auto". origin: what else decides the weights; a checkpoint is of the training with the same. The
    same network, recipe, images, seed, precision, threads and number of workers give the same weights on a CPU, in
    one go or resumed.
    """

    def __init__(
        self,
        network: Network,
        recipe: Recipe,
        images: Images,
        teacher: np.ndarray | None = None,
        *,
        seed: int = 0,
        device: str = "cpu",
        workers: int = 0,
        precision: str = "auto",
        origin: Mapping[str, str | int | None] | None = None,
    ) -> None:
        self.recipe, self.seed, self.device = recipe, seed, torch.device(device)
        self.precision = chosen_precision(self.device, precision)
        self._origin = dict(origin or {})
        self.epoch, self.seconds = 0, 0.0  # trained so far
        self._network = network
        self._classes = network.body.fc.out_features
        self._batches = Batches(images, recipe, seed=seed, workers=workers)
        self._objective = Objective(recipe, images.fine, images.labels, teacher)
        self._targets = self._objective.rows.to(self.device)
        widen_head(network, sum(self._objective.widths))
        network.to(self.device, memory_format=torch.channels_last)
        steps = len(self._batches) * max(recipe.epochs, 1)
        self._average: AveragedModel | None = None
        if recipe.average_epochs:
            decay = max(0.0, 1 - 1 / (recipe.average_epochs * len(self._batches)))
            self._average = AveragedModel(network, multi_avg_fn=get_ema_multi_avg_fn(decay), use_buffers=True)
        self._optimizer = _optimizer(network, recipe)
        self._schedule = _schedule(self._optimizer, recipe, steps)
        self._mix = v2.CutMix(labels_getter=lambda inputs: inputs[1])
        self._shrink = v2.Resize(recipe.small_size)

    @property
    def n_batches(self) -> int:
        """Return the batches of an epoch."""
        return len(self._batches)

    def run_epoch(self, progress: BatchProgress | None = None) -> float:
        """Train one epoch more; returns its mean loss."""
        number, began = self.epoch + 1, time.monotonic()
        self._network.train()
        loss_sum = torch.zeros((), device=self.device)
        correct = torch.zeros((), dtype=torch.int64, device=self.device)
        seen = 0
        for batch, (images, rows) in enumerate(self._batches.epoch(number), 1):
            targets = self._targets[rows.to(self.device)]
            images = images.to(self.device)
            if number <= round(self.recipe.small * self.recipe.epochs):
                images = self._shrink(images)
            if float(torch.rand(())) < self.recipe.cutmix:
                images, targets = self._mix(images, targets)
            with mixed_precision(self.device, self.precision):
                logits = self._network(images.permute(0, 2, 3, 1).contiguous())
                loss = self._objective.loss(logits, targets)
            self._optimizer.zero_grad()
            loss.backward()
            self._optimizer.step()
            self._schedule.step()
            if self._average is not None:
                self._average.update_parameters(self._network)
            with torch.no_grad():
                loss_sum += loss.detach()
                correct += self._objective.correct(logits, targets)
            seen += len(rows)
            if progress is not None:
                progress(number, batch, len(self._batches), float(loss_sum) / batch, int(correct) / seen)
        self.epoch = number
        self.seconds += time.monotonic() - began
        return float(loss_sum) / max(len(self._batches), 1)

    def logits(self, images: Images, size: int = 500) -> np.ndarray:
        """Return what the network would answer as it would be kept now: float32 (N, classes of its task)."""
        module = self._kept().eval()
        answers = []
        with torch.inference_mode():
            for start in range(0, len(images), size):
                pixels = images.pixels[start : start + size].to(self.device)
                with mixed_precision(self.device, self.precision):
                    out = module(pixels.permute(0, 2, 3, 1).contiguous())
                answers.append(out[:, : self._classes].float().cpu())
        return torch.cat(answers).numpy()

    def finish(self) -> Network:
        """Return the trained network on the CPU, with the head of its task alone; ends the training."""
        self._network.load_state_dict(self._kept().state_dict())
        self._network.to("cpu", memory_format=torch.contiguous_format).eval()
        narrow_head(self._network, self._classes)
        return self._network

    def save(self, path: Path) -> None:
        """Write all that the next epochs depend on; the file is the old one or the new one, never half of one.

        Raises HddnnError when it cannot be written, as on a full disk.
        """
        state: dict[str, Any] = {
            "about": self._about(),
            "epoch": self.epoch,
            "seconds": self.seconds,
            "network": self._network.state_dict(),
            "average": self._average.state_dict() if self._average is not None else None,
            "optimizer": self._optimizer.state_dict(),
            "schedule": self._schedule.state_dict(),
        }
        try:
            with beside(path) as half:
                torch.save(state, half)
        except (OSError, RuntimeError) as error:  # torch wraps what its writer meets
            raise HddnnError(f"cannot write {path} ({first_line(error)})") from error

    def restore(self, path: Path) -> None:
        """Go on where `save` was called; raises InputError when the file is not of this training."""
        try:
            state = torch.load(path, weights_only=True, map_location=self.device)
            about = dict(state["about"])
        except Exception as error:  # pickle, zip and key errors share no base
            raise InputError(
                f"{path} is no checkpoint that can be read ({first_line(error)}); delete it"
            ) from error
        wanted = self._about()
        different = [key for key in wanted if about.get(key) != wanted[key]]
        if different:
            shown = ", ".join(f"{key} {about.get(key)} there, {wanted[key]} here" for key in different)
            raise InputError(f"{path} is of another training: {shown}; delete it, or train as it was begun")
        try:
            self._network.load_state_dict(state["network"])
            if self._average is not None:
                self._average.load_state_dict(state["average"])
            self._optimizer.load_state_dict(state["optimizer"])
            self._schedule.load_state_dict(state["schedule"])
            self.epoch, self.seconds = int(state["epoch"]), float(state["seconds"])
        except (LookupError, TypeError, ValueError, RuntimeError) as error:
            raise InputError(f"{path} is a damaged checkpoint ({first_line(error)}); delete it") from error

    def _about(self) -> dict[str, Any]:
        return {
            **asdict(self.recipe),
            **self._origin,
            "precision": self.precision,
            "seed": self.seed,
            "images": len(self._targets),
        }

    def _kept(self) -> nn.Module:
        module: nn.Module = self._network if self._average is None else self._average.module
        return module


def chosen_precision(device: torch.device, wanted: str = "auto") -> str:
    """Return "f32" or "bf16"; "auto" is bfloat16 where the device has instructions for it.

    A CPU without such instructions emulates them, at several times float32's time.
    """
    if wanted != "auto":
        return wanted
    if device.type == "cpu":
        able = torch.cpu.get_capabilities()
        return "bf16" if able.get("amx_bf16") or able.get("avx512_bf16") else "f32"
    return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "f32"


def mixed_precision(device: torch.device, precision: str) -> AbstractContextManager[Any]:
    """Return the context in which to compute: "bf16" for matrix products in bfloat16, "f32" for none."""
    return torch.autocast(device.type, torch.bfloat16, enabled=precision == "bf16")


def _optimizer(network: Network, recipe: Recipe) -> Optimizer:
    if recipe.optimizer == "adam":
        return Adam(network.parameters(), recipe.peak_rate, weight_decay=recipe.weight_decay)
    return SGD(
        network.parameters(),
        recipe.peak_rate,
        momentum=recipe.momentum,
        weight_decay=recipe.weight_decay,
        nesterov=True,
    )


def _schedule(optimizer: Optimizer, recipe: Recipe, steps: int) -> LRScheduler:
    match recipe.schedule:
        case "one-cycle":
            return OneCycleLR(
                optimizer,
                recipe.peak_rate,
                total_steps=steps + 1,  # one is taken when it is made
                pct_start=max(recipe.warm_up, 2 / (steps + 1)),  # a warm-up of no step is divided by
                cycle_momentum=False,
                final_div_factor=1e6,
            )
        case "cosine":
            return CosineAnnealingLR(optimizer, steps)
        case "steps":
            return MultiStepLR(optimizer, [round(s * steps) for s in recipe.steps], recipe.step_factor)
        case "constant":
            return ConstantLR(optimizer, 1.0, 1)
