"""Train a network from its recipe to its bundle."""

from __future__ import annotations

import platform
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from hddnn import zoo
from hddnn._util import host
from hddnn._util.paths import check_place
from hddnn._version import __version__
from hddnn.data.datasets import Dataset, load_dataset
from hddnn.errors import InputError, first_line
from hddnn.training.bundling import make_bundle
from hddnn.training.images import Images, load_training_images, split
from hddnn.training.loop import Trainer
from hddnn.training.recipes import Recipe
from hddnn.training.teacher import teacher_logits
from hddnn.zoo import Bundle
from hddnn.zoo.networks import Network, build, load_weights
from hddnn.zoo.onnx_files import read_weights


class TrainingObserver:
    """Told of a training's course; every method may be left as it is."""

    def teacher(self, name: str, done: int, total: int) -> None:
        """Hear that the teacher has answered `done` of the `total` images that were not stored."""

    def began(self, epoch: int, epochs: int, batches: int) -> None:
        """Hear that training begins, with `epoch` of `epochs` epochs done, of so many batches each."""

    def batch(self, epoch: int, batch: int, batches: int, loss: float, accuracy: float) -> None:
        """Hear of a batch; loss and accuracy of the epoch (from 1) so far, on the augmented images."""

    def epoch(self, epoch: int, epochs: int, loss: float, accuracy: float) -> None:
        """Hear that an epoch has ended; accuracy: share of the held-out images answered rightly."""

    def bundling(self) -> None:
        """Hear that training has ended, and the bundle is made and measured."""


@dataclass(frozen=True)
class TrainingRun:
    """What a training needs besides its recipe.

    start: a packaged network, a bundle's folder, or a file of weights (.safetensors, or a state dict in .pt) to
    begin with; None: random weights. device: "cpu", "cuda" or "auto". threads: of the CPU. workers: processes that
    augment images; 0: none. precision: "f32", "bf16" or "auto", of the arithmetic.
    """

    network: str
    recipe: Recipe
    seed: int = 0
    start: str | None = None
    device: str = "auto"
    threads: int = 2
    workers: int = 0
    precision: str = "auto"


def train(
    run: TrainingRun,
    out: Path,
    data_root: Path,
    *,
    resume: bool = False,
    download: bool = False,
    observer: TrainingObserver | None = None,
) -> Bundle:
    """Train on CIFAR-100's training images and write the bundle `out`, measured on its test images.

    After each epoch a checkpoint lies at `out`.checkpoint; resume goes on with it, on a CPU to the same weights as
    without the stop. It is removed when the bundle is there.
    Raises DataError, BundleError, and InputError when `out` is there already or the checkpoint is of another
    training.
    """
    check_place(out)
    if out.exists():
        raise InputError(f"{out} is there already; choose another --out, or remove it")
    test = load_dataset("cifar100", data_root, download=download)
    images, held_out = split(load_training_images(data_root, test.labels))
    return train_on(run, out, images, held_out, test, resume=resume, observer=observer)


def train_on(
    run: TrainingRun,
    out: Path,
    images: Images,
    held_out: Images,
    test: Dataset,
    *,
    resume: bool = False,
    observer: TrainingObserver | None = None,
) -> Bundle:
    """Train on `images`, as `train` does; temperature and accuracies along the way are of `held_out`."""
    observer = observer or TrainingObserver()
    recipe = run.recipe
    checkpoint = checkpoint_path(out)
    if checkpoint.exists() and not resume:
        raise InputError(f"{checkpoint} is of a training that was stopped; go on with --resume, or remove it")
    if resume and not checkpoint.exists():
        raise InputError(f"there is no {checkpoint} to go on with; begin without --resume, or see to --out")
    device = chosen_device(run.device)
    torch.set_num_threads(run.threads)
    # Read now: they may be the very networks that this training is to replace.
    teachers, start = [zoo.bundle(teacher) for teacher in recipe.teachers], _told_start(run.start)
    blank = not _may_know_held_out(run.start)
    trainer = Trainer(
        _begin(run, images),
        recipe,
        images,
        _taught(teachers, images, observer),
        seed=run.seed,
        device=device,
        workers=run.workers,
        precision=run.precision,
        origin={
            "network": run.network,
            "start": run.start,
            "answers of": ", ".join(teacher.digest[:12] for teacher in teachers),
            "device": device,
            "threads": run.threads,
            "workers": run.workers,
        },
    )
    if checkpoint.exists():
        trainer.restore(checkpoint)
    answers = held_out.targets(recipe.task)
    observer.began(trainer.epoch, recipe.epochs, trainer.n_batches)
    while trainer.epoch < recipe.epochs:
        loss = trainer.run_epoch(observer.batch)
        trainer.save(checkpoint)
        right = trainer.logits(held_out).argmax(1) == answers
        observer.epoch(trainer.epoch, recipe.epochs, loss, float(np.mean(right)))
    observer.bundling()
    made = make_bundle(
        trainer.finish(),
        out,
        test,
        architecture=run.network,
        task=recipe.task,
        training=_told(run, device, len(images), trainer) | {"start": start} | _taught_by(teachers),
        # Nothing can be fitted on images that the weights may have learned from before.
        held_out=held_out if blank else None,
        threads=run.threads,
    )
    checkpoint.unlink(missing_ok=True)
    return made


def checkpoint_path(out: Path) -> Path:
    """Return where the checkpoint of the training that makes the bundle `out` lies."""
    return out.with_name(out.name + ".checkpoint")


def chosen_device(wanted: str) -> str:
    """Return "cpu" or "cuda"; raises InputError when there is no CUDA device to use."""
    if wanted == "auto":
        return "cuda" if torch.cuda.is_available() else "cpu"
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InputError("torch sees no CUDA device here; train with --device cpu")
    return wanted


def _begin(run: TrainingRun, images: Images) -> Network:
    torch.manual_seed(run.seed)
    network = build(run.network, len(images.labels.levels[run.recipe.task]))
    if run.start is None:
        return network
    path = Path(run.start)
    if path.is_file():
        network.load_plain(_read_state(path))
    else:
        bundle = zoo.bundle(run.start)
        if bundle.card.labels != images.labels.levels[run.recipe.task]:
            raise InputError(f"{run.start} answers other classes than {run.network} is to learn")
        for module, file in ((network.stem, bundle.stem_path), (network.body, bundle.body_path)):
            load_weights(module, read_weights(file))
    return network


def _read_state(path: Path) -> dict[str, Tensor]:
    """Read a file of weights by a road on which it cannot run code."""
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return dict(load_file(path))
        return dict(torch.load(path, weights_only=True, map_location="cpu"))
    except Exception as error:  # those of pickle, zip files and safetensors share no base
        raise InputError(f"{path} holds no weights that can be read ({first_line(error)})") from error


def _taught(teachers: Sequence[Bundle], images: Images, observer: TrainingObserver) -> np.ndarray | None:
    """Return the mean of the teachers' logits, float32 (N, fine)."""
    if not teachers:
        return None
    mean: np.ndarray = np.mean(
        [teacher_logits(one, images, partial(observer.teacher, one.card.name)) for one in teachers], 0
    )
    return mean


def _may_know_held_out(start: str | None) -> bool:
    """Return whether weights to begin with may have learned from the held-out images.

    Those of a calibrated bundle have not: the same images were held out of its training. Going on without them is
    no remedy: after 26 more epochs a MobileNet still answered them better than the test images, and a temperature
    fitted on them made it too sure.
    """
    if start is None:
        return False
    return Path(start).is_file() or zoo.bundle(start).card.calibration is None


def _taught_by(teachers: Sequence[Bundle]) -> dict[str, Any]:
    """Return what a card says of the teachers: a name alone may mean another network later."""
    cards = [teacher.card for teacher in teachers]
    told = [{"name": card.name, "accuracy": card.accuracy, "files": card.files} for card in cards]
    return {"taught_by": told} if told else {}


def _told(run: TrainingRun, device: str, images: int, trainer: Trainer) -> dict[str, Any]:
    """Return what a card says of how its weights were made."""
    recipe = {key: value for key, value in asdict(run.recipe).items() if key not in ("task", "epochs")}
    return {
        "data": f"{images} of CIFAR-100's training images",
        "epochs": run.recipe.epochs,
        "recipe": recipe,
        "seed": run.seed,
        "duration_s": round(trainer.seconds),
        "hardware": hardware(device, run.threads),
        "precision": trainer.precision,
        "versions": {"hddnn": __version__, "torch": torch.__version__, "python": platform.python_version()},
    }


def _told_start(start: str | None) -> str | dict[str, Any]:
    """Return what a card says of the weights that a training began with: of a bundle, how those were made."""
    if start is None:
        return "random"
    if Path(start).is_file():
        return Path(start).name
    card = zoo.bundle(start).card
    return {"name": card.name, "accuracy": card.accuracy, "training": card.training}


def hardware(device: str, threads: int) -> str:
    """Return what trained the network, in words."""
    if device == "cuda":
        return torch.cuda.get_device_name()
    return f"{host.processor()}, {threads} thread{'s' if threads > 1 else ''}"
