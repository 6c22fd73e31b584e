"""Operators by attributes: a network that is added answers as its file, or is refused by the operator's name."""

from __future__ import annotations

import re
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from operators import CASES, LABELS, MEAN, SIZE, STD, network

from hddnn import runtimes
from hddnn.errors import BundleError
from hddnn.own import from_onnx

ort = pytest.importorskip("onnxruntime", reason="needs the extra bench")

IMAGES = np.random.default_rng(5).integers(0, 256, (7, SIZE, SIZE, 3), np.uint8)


def add(folder: Path, model: onnx.ModelProto, **wishes: object) -> np.ndarray:
    """Add a network and return what it then answers to IMAGES."""
    file = folder / "own.onnx"
    onnx.save(model, file)
    made = from_onnx(
        file, "own", labels=LABELS, image_size=(SIZE, SIZE), mean=MEAN, std=STD, replace=True, **wishes
    )
    return runtimes.load(made.card.runtime, made).run(IMAGES)


def expected(model: onnx.ModelProto) -> np.ndarray:
    """Return what onnxruntime answers to IMAGES, prepared here."""
    x = ((IMAGES / 255 - MEAN) / STD).transpose(0, 3, 1, 2).astype(np.float32)
    options = ort.SessionOptions()
    options.log_severity_level = 4
    return ort.InferenceSession(model.SerializeToString(), options).run(None, {"x": x})[0]


def same(got: np.ndarray, wanted: np.ndarray) -> None:
    np.testing.assert_allclose(got, wanted, atol=1e-3 * np.abs(wanted).max())
    assert (got.argmax(1) == wanted.argmax(1)).all()


#: Of an operator with many cases every third is tried each time, and all with the slow tests.
_MANY = 9
_ALWAYS = re.compile("antialias|exclude|not_|-[0-9]|AveragePool 1|Pad")


def _cases() -> list[Any]:
    """Return the names of the cases, those marked that are tried with the slow tests only."""
    seen = Counter[str]()
    found: list[Any] = []
    for name in CASES:
        op = name.split()[0]
        seen[op] += 1
        is_slow = seen[op] > _MANY and seen[op] % 3 and not _ALWAYS.search(name)
        found.append(pytest.param(name, marks=pytest.mark.slow) if is_slow else name)
    return found


@pytest.mark.parametrize("name", _cases())
def test_it_answers_as_its_file_or_is_refused_by_name(tmp_path: Path, name: str) -> None:
    case = CASES[name]
    model = network(case)
    try:
        got = add(tmp_path, model)
    except BundleError as error:
        text = str(error)
        assert "\n" not in text
        assert any(re.search(rf"\b{node.op_type}\b", text) for node in case[1]) or "OpenVINO" in text, text
        print(text)
    else:
        same(got, expected(model))
