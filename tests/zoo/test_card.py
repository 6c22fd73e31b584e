"""Bundles on disk: each damage has its one clear line."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from io import BufferedReader
from pathlib import Path
from typing import Any

import pytest

from hddnn import zoo
from hddnn._util.host import processor
from hddnn.data.datasets import Dataset
from hddnn.errors import BundleError
from hddnn.system.times import ServiceTime
from hddnn.zoo import Bundle, Calibration, card
from hddnn.zoo.card import time_facts


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    return Path(shutil.copytree(zoo.bundle("mobilenet").path, tmp_path / "copy"))


@pytest.mark.parametrize("name", zoo.names())
def test_packaged_bundle(name: str, sample: Dataset) -> None:
    bundle = zoo.bundle(name)
    card = bundle.card
    assert card.name == name
    assert card.labels == sample.labels.levels[card.task]
    assert card.raw_bytes == 3072
    assert card.feature_bytes == 65536
    assert card.agreement["f32"] >= 0.999
    assert card.agreement[card.precision.body] >= 0.995
    # Weights are stored once and in half size: 2 bytes a parameter, and a little for the graph.
    size = bundle.stem_path.stat().st_size + bundle.body_path.stat().st_size
    assert 2 * card.parameters < size < 2 * card.parameters + 150_000
    assert len(bundle.digest) == 64
    assert Bundle.open(bundle.path) == bundle


@pytest.mark.parametrize(
    ("name", "level", "least"),
    [("mobilenet", "coarse", 0.75), ("resnet34", "fine", 0.60), ("resnet34", "coarse", 0.72),
     ("wrn16_4", "fine", 0.74), ("wrn16_4", "coarse", 0.84)],
)  # fmt: skip
def test_accuracy_is_that_of_the_trained_weights(name: str, level: str, least: float) -> None:
    assert zoo.bundle(name).card.accuracy[level] >= least


@pytest.mark.parametrize("name", zoo.names())
def test_confidence_means_something(name: str) -> None:
    fit = zoo.bundle(name).card.calibration
    assert fit is not None
    assert "held out" in fit.source
    assert fit.test_images == 10_000
    assert fit.ece_after <= 0.03


def test_no_paths_of_the_exporting_machine() -> None:
    for name in zoo.names():
        for file in zoo.bundle(name).path.iterdir():
            content = file.read_bytes()
            assert b"/torch/" not in content
            assert b".py" not in content


CALIBRATION = {"source": "held out", "images": 5000, "test_images": 10_000, "ece_before": 0.05, "ece_after": 0.01,
               "nll_before": 0.9, "nll_after": 0.8}  # fmt: skip


def test_a_card_without_a_temperature_was_never_calibrated(copy: Path) -> None:
    _edit(calibration=None, temperature=1.0)(copy)
    before = Bundle.open(copy)
    card = json.loads((copy / "card.json").read_text())
    del card["temperature"], card["calibration"]
    (copy / "card.json").write_text(json.dumps(card))
    assert Bundle.open(copy).card == before.card
    assert (before.card.temperature, before.card.calibration) == (1.0, None)


def test_a_card_of_before_batches_were_told_apart_has_no_time_of_a_batch(copy: Path) -> None:
    card = json.loads((copy / "card.json").read_text())
    card.pop("seconds_per_batch", None)
    (copy / "card.json").write_text(json.dumps(card))
    time = Bundle.open(copy).card.service_time
    assert (time.seconds_per_batch, time.seconds_per_image) == (0.0, card["seconds_per_image"])


def test_a_cards_time_goes_there_and_back(copy: Path) -> None:
    facts = Bundle.open(copy).card.model_dump(exclude={"files", "seconds_per_image", "seconds_per_batch"})
    Bundle.create(copy, **facts, **time_facts(ServiceTime(0.00012345678, 0.002)))
    assert Bundle.open(copy).card.service_time == ServiceTime(0.0001235, 0.002)


def test_a_card_says_where_it_was_measured(copy: Path) -> None:
    facts = Bundle.open(copy).card.model_dump(exclude={"files", "measured_on"})
    assert Bundle.create(copy, **facts).card.measured_on == processor()
    for told in (None, "a board"):
        assert Bundle.create(copy, **facts, measured_on=told).card.measured_on == told


def test_a_temperature_changes_no_digest(copy: Path) -> None:
    digest = Bundle.open(copy).digest
    facts = Bundle.open(copy).card.model_dump(exclude={"files", "temperature", "calibration"})
    made = Bundle.create(copy, **facts, temperature=1.3, calibration=CALIBRATION)
    assert Bundle.open(copy) == made
    assert made.card.calibration == Calibration(**CALIBRATION)
    assert made.digest == digest


def test_digests_differ() -> None:
    assert len({zoo.bundle(name).digest for name in zoo.names()}) == len(zoo.names())


def test_unknown_name_lists_the_valid_ones() -> None:
    expected = "no network 'vgg'; packaged are mobilenet, resnet34, wrn16_4, or give a bundle's folder"
    with pytest.raises(BundleError, match=f"^{expected}$"):
        zoo.bundle("vgg")


def test_a_folder_is_a_name_too(copy: Path) -> None:
    assert zoo.bundle(copy).digest == zoo.bundle(str(copy)).digest == zoo.bundle("mobilenet").digest


def test_a_stem_alone_can_be_opened(copy: Path) -> None:
    (copy / "body.onnx").unlink()
    assert Bundle.open(copy, parts=("stem",)).digest == zoo.bundle("mobilenet").digest
    with pytest.raises(BundleError, match=r"copy is incomplete: cannot read body\.onnx \(No such file"):
        Bundle.open(copy)


def _cut(path: Path) -> None:
    body = path / "body.onnx"
    body.write_bytes(body.read_bytes()[:-1000])


def _edit(**changes: object) -> Callable[[Path], None]:
    def edit(path: Path) -> None:
        card = json.loads((path / "card.json").read_text())
        (path / "card.json").write_text(json.dumps({**card, **changes}))

    return edit


@pytest.mark.parametrize(
    ("damage", "expected"),
    [
        (lambda path: (path / "card.json").unlink(), r"copy is no bundle: cannot read card\.json"),
        (lambda path: (path / "card.json").write_text("{"), r"card\.json is not JSON"),
        (lambda path: (path / "card.json").write_text("[]"), r"card\.json: the card: "),
        (_cut, r"body\.onnx is damaged: its hash is not the card's; get or export the bundle again"),
        (_edit(task="finest"), r"card\.json: task: Input should be 'coarse' or 'fine'"),
        (_edit(stem_shape=[16, 32]), r"card\.json: stem_shape"),
        (_edit(temperature=0), r"card\.json: temperature: Input should be greater than 0"),
        (_edit(temperature=1.5, calibration=None), r"card\.json: .*other than 1 needs its calibration"),
        (_edit(calibration=CALIBRATION | {"ece_after": 1.5}), r"card\.json: calibration\.ece_after: "),
        (_edit(calibration={"images": 5}), r"card\.json: calibration\.source: Field required"),
        (_edit(colour="red"), r"card\.json: colour: Extra inputs are not permitted"),
        (_edit(labels=["cat", "cat"]), r"card\.json: labels: must be one or more names, none of them twice"),
        (_edit(files={"stem.onnx": ""}), r"card\.json: files: must name stem\.onnx and body\.onnx, not stem"),
    ],
)
def test_damaged_bundle(copy: Path, damage: Callable[[Path], None], expected: str) -> None:
    damage(copy)
    with pytest.raises(BundleError, match=expected) as error:
        Bundle.open(copy)
    assert "\n" not in str(error.value)


def test_create_needs_both_files(copy: Path) -> None:
    facts = zoo.bundle("mobilenet").card.model_dump(exclude={"files"})
    (copy / "stem.onnx").unlink()
    with pytest.raises(BundleError, match=r"copy is incomplete: cannot read stem\.onnx"):
        Bundle.create(copy, **facts)


def test_a_file_is_hashed_once_and_again_when_it_is_another(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    hashed: list[str] = []

    def noted(stream: BufferedReader, name: str) -> Any:
        hashed.append(name)
        return digest(stream, name)

    digest = hashlib.file_digest
    monkeypatch.setattr(card.hashlib, "file_digest", noted)
    # What was written just now may be written again without a trace.
    monkeypatch.setattr(card, "_SETTLED_NS", 3600 * 10**9)
    Bundle.open(copy)
    Bundle.open(copy)
    assert len(hashed) == 4
    monkeypatch.setattr(card, "_SETTLED_NS", -1)
    Bundle.open(copy)
    Bundle.open(copy)
    assert len(hashed) == 6
    before = (copy / "body.onnx").stat()
    content = bytearray((copy / "body.onnx").read_bytes())
    content[-1] ^= 1
    (copy / "body.onnx").write_bytes(content)
    os.utime(copy / "body.onnx", ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(BundleError, match=r"body\.onnx is damaged"):
        Bundle.open(copy)
