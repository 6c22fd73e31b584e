"""What a bench says of its cube: the table, the verdict, the figure."""

from __future__ import annotations

import io
import json

import numpy as np
import pytest
import xarray as xr
from rich.console import Console

from hddnn.bench import VARIANTS, report
from hddnn.bench.measure import DIMS

#: Seconds an image by runtime, and share of equal answers.
WAYS = {
    "openvino": (0.001, 1.0),
    "openvino-bf16": (0.0005, 0.99),
    "onnxruntime": (0.002, 1.0),
    "torch": (0.004, 1.0),
}


def made(ways: dict[str, tuple[float, float]] = WAYS, networks: tuple[str, ...] = ("net",)) -> xr.Dataset:
    """Return a cube of networks that all take the same, 1, 1.1 and 1.2 times `ways` in three rounds."""
    names = list(ways)
    sizes = {"network": list(networks), "runtime": names, "threads": [1, 2], "batch_size": [1, 50]}
    seconds = np.array([ways[name][0] for name in names])[None, :, None, None, None] * np.ones(
        (len(networks), 1, 2, 2, 1)
    )
    seconds = seconds * np.array([1.0, 1.2, 1.1])
    agreement = np.tile([ways[name][1] for name in names], (len(networks), 1))
    data = {
        "seconds_per_image": (DIMS, seconds),
        "peak_memory": (DIMS[:3], np.full(seconds.shape[:3], 2e8)),
        "agreement": (DIMS[:2], agreement),
        "agreement_on_card": (DIMS[:2], np.full(agreement.shape, np.nan)),
    }
    attributes = {"processor": "Abacus [1]", "left_out": json.dumps({})}
    coords = {
        **sizes,
        "repeat": range(3),
        "reference": ("network", ["torch"] * len(networks)),
        "images_compared": ("network", [100] * len(networks)),
        "default": ("network", ["openvino"] * len(networks)),
    }
    return xr.Dataset(data, coords, attributes)


def said(cube: xr.Dataset) -> str:
    out = io.StringIO()
    Console(file=out, width=80).print(report.table(cube))
    return out.getvalue()


def test_the_fastest_is_of_those_that_agree() -> None:
    cube = made()
    assert report.fastest(cube, "net", 1, 50) == "openvino"
    close = made(WAYS | {"openvino-bf16": (0.0005, 0.995)})
    assert report.fastest(close, "net", 1, 50) == "openvino-bf16"
    assert report.fastest(made({"torch": (1.0, 0.5)}), "net", 1, 50) is None
    fast_gpu = made(WAYS | {"torch-cuda": (0.0001, 1.0)})  # a CPU's default is a CPU's
    assert report.fastest(fast_gpu, "net", 1, 50) == "openvino"


def test_what_agrees_here_and_not_by_the_card_is_no_default() -> None:
    cube = made(WAYS | {"openvino-bf16": (0.0005, 0.996)})
    cube.agreement_on_card.loc[{"runtime": "openvino-bf16"}] = 0.993
    cube.agreement_on_card.loc[{"runtime": "openvino"}] = 0.999
    assert report.fastest(cube, "net", 1, 50) == "openvino"
    joined = " ".join(said(cube).split())
    assert "net: openvino-bf16 agrees on 99.30% only of all the images of its card" in joined
    assert "openvino agrees" not in joined
    assert "of its card" not in said(made())


def test_speedup_is_of_the_same_round() -> None:
    cube = made()
    cube.seconds_per_image[:, :, :, :, 1] *= 10  # a round in which the machine was busy
    assert report.speedup(cube.sel(network="net", threads=1), "openvino", 50) == pytest.approx(4)
    alone = made({"openvino": (0.001, 1.0)})
    assert np.isnan(report.speedup(alone.sel(network="net", threads=1), "openvino", 50))


def test_the_table_holds_every_measured_way_and_fits() -> None:
    cube = made(networks=("net", "other"))
    cube.seconds_per_image.loc[{"runtime": "onnxruntime", "network": "other"}] = np.nan
    text = said(cube)
    assert max(len(line) for line in text.splitlines()) <= 80
    assert "…" not in text
    assert text.count("openvino-bf16  ") == 4
    assert text.count("onnxruntime  ") == 2
    row = next(line.split() for line in text.splitlines() if line.startswith("openvino "))
    assert row == ["openvino", "1", "1.10", "1.10", "909", "9", "4.0", "200", "100.00"]
    assert "measured on Abacus [1]" in text


def test_the_verdict_says_when_the_default_is_not_the_best() -> None:
    joined = " ".join(said(made()).split())
    assert (
        "net: openvino, the default, is the fastest that agrees (1 thread, batch 50), 4.0 times as fast as torch"
    ) in joined
    other = " ".join(said(made(WAYS | {"onnxruntime": (0.0009, 1.0)})).split())
    assert "net: onnxruntime, not the default, is the fastest that agrees" in other
    assert "net: no runtime agrees with torch" in said(made({"openvino": (0.1, 0.9)}))
    on_gpu = said(made({"torch-cuda": (0.1, 1.0)}))  # none was measured on the CPU
    assert "agrees with" not in on_gpu
    assert "its memory is the host's" in on_gpu


def test_what_was_left_out_is_told() -> None:
    cube = made()
    cube.attrs["left_out"] = json.dumps({"net": {"torch-compiled": "needs a C++ compiler"}})
    assert "left out: net in torch-compiled: needs a C++ compiler" in said(cube)


@pytest.mark.parametrize("networks", [("net",), ("net", "other", "third")])
def test_the_figure_shows_what_was_measured(networks: tuple[str, ...]) -> None:
    cube = made(networks=networks)
    cube.seconds_per_image.loc[{"runtime": "onnxruntime"}] = np.nan
    drawn = report.figure(cube)
    times, memory = drawn.axes[: len(networks)], drawn.axes[len(networks) :]
    assert [axes.get_title() for axes in times] == list(networks)
    for axes in times:
        assert len(axes.containers) == 3 * 2  # runtimes with error bars, times threads
        assert [label.get_text() for label in axes.get_xticklabels()] == ["1", "50"]
    for axes in memory:
        assert len(axes.patches) == 3 * 2
    names = [text.get_text() for text in drawn.legends[0].get_texts()]
    assert names == ["openvino", "openvino-bf16", "torch", "1 thread", "2 threads"]
    drawn.canvas.draw()


def test_every_way_has_a_style_of_its_own() -> None:
    assert set(report._STYLES) == set(VARIANTS)
    assert len({style[0] for style in report._STYLES.values()}) == len(VARIANTS)


def test_runtimes_of_a_users_own_are_told_apart() -> None:
    """They were a KeyError when figures knew hddnn's own alone."""
    own = ("/a/long/way/own.py:Tuned", "/a/long/way/own.py:Tuned:hint=THROUGHPUT")
    drawn = report.figure(made(WAYS | dict.fromkeys(own, (0.002, 1.0))))
    markers = {line.get_label(): line.get_marker() for line in drawn.legends[0].get_lines()}
    assert {"own.py:Tuned", "own.py:Tuned:hint=THROUGHPUT"} <= set(markers)
    assert len({markers[name] for name in markers if "thread" not in name}) == len(WAYS) + len(own)
    drawn.canvas.draw()
    widest = drawn.legends[0].get_window_extent().width
    assert widest <= drawn.get_window_extent().width
