"""Networks of one's own from the command line to the answers of a running system."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import numpy as np
import onnx
import pytest
from click.testing import CliRunner, Result
from made_networks import network, saved

from hddnn import runtimes, zoo
from hddnn.cli.main import main
from hddnn.data.datasets import Dataset, Job
from hddnn.data.labels import LabelHierarchy
from hddnn.engines.dask.client.engine import DaskEngine
from hddnn.importing import checking
from hddnn.importing.facts import Facts
from hddnn.schemes import make_plan
from hddnn.system.topology import Topology

FINE = [f"gull {i}" for i in range(10)]
COARSE = [f"bird {i}" for i in range(10)]


def hddnn(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture
def labels(tmp_path: Path) -> dict[str, Path]:
    """Return files with the names of ten fine and ten coarse classes."""
    files = {"fine": tmp_path / "fine.txt", "coarse": tmp_path / "coarse.txt"}
    for level, names in (("fine", FINE), ("coarse", COARSE)):
        files[level].write_text("\n".join(names) + "\n")
    return files


def test_two_networks_added_by_command_answer_in_a_system(tmp_path: Path, labels: dict[str, Path]) -> None:
    # OpenVINO would answer the second one otherwise: devices run it where it was found right.
    models = {"birds": network(seed=1), "gulls": network(seed=2, antialias=True, opset=18)}
    for name, level, runtime in (("birds", "coarse", "openvino"), ("gulls", "fine", "onnxruntime")):
        file = saved(tmp_path, models[name], f"{name}.onnx")
        words = ("--onnx", file, "--labels", labels[level], "--task", level)
        if runtime != "openvino":
            refused = hddnn("zoo", "add", name, *words)
            assert refused.exit_code == 2
            assert refused.stderr.endswith(f"--runtime {runtime} (runtime='{runtime}')\n")
        done = hddnn("zoo", "add", name, *words, "--runtime", runtime)
        assert done.exit_code == 0, done.stderr
        assert "answers: as onnxruntime" in done.stdout
        assert f"answers, run in {runtime}" in done.stdout
        assert f"{name}: 10 {level} classes" in done.stdout
        assert "images: 32x32, resized to 24x24" in done.stdout
        assert f"use it in a topology as network: {name}" in done.stdout
    assert {"birds", "gulls"} <= set(zoo.names())
    listed = hddnn("zoo", "list")
    assert "gulls" in listed.stdout

    rng = np.random.default_rng(0)
    images = rng.integers(0, 256, (60, 32, 32, 3), np.uint8)
    fine = np.arange(60) % 10
    data = Dataset("shore", images, fine, fine, LabelHierarchy(tuple(FINE), tuple(COARSE), np.arange(10)))
    system = Topology.from_dict(
        {
            "name": "shore",
            "devices": [
                {"name": "camera", "tier": "end", "count": 2, "network": "birds"},
                {"name": "gateway", "tier": "edge", "network": "gulls", "trust": "undependable"},
            ],
        },
        networks=zoo.names(),
    )
    job = Job(data, images=60, batch_size=20)
    with DaskEngine(system, job) as engine:
        record = engine.execute(make_plan("end-edge", system, job, engine.costs()))
    assert (record.outcome == "ok").all()
    for stage, name in (("coarse", "birds"), ("fine", "gulls")):
        scores = _answers(models[name], images)
        second, first = np.sort(scores, axis=1)[:, -2:].T
        told_apart = first - second > 0.05  # features are rounded on their way
        assert told_apart.sum() > 50
        assert (record.labels[stage] == scores.argmax(axis=1))[told_apart].all()

    assert hddnn("zoo", "remove", "gulls").exit_code == 0
    assert "gulls" not in zoo.names()


def _answers(model: onnx.ModelProto, images: np.ndarray) -> np.ndarray:
    """Return what onnxruntime makes of a file that was added, for 24 x 24, to images."""
    ort = pytest.importorskip("onnxruntime", reason="needs the extra bench")
    x = checking.prepared(images, Facts(tuple("ab")), (24, 24))
    return ort.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]


def test_where_more_goes_up_than_the_image_better_places_to_split_are_told_and_can_be_asked_for(
    tmp_path: Path, labels: dict[str, Path]
) -> None:
    words = ("--onnx", saved(tmp_path), "--labels", labels["fine"], "--image-size", "16x16")
    first = hddnn("zoo", "add", "own", *words)
    told = [line for line in first.stdout.splitlines() if line.startswith(("split", "sent", "these", "  "))]
    assert told == [
        "split at: first (Conv), 8x11x11",
        "sent: up to 968 bytes an image (a byte a value, before it is compressed), 1.3 times the image's 768",
        "these places send less than the image; add it again with --replace and one of them:",
        "  --stem-output second   16x5x5 of Conv: 400 bytes, behind 89.6% of the weights",
        "  --stem-output mean   16x1x1 of GlobalAveragePool: 16 bytes, behind 89.6% of the weights",
    ]
    assert "at second, op Conv, shape 16x5x5" in " ".join(hddnn("zoo", "show", "own").stdout.split())
    asked = told[3].split()[:2]
    again = hddnn("zoo", "add", "own", *words, "--replace", *asked)
    assert again.exit_code == 0, again.stderr
    assert (
        "sent: up to 400 bytes an image (a byte a value, before it is compressed), 0.52 times" in again.stdout
    )
    assert "these places" not in again.stdout
    bundle = zoo.bundle("own")
    features = runtimes.load("openvino", bundle, parts=("stem",)).stem(np.zeros((1, 16, 16, 3), np.uint8))
    assert features.size == 400


def test_where_no_place_sends_less_than_the_image_that_is_told(
    tmp_path: Path, labels: dict[str, Path]
) -> None:
    words = ("--onnx", saved(tmp_path), "--labels", labels["fine"], "--image-size", "2x2")
    done = hddnn("zoo", "add", "own", *words)
    assert done.exit_code == 0, done.stderr
    assert "no place at which this network can be split sends less than the image\n" in done.stdout


def test_what_cannot_be_added_is_one_line(tmp_path: Path, labels: dict[str, Path]) -> None:
    whole = saved(tmp_path)
    half = tmp_path / "half.onnx"
    half.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    few = tmp_path / "few.txt"
    few.write_text("one\ntwo\n")
    given = {"--onnx": whole, "--labels": labels["fine"]}
    for change, text in (
        ({"--onnx": half}, "half.onnx"),
        ({"--labels": few}, "answers 10 classes, but there are 2 labels"),
        ({"--stem-output": "nowhere"}, "nowhere"),
        ({"--image-size": "big"}, "'big' is no size; give height x width"),
    ):
        words = [word for option in {**given, **change}.items() for word in option]
        refused = hddnn("zoo", "add", "own", *words)
        assert refused.exit_code == 2
        assert refused.stderr.startswith("hddnn: ")
        assert refused.stderr.count("\n") == 1
        assert text in refused.stderr
        assert "own" not in zoo.names()


def test_a_sigterm_leaves_nothing_in_the_store(
    tmp_path: Path, labels: dict[str, Path], store: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "check", lambda *args: os.kill(os.getpid(), signal.SIGTERM))
    stopped = hddnn("zoo", "add", "own", "--onnx", saved(tmp_path), "--labels", labels["fine"])
    assert stopped.exit_code == 1
    assert stopped.stderr.startswith("hddnn: stopped")
    assert not list(store.iterdir())
