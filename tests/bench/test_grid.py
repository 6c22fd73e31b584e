"""Which cells a bench has, and which it leaves out."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from hddnn import runtimes, zoo
from hddnn.bench import grid
from hddnn.bench.grid import Grid
from hddnn.errors import BundleError, InputError
from hddnn.runtimes import openvino
from hddnn.zoo import Bundle, PartPrecision
from hddnn.zoo.card import ONNX_ONLY


def with_card(network: str, **changes: object) -> Bundle:
    bundle = zoo.bundle(network)
    return Bundle(bundle.path, bundle.card.model_copy(update=changes))


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"variants": ("openvno",)}, "unknown runtime 'openvno', did you mean 'openvino'? known: openvino, "),
        ({"variants": ()}, "give each runtime once, and one at least"),
        ({"batch_sizes": (1, 1)}, "give each batch size once"),
        ({"threads": (0,)}, "must be 1 or more, not 0"),
        ({"repeats": 0}, "must be 1 or more, not 0"),
        ({"images": 2001}, "there are 2000 packaged images to compare answers on, not 2001"),
        (
            {"networks": ("mobilenet", str(zoo.bundle("mobilenet").path))},
            "have the same name; give each once",
        ),
    ],
    ids=["unknown", "none", "twice", "threads", "repeats", "images", "same"],
)
def test_impossible_grids_are_refused(changes: dict[str, object], text: str) -> None:
    good = Grid(("mobilenet",), ("openvino",), (1,))
    with pytest.raises(InputError) as caught:
        replace(good, **changes)
    assert text in str(caught.value)


def test_an_unknown_network_lists_the_valid_ones() -> None:
    with pytest.raises(BundleError, match="no network 'vgg'; packaged are mobilenet, resnet34"):
        Grid(("vgg",), ("openvino",), (1,))


def test_what_is_not_installed_is_refused_and_not_a_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        runtimes, "missing", lambda name: "no torch here" if name.startswith("torch") else None
    )
    assert grid.default_variants() == ("openvino", "openvino-f32", "openvino-bf16", "onnxruntime")
    with pytest.raises(InputError, match="no torch here"):
        Grid(("mobilenet",), ("torch",), (1,))
    assert grid.references(zoo.bundle("mobilenet"), ("openvino",)) == ["onnxruntime", "onnx-evaluator"]


def test_cuda_is_a_default_only_where_there_is_a_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(runtimes, "missing", lambda name: None)
    monkeypatch.setattr(Path, "exists", lambda path: str(path) == "/dev/nvidiactl")
    assert "torch-cuda" in grid.default_variants()
    monkeypatch.setattr(Path, "exists", lambda path: False)
    assert "torch-cuda" not in grid.default_variants()


@pytest.mark.parametrize("default", ["f32", "bf16"])
def test_no_arithmetic_is_measured_twice(default: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(openvino, "default_precision", lambda: default)
    pairs = {"f32": ("openvino-f32", "openvino-bf16"), "bf16": ("openvino-bf16", "openvino-f32")}
    for body in ("f32", "bf16", "default"):
        twin, other = pairs[default if body == "default" else body]
        bundle = with_card("mobilenet", precision=zoo.PartPrecision(body=body))
        assert "the same as openvino" in str(grid.left_out(bundle, twin, ("openvino", twin)))
        assert grid.left_out(bundle, twin, (twin,)) is None
        assert grid.left_out(bundle, other, ("openvino", other)) is None
        assert grid.left_out(bundle, "openvino", ("openvino", twin)) is None


def test_a_network_without_a_torch_definition() -> None:
    bundle = with_card("mobilenet", architecture=ONNX_ONLY)
    assert grid.left_out(bundle, "torch", ("torch",)) == (
        "has no definition of network mobilenet; take runtime openvino"
    )
    assert grid.references(bundle, ("openvino",)) == ["onnxruntime", "onnx-evaluator"]
    assert grid.references(zoo.bundle("mobilenet"), tuple(grid.VARIANTS)) == ["torch"]


def test_nothing_is_compared_with_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    """OpenVINO was the reference of OpenVINO where nothing else was installed: every network agreed."""
    bundle = with_card("mobilenet", architecture=ONNX_ONLY)
    measured = ("openvino", "onnxruntime")
    assert grid.references(bundle, measured) == ["onnx-evaluator", "onnxruntime"]
    assert [grid.is_itself(variant, "onnxruntime") for variant in measured] == [False, True]
    assert not any(grid.is_itself(variant, "onnx-evaluator") for variant in grid.VARIANTS)
    monkeypatch.setattr(runtimes, "missing", lambda name: None if name == "openvino" else f"no {name}")
    with pytest.raises(
        InputError, match="nothing here tells what network mobilenet should answer: pip install"
    ):
        grid.references(bundle, ("openvino",))


def test_threads_and_batch_sizes_are_in_order() -> None:
    grid = Grid(("mobilenet",), ("openvino",), (4, 1), (50, 1, 10))
    assert (grid.threads, grid.batch_sizes) == ((1, 4), (1, 10, 50))


@pytest.mark.parametrize(
    ("body", "variant", "share"),
    [
        ("f32", "openvino", 0.999),
        ("default", "openvino", 0.993),
        ("default", "openvino-f32", 0.999),
        ("f32", "openvino-bf16", 0.993),
        ("f32", "torch", None),
    ],
)
def test_what_a_card_knows_of_a_way(body: str, variant: str, share: float | None) -> None:
    bundle = with_card(
        "mobilenet",
        precision=PartPrecision(body=body),
        agreement={"f32": 0.999, "default": 0.993},
    )
    found = grid.on_card(bundle, variant)
    assert np.isnan(found) if share is None else found == share
    assert np.isnan(grid.on_card(with_card("mobilenet", agreement={}), variant))
