"""From a recipe to a bundle, on a tiny set: the run, what it starts with, and what it refuses."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from hddnn import runtimes, zoo
from hddnn.data.datasets import Dataset
from hddnn.errors import BundleError, InputError
from hddnn.runtimes import replay
from hddnn.training import train as training
from hddnn.training.images import Images, split
from hddnn.training.recipes import RECIPES, Recipe
from hddnn.training.teacher import teacher_logits
from hddnn.training.train import (
    TrainingObserver,
    TrainingRun,
    _may_know_held_out,
    checkpoint_path,
    chosen_device,
    train,
    train_on,
)
from hddnn.zoo import Bundle
from hddnn.zoo.networks import Network
from hddnn.zoo.onnx_files import read_weights

TINY = replace(RECIPES["default"]["mobilenet"], epochs=2, batch_size=32, teachers=())


class Told(TrainingObserver):
    """Writes down what it hears, and stops the training in the batch `stop_at` of all."""

    def __init__(self, stop_at: int = 0) -> None:
        self.heard: list[tuple[object, ...]] = []
        self.batches = 0
        self._stop_at = stop_at

    def teacher(self, name: str, done: int, total: int) -> None:
        self.heard.append(("teacher", name, done, total))

    def began(self, epoch: int, epochs: int, batches: int) -> None:
        self.heard.append(("began", epoch, epochs, batches))

    def batch(self, epoch: int, batch: int, batches: int, loss: float, accuracy: float) -> None:
        self.batches += 1
        if self.batches == self._stop_at:
            raise KeyboardInterrupt

    def epoch(self, epoch: int, epochs: int, loss: float, accuracy: float) -> None:
        self.heard.append(("epoch", epoch, epochs))

    def bundling(self) -> None:
        self.heard.append(("bundling",))


@pytest.fixture
def sets(few: Callable[[int], Images], sample: Dataset) -> tuple[Images, Images, Dataset]:
    """Return 100 images to train on, 200 held out, and 60 to test on."""
    train_images, held_out = split(few(2000), of_each=19)
    held_out = held_out.select(np.arange(200))
    test = Dataset("few", sample.images[-60:], sample.coarse[-60:], sample.fine[-60:], sample.labels)
    return train_images, held_out, test


def test_stopped_and_resumed_makes_the_same_bundle(
    sets: tuple[Images, Images, Dataset], tmp_path: Path
) -> None:
    run = TrainingRun("mobilenet", TINY, device="cpu", threads=1)
    told = Told()
    whole = train_on(run, tmp_path / "whole", *sets, observer=told)
    assert told.heard == [
        ("began", 0, 2, 3), ("epoch", 1, 2), ("epoch", 2, 2), ("bundling",)
    ]  # fmt: skip

    out, again = tmp_path / "stopped", Told()
    with pytest.raises(KeyboardInterrupt):
        train_on(run, out, *sets, observer=Told(stop_at=5))
    assert checkpoint_path(out).exists()
    with pytest.raises(InputError, match=r"go on with --resume, or remove it"):
        train_on(run, out, *sets)
    made = train_on(run, out, *sets, resume=True, observer=again)
    assert again.heard == [("began", 1, 2, 3), ("epoch", 2, 2), ("bundling",)]
    assert made.digest == whole.digest  # the same files, to the byte
    assert sorted(path.name for path in tmp_path.iterdir()) == ["stopped", "whole"]

    card = made.card
    assert card.accuracy.keys() == {"coarse"}
    assert card.calibration is not None
    assert card.calibration.images == 200
    assert card.training["epochs"] == 2
    assert card.training["recipe"]["batch_size"] == 32
    assert card.training["seed"] == 0
    assert card.training["versions"]["torch"] == torch.__version__
    assert card.training["duration_s"] >= 0
    assert "1 thread" in card.training["hardware"]
    assert runtimes.load("torch", made).run(sets[2].images[:2]).shape == (2, 20)


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"start": "mobilenet"}, "start None there, mobilenet here"),
        ({"network": "wrn16_4"}, "network mobilenet there, wrn16_4 here"),
        ({"threads": 2}, "threads 1 there, 2 here"),
    ],
    ids=["start", "network", "threads"],
)
def test_a_checkpoint_of_another_run_is_refused(
    sets: tuple[Images, Images, Dataset], tmp_path: Path, change: dict[str, object], text: str
) -> None:
    run = TrainingRun("mobilenet", TINY, device="cpu", threads=1)
    with pytest.raises(KeyboardInterrupt):
        train_on(run, tmp_path / "out", *sets, observer=Told(stop_at=4))
    assert checkpoint_path(tmp_path / "out").exists()
    with pytest.raises(InputError, match=text):
        train_on(replace(run, **change), tmp_path / "out", *sets, resume=True)


def test_nothing_to_go_on_with_is_said(sets: tuple[Images, Images, Dataset], tmp_path: Path) -> None:
    run = TrainingRun("mobilenet", TINY, device="cpu", threads=1)
    with pytest.raises(InputError, match=r"there is no .*out\.checkpoint to go on with"):
        train_on(run, tmp_path / "out", *sets, resume=True)


def test_a_start_with_other_classes_is_refused(sets: tuple[Images, Images, Dataset], tmp_path: Path) -> None:
    folder = shutil.copytree(zoo.bundle("mobilenet").path, tmp_path / "turned")
    facts = zoo.bundle("mobilenet").card.model_dump(exclude={"files"})
    Bundle.create(folder, **facts | {"labels": facts["labels"][::-1]})
    run = TrainingRun("mobilenet", TINY, start=str(folder), device="cpu", threads=1)
    with pytest.raises(InputError, match="answers other classes than mobilenet is to learn"):
        train_on(run, tmp_path / "out", *sets)


def test_workers_change_nothing_of_an_exact_resume(
    sets: tuple[Images, Images, Dataset], tmp_path: Path
) -> None:
    run = TrainingRun("mobilenet", TINY, device="cpu", threads=1, workers=2)
    whole = train_on(run, tmp_path / "whole", *sets)
    with pytest.raises(KeyboardInterrupt):
        train_on(run, tmp_path / "parts", *sets, observer=Told(stop_at=4))
    parts = train_on(run, tmp_path / "parts", *sets, resume=True)
    assert whole.card.files == parts.card.files


def test_no_epochs_bundle_what_they_start_with(sets: tuple[Images, Images, Dataset], tmp_path: Path) -> None:
    packaged = copy_of("mobilenet", tmp_path / "raw", temperature=1.0, calibration=None)
    run = TrainingRun("mobilenet", replace(TINY, epochs=0), start=str(packaged.path), device="cpu", threads=1)
    made = train_on(run, tmp_path / "copy", *sets)
    for mine, theirs in ((made.stem_path, packaged.stem_path), (made.body_path, packaged.body_path)):
        before, after = read_weights(theirs), read_weights(mine)
        assert before.keys() == after.keys()
        assert all(torch.equal(before[key], after[key]) for key in before)
    start = made.card.training["start"]
    assert (start["name"], start["accuracy"]) == ("raw", packaged.card.accuracy)
    assert start["training"]["epochs"] == packaged.card.training["epochs"]  # the whole history
    assert str(tmp_path) not in made.card.model_dump_json()
    assert made.card.calibration is None  # the weights may have learned from the held-out images


def test_weights_to_begin_with_are_never_unpickled(
    sets: tuple[Images, Images, Dataset], tmp_path: Path
) -> None:
    path = tmp_path / "weights.pt"
    torch.save({"fc.weight": print}, path)
    run = TrainingRun("mobilenet", TINY, start=str(path), device="cpu", threads=1)
    with pytest.raises(InputError, match=r"weights\.pt holds no weights that can be read"):
        train_on(run, tmp_path / "out", *sets)
    torch.save({"fc.weight": torch.zeros(3)}, path)
    with pytest.raises(BundleError, match="weights do not fit the network"):
        train_on(run, tmp_path / "out", *sets)
    with pytest.raises(BundleError, match="no network 'nobody'"):
        train_on(replace(run, start="nobody"), tmp_path / "out", *sets)
    path.with_suffix(".safetensors").write_bytes(b"no")
    with pytest.raises(InputError, match=r"weights\.safetensors holds no weights that can be read"):
        train_on(replace(run, start=str(path.with_suffix(".safetensors"))), tmp_path / "out", *sets)
    assert not (tmp_path / "out").exists()


def test_teacher_answers_once_for_each_image(
    few: Callable[[int], Images], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HDDNN_CACHE", str(tmp_path))  # where nobody has asked before
    images, bundle = few(60), zoo.bundle("wrn16_4")
    seen: list[tuple[int, int]] = []
    logits = teacher_logits(bundle, images, lambda done, total: seen.append((done, total)))
    assert seen[-1] == (60, 60)
    again = teacher_logits(bundle, images, lambda done, total: seen.append((0, 0)))
    assert np.array_equal(logits, again)
    assert (0, 0) not in seen  # from the store
    order = images.labels.positions("fine", bundle.card.labels)
    assert np.array_equal(logits, runtimes.load("replay", bundle).run(images.hwc)[:, order])
    assert replay.store_path(bundle).exists()


def test_the_card_says_whose_answers_were_learned(
    sets: tuple[Images, Images, Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HDDNN_CACHE", str(tmp_path / "cache"))
    recipe = replace(TINY, epochs=1, teachers=("wrn16_4",))
    taught = train_on(TrainingRun("mobilenet", recipe, device="cpu", threads=1), tmp_path / "taught", *sets)
    teacher = zoo.bundle("wrn16_4").card
    assert taught.card.training["taught_by"] == [
        {"name": "wrn16_4", "accuracy": teacher.accuracy, "files": teacher.files}
    ]
    alone = train_on(TrainingRun("mobilenet", TINY, device="cpu", threads=1), tmp_path / "alone", *sets)
    assert "taught_by" not in alone.card.training
    assert alone.card.training["precision"] in ("f32", "bf16")


def test_of_several_teachers_the_mean_is_learned(
    sets: tuple[Images, Images, Dataset], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HDDNN_CACHE", str(tmp_path / "cache"))
    learned: list[np.ndarray] = []

    class Watched(training.Trainer):
        def __init__(
            self, network: Network, recipe: Recipe, images: Images, taught: np.ndarray, **how: Any
        ) -> None:
            learned.append(taught)
            super().__init__(network, recipe, images, taught, **how)

    monkeypatch.setattr(training, "Trainer", Watched)
    recipe = replace(TINY, epochs=1, teachers=("wrn16_4", "resnet34"))
    taught = train_on(TrainingRun("mobilenet", recipe, device="cpu", threads=1), tmp_path / "taught", *sets)
    one, other = (teacher_logits(zoo.bundle(name), sets[0]) for name in recipe.teachers)
    assert np.allclose(learned[0], (one + other) / 2)
    assert not np.allclose(one, other)
    assert [card["name"] for card in taught.card.training["taught_by"]] == ["wrn16_4", "resnet34"]


def test_a_teacher_of_other_classes_is_refused(few: Callable[[int], Images]) -> None:
    with pytest.raises(InputError, match="teacher mobilenet does not answer the fine classes"):
        teacher_logits(zoo.bundle("mobilenet"), few(60))


def test_a_bundle_that_is_there_is_not_overwritten(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"is there already; choose another --out, or remove it"):
        train(TrainingRun("mobilenet", TINY), tmp_path, tmp_path)


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_no_cuda_here() -> None:
    assert chosen_device("auto") == "cpu"
    with pytest.raises(InputError, match="torch sees no CUDA device here; train with --device cpu"):
        chosen_device("cuda")


@pytest.mark.gpu
def test_train_with_cuda(sets: tuple[Images, Images, Dataset], tmp_path: Path) -> None:
    run = TrainingRun("mobilenet", TINY, device="cuda", workers=2)
    made = train_on(run, tmp_path / "out", *sets)
    assert made.card.training["hardware"] == torch.cuda.get_device_name()
    assert runtimes.load("openvino", made).run(sets[2].images[:2]).shape == (2, 20)


def copy_of(network: str, folder: Path, **changes: object) -> Bundle:
    """Return a copy of a packaged network as if its card said something else."""
    bundle = zoo.bundle(network)
    shutil.copytree(bundle.path, folder)
    facts = bundle.card.model_dump(exclude={"files"}) | {"name": folder.name} | changes
    return Bundle.create(folder, **facts)


def test_what_may_know_the_held_out_images(tmp_path: Path) -> None:
    (tmp_path / "weights.pt").touch()
    fitted = {"source": "held out", "images": 10, "test_images": 10}
    fitted |= {"ece_before": 0.1, "ece_after": 0.0, "nll_before": 1.0, "nll_after": 0.9}
    raw = copy_of("mobilenet", tmp_path / "raw", temperature=1.0, calibration=None)
    calibrated = copy_of("mobilenet", tmp_path / "calibrated", temperature=0.9, calibration=fitted)
    known = {None: False, raw.path: True, tmp_path / "weights.pt": True, calibrated.path: False}
    assert {start: _may_know_held_out(start and str(start)) for start in known} == known
