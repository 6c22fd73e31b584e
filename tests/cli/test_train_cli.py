"""`hddnn train`: wrong usage in one line, a training from the command line, and one that is stopped."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

pytest.importorskip("torch", reason="needs the extra torch")

import numpy as np
import torch

from hddnn.cli.main import main
from hddnn.data.datasets import Dataset
from hddnn.training import train as course
from hddnn.training.images import Images
from hddnn.zoo import Bundle


def hddnn(*args: str) -> Result:
    return CliRunner().invoke(main, args)


@pytest.fixture
def tiny(sample: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put 60 images in the place of CIFAR-100, and hold out 20 others."""
    torch.set_num_threads(1)
    pixels = torch.from_numpy(sample.images[:80].copy()).permute(0, 3, 1, 2).contiguous()
    images = Images(pixels, torch.from_numpy(sample.fine[:80].copy()), sample.labels)
    test = Dataset("few", sample.images[-20:], sample.coarse[-20:], sample.fine[-20:], sample.labels)
    monkeypatch.setattr(course, "load_dataset", lambda *args, **kwargs: test)
    monkeypatch.setattr(course, "load_training_images", lambda *args, **kwargs: images)
    monkeypatch.setattr(
        course, "split", lambda all: (all.select(np.arange(60)), all.select(np.arange(60, 80)))
    )


@pytest.mark.parametrize(
    ("args", "text"),
    [
        (["vgg"], "no recipe for network 'vgg'; there are mobilenet, resnet34, wrn16_4, wrn28_10"),
        (["mobilenet", "--recipe", "best"], "no recipe 'best'; there are default, short, refine, paper"),
        (["mobilenet", "--epochs", "0"], "--epochs 0 trains nothing; give --start"),
        (["mobilenet", "--epochs", "-1"], "-1 is not in the range x>=0"),
        (["mobilenet", "--data-root", "nowhere"], "nowhere/cifar-100-python/test: no such file"),
        (["mobilenet", "--teacher", "none", "--teacher", "wrn16_4"], "--teacher none goes with no other"),
        (["mobilenet", "--set", "rate=1"], "a recipe has no 'rate' to set; it has epochs, batch_size"),
        (["mobilenet", "--set", "cutmix"], "--set cutmix: write FIELD=VALUE, as peak_rate=0.05"),
        (["mobilenet", "--set", "steps=[0.5"], "--set steps=[0.5: write FIELD=VALUE"),
        (["mobilenet", "--set", "cutmix=2"], "recipe: cutmix: "),
        (["mobilenet", "--set", "cutmix=0", "--set", "cutmix=1"], "--set gives cutmix twice"),
        (["mobilenet", "--set", "epochs=3", "--epochs", "2"], "epochs is given by an option and by --set"),
        (["mobilenet", "--set", "epochs=0"], "--epochs 0 trains nothing; give --start"),
    ],
    ids=[
        "network",
        "recipe",
        "nothing",
        "negative",
        "data",
        "teachers",
        "field",
        "no value",
        "no YAML",
        "range",
        "twice",
        "both",
        "nothing set",
    ],
)
def test_wrong_usage_is_one_line(
    args: list[str], text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = hddnn("train", *args)
    assert result.exit_code == 2
    assert text in result.stderr
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_without_torch_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    for name in [name for name in sys.modules if name.startswith("hddnn.training.")]:
        if name != "hddnn.training.recipes":
            monkeypatch.delitem(sys.modules, name)
    result = hddnn("train", "mobilenet", "--out", str(tmp_path / "out"))
    assert result.exit_code == 2
    assert result.stderr == "hddnn: training needs torch: pip install 'hddnn[torch]'\n"


@pytest.mark.usefixtures("tiny")
def test_train_stop_and_resume(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["train", "mobilenet", "--epochs", "2", "--batch", "20", "--teacher", "none", "--threads", "1"]
    command += ["--device", "cpu", "--set", "peak_rate=0.02"]
    one_epoch = course.Trainer.run_epoch

    def stop_in_the_second(self: course.Trainer, *args: object) -> float:
        if self.epoch == 1:
            os.kill(os.getpid(), signal.SIGINT)
        return one_epoch(self, *args)

    with monkeypatch.context() as patch:
        patch.setattr(course.Trainer, "run_epoch", stop_in_the_second)
        stopped = hddnn(*command)
    assert stopped.exit_code == 1
    assert "hddnn: stopped after epoch 1; go on with the same command and --resume" in stopped.stderr
    assert [path.name for path in (tmp_path / "networks").iterdir()] == ["mobilenet.checkpoint"]

    again = hddnn(*command)
    assert again.exit_code == 2
    assert "go on with --resume, or remove it" in again.stderr

    done = hddnn(*command, "--resume")
    assert done.exit_code == 0, done.output
    assert "epoch 2 of 2: loss" in done.stderr
    assert "bundle: networks/mobilenet" in done.stdout
    card = Bundle.open(tmp_path / "networks" / "mobilenet").card
    assert card.training["epochs"] == 2
    assert card.training["recipe"]["teachers"] == []
    assert card.training["recipe"]["peak_rate"] == 0.02
    assert [path.name for path in (tmp_path / "networks").iterdir()] == ["mobilenet"]
