"""ONNX Runtime: the checks it makes of a bundle's files, and that it keeps quiet."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from waiting import PATIENCE_S

from hddnn import zoo
from hddnn.errors import BundleError
from hddnn.runtimes.onnxruntime import OnnxRuntime
from hddnn.zoo import Bundle


def rewritten(path: Path, **changes: object) -> Bundle:
    """Copy a bundle and write its card again, with its hashes, so that the files alone are wrong."""
    facts = zoo.bundle("mobilenet").card.model_dump(exclude={"files"})
    return Bundle.create(shutil.copytree(zoo.bundle("mobilenet").path, path), **{**facts, **changes})


def test_body_that_is_no_onnx(tmp_path: Path) -> None:
    bundle = rewritten(tmp_path / "cut")
    bundle.body_path.write_bytes(bundle.body_path.read_bytes()[:5000])
    with pytest.raises(
        BundleError, match=r"body\.onnx cannot be read as ONNX \(.*PROTOBUF.*\); get or export"
    ):
        OnnxRuntime(bundle)


def test_shapes_that_are_not_the_cards(tmp_path: Path) -> None:
    bundle = rewritten(tmp_path / "other", stem_shape=(64, 16, 16), labels=("cat", "dog"), known_answer=None)
    expected = (
        r"stem\.onnx: output is tensor\(float\) \(batch, 16, 32, 32\), but the card says .* 64, 16, 16\)"
    )
    with pytest.raises(BundleError, match=expected):
        OnnxRuntime(bundle)
    with pytest.raises(BundleError, match=r"body\.onnx: input is tensor\(float\) \(batch, 16, 32, 32\)"):
        OnnxRuntime(bundle, parts=("body",))


def test_it_says_nothing_and_leaves_nothing(tmp_path: Path) -> None:
    code = (
        "import hddnn.zoo, hddnn.runtimes as r\n"
        "r.load('onnxruntime', hddnn.zoo.bundle('mobilenet')).warm_up(2)\n"
    )
    places = {"HOME": str(tmp_path), "TMPDIR": str(tmp_path), "PATH": "/usr/bin:/bin"}
    root = Path(__file__).parents[2]
    command = [sys.executable, "-W", "error", "-c", code]
    done = subprocess.run(command, cwd=root, env=places, capture_output=True, text=True, timeout=PATIENCE_S)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert not list(tmp_path.rglob("*"))
