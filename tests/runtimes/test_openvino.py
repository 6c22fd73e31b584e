"""OpenVINO against torch, and the checks it makes of a bundle's files."""

from __future__ import annotations

import shutil
import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from waiting import PATIENCE_S

from hddnn import runtimes, zoo
from hddnn.data.datasets import Dataset
from hddnn.errors import BundleError
from hddnn.runtimes import openvino
from hddnn.runtimes.openvino import OpenVINO, can_compute, default_precision
from hddnn.zoo import Bundle, PartPrecision


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """Return the folder of a copied bundle, free to be damaged."""
    return Path(shutil.copytree(zoo.bundle("mobilenet").path, tmp_path / "copy"))


def rewritten(path: Path, **changes: object) -> Bundle:
    """Write the card again, with its hashes, so that the files alone are wrong."""
    facts = zoo.bundle("mobilenet").card.model_dump(exclude={"files"})
    return Bundle.create(path, **{**facts, **changes})


#: So many images show what is broken; where a few differ, more are looked at: of 500, three are no sign of less
#: than 99.5 % of all. torch takes minutes for all of them on a slow machine.
STEP = 400


@pytest.mark.parametrize("name", zoo.names())
def test_agrees_with_torch_on_the_sample(name: str, sample: Dataset) -> None:
    pytest.importorskip("torch", reason="needs the extra torch")
    bundle, images = zoo.bundle(name), sample.images
    reference = runtimes.load("torch", bundle, threads=2)
    expected = cache(lambda at: answers(reference, images[at : at + STEP]))

    def assert_agrees(own: runtimes.Runtime, least: float) -> None:
        alike = np.empty(0, bool)
        for at in range(0, len(images), STEP):
            alike = np.append(alike, answers(own, images[at : at + STEP]) == expected(at))
            if alike.mean() >= least:
                return
        raise AssertionError(f"{alike.mean():.2%} of {len(alike)} images are answered alike")

    assert_agrees(OpenVINO(bundle, threads=2, precision=PartPrecision(stem="f32", body="f32")), 0.999)
    assert_agrees(runtimes.load("openvino", bundle, threads=2), 0.995)


@pytest.mark.parametrize("name", zoo.names())
def test_whole_and_parts_agree(name: str, sample: Dataset) -> None:
    whole = runtimes.load("openvino", zoo.bundle(name), threads=2)
    parts = runtimes.load("openvino", zoo.bundle(name), threads=2, parts=("stem", "body"))
    images = sample.images[:400]
    assert np.mean(answers(whole, images) == answers(parts, images)) >= 0.999


def answers(runtime: runtimes.Runtime, images: np.ndarray) -> np.ndarray:
    return np.concatenate([runtime.run(images[i : i + 50]).argmax(1) for i in range(0, len(images), 50)])


def test_body_that_is_no_onnx(copy: Path) -> None:
    (copy / "body.onnx").write_bytes((copy / "body.onnx").read_bytes()[:5000])
    with pytest.raises(BundleError, match=r"body\.onnx cannot be read as ONNX; get or export"):
        OpenVINO(rewritten(copy))


def test_stem_shape_that_is_not_the_cards(copy: Path) -> None:
    bundle = rewritten(copy, stem_shape=(64, 16, 16))
    expected = r"stem\.onnx: output is f32 \(batch, 16, 32, 32\), but the card says f32 \(batch, 64, 16, 16\)"
    with pytest.raises(BundleError, match=expected):
        OpenVINO(bundle)
    with pytest.raises(BundleError, match=r"body\.onnx: input is f32 \(batch, 16, 32, 32\)"):
        OpenVINO(bundle, parts=("body",))


def test_labels_that_are_not_the_logits(copy: Path) -> None:
    bundle = rewritten(copy, labels=("cat", "dog"), known_answer=None)
    expected = r"body\.onnx: output is f32 \(batch, 20\), but the card says f32 \(batch, 2\)"
    with pytest.raises(BundleError, match=expected):
        OpenVINO(bundle)


def test_stem_of_another_network(copy: Path) -> None:
    shutil.copy(zoo.bundle("resnet34").stem_path, copy / "stem.onnx")
    with pytest.raises(BundleError, match=r"stem\.onnx: output is f32 \(batch, 64, 16, 16\)"):
        OpenVINO(rewritten(copy))


def test_ctrl_c_is_no_crash_after_networks_are_dropped() -> None:
    code = """
import os, signal
signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may let those in the background ignore it
from hddnn import runtimes, zoo
first, second = (runtimes.load("openvino", zoo.bundle("mobilenet"), parts=("stem",)) for _ in range(2))
del first
del second
try:
    os.kill(os.getpid(), signal.SIGINT)
except KeyboardInterrupt:
    print("interrupted")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE_S)
    assert (done.returncode, done.stdout) == (0, "interrupted\n"), done.stderr


def test_the_default_precision_is_what_this_cpu_then_uses(sample: Dataset) -> None:
    images = sample.images[:50]
    bundle = zoo.bundle("mobilenet")
    # Two parts: with one precision for both, as where it is float32, the whole network would be one graph, which
    # rounds otherwise.
    made = {
        body: OpenVINO(bundle, parts=("stem", "body"), precision=PartPrecision(body=body)).run(images)
        for body in ("default", default_precision())
    }
    assert np.array_equal(*made.values())


def test_a_precision_that_this_cpu_lacks_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert can_compute("f32")
    assert can_compute("default")
    # As where OpenVINO takes float32 in its place without a word.
    monkeypatch.setitem(openvino._TYPES, "bf16", "something else")
    assert not can_compute("bf16")
    with pytest.raises(
        BundleError, match=r"^this CPU does not compute in bf16; take precision default or f32$"
    ):
        OpenVINO(zoo.bundle("mobilenet"), precision=PartPrecision(body="bf16"))
