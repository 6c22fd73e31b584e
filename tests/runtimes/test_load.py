"""Loading a runtime: what is refused, and that nothing heavy is imported unasked."""

from __future__ import annotations

import doctest
import subprocess
import sys
from importlib.machinery import ModuleSpec
from importlib.metadata import metadata
from pathlib import Path
from types import ModuleType

import pytest
from waiting import PATIENCE_S

from hddnn import runtimes, testing, zoo
from hddnn.errors import BundleError, InputError


def test_unknown_runtime_lists_the_valid_ones() -> None:
    with pytest.raises(
        InputError, match=r"unknown runtime 'onnx'[,;] .*known: openvino, onnxruntime, torch, "
    ):
        runtimes.load("onnx", zoo.bundle("mobilenet"))


@pytest.mark.parametrize("parts", [(), ("head",), ("whole", "head")])
def test_unknown_part_lists_the_valid_ones(parts: tuple[str, ...]) -> None:
    with pytest.raises(BundleError, match="parts are whole, stem, body"):
        runtimes.load("openvino", zoo.bundle("mobilenet"), parts=parts)


def test_no_threads() -> None:
    with pytest.raises(InputError, match="1 thread or more, not 0"):
        runtimes.load("openvino", zoo.bundle("mobilenet"), threads=0)


@pytest.mark.parametrize(
    ("runtime", "library", "extra"),
    [
        ("torch", "torch", "torch"),
        ("torch", "onnx", "torch"),
        ("torch-compiled", "torch", "torch"),
        ("onnxruntime", "onnxruntime", "bench"),
    ],
)
def test_missing_library_says_what_to_install(
    runtime: str, library: str, extra: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for needed in runtimes.RUNTIMES.find(runtime).libraries:
        monkeypatch.setitem(sys.modules, needed, ModuleType(needed))
        sys.modules[needed].__spec__ = ModuleSpec(needed, None)
    assert runtimes.missing(runtime) is None
    monkeypatch.setitem(sys.modules, library, None)
    with pytest.raises(
        InputError, match=rf"^runtime {runtime} needs {library}: pip install 'hddnn\[{extra}\]'$"
    ):
        runtimes.load(runtime, zoo.bundle("mobilenet"))


def test_the_examples_of_docstrings_run() -> None:
    for module in (runtimes, testing.runtimes):
        failed, tried = doctest.testmod(module)
        assert (failed, tried > 0) == (0, True), module.__name__


def test_every_extra_is_one_of_the_packages() -> None:
    found = metadata("hddnn").get_all("Provides-Extra") or []
    extras = {runtimes.RUNTIMES.find(name).extra for name in runtimes.RUNTIMES.own} - {None}
    assert {"torch", "bench", "onnx"} <= extras <= set(found)


def test_asking_a_class_and_openvino_bring_no_torch() -> None:
    code = (
        "import sys, hddnn.zoo, hddnn.runtimes as r\n"
        "card = hddnn.zoo.bundle('mobilenet').card\n"
        "for name in r.RUNTIMES.own:\n"
        "    r.RUNTIMES.find(name).missing(), r.RUNTIMES.find(name).refuses(card)\n"
        "r.check('torch:device=cuda', card), r.check('onnxruntime', card)\n"
        "assert not {'torch', 'onnx', 'openvino', 'onnxruntime'} & set(sys.modules)\n"
        "r.preload()\n"
        "assert 'openvino' in sys.modules\n"
        "assert not {'torch', 'onnx', 'openvino_telemetry'} & set(sys.modules)\n"
        "r.load('openvino', hddnn.zoo.bundle('mobilenet')).warm_up(2)\n"
        "assert not {'torch', 'onnx', 'openvino_telemetry'} & set(sys.modules)\n"
    )
    root = Path(__file__).parents[2]
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=root,
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
