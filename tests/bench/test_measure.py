"""A bench with real processes: whole cubes, runtimes that are left out, and nothing left behind."""

from __future__ import annotations

import contextlib
import json
import shutil
import signal
import subprocess
import sys
from itertools import product
from pathlib import Path

import numpy as np
import psutil
import pytest
from click.testing import CliRunner
from waiting import PATIENCE_S, wait_until

pytest.importorskip("onnxruntime", reason="needs the extra bench")

from hddnn import zoo
from hddnn.bench import BenchObserver, Grid, measure, run
from hddnn.bench.remote import Failed, Remote
from hddnn.cli.main import main
from hddnn.data.datasets import load_dataset
from hddnn.errors import HddnnError
from hddnn.results import cubes
from hddnn.zoo.card import ONNX_ONLY


class Heard(BenchObserver):
    def __init__(self) -> None:
        self.total, self.steps, self.without, self.networks = 0, 0, [], []

    def began(self, steps: int) -> None:
        self.total = steps

    def network(self, name: str) -> None:
        self.networks.append(name)

    def step(self, text: str) -> None:
        self.steps += 1

    def left_out(self, network: str, runtime: str, reason: str) -> None:
        self.without.append((network, runtime, reason))


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Return the folder of a network that torch does not know: a packaged one under another name."""
    folder = tmp_path / "gulls"
    bundle = zoo.bundle("mobilenet")
    shutil.copytree(bundle.path, folder)
    facts = bundle.card.model_dump(exclude={"files"}) | {"name": "gulls", "architecture": ONNX_ONLY}
    zoo.Bundle.create(folder, **facts)
    return folder


def test_a_whole_cube(own: Path) -> None:
    grid = Grid((str(own),), ("openvino", "onnxruntime"), (1,), (1, 4), repeats=2, images=60, least_s=0.0)
    heard = Heard()
    cube = run(grid, heard)
    assert dict(cube.sizes) == {"network": 1, "runtime": 2, "threads": 1, "batch_size": 2, "repeat": 2}
    on_card = cube.agreement_on_card.sel(network="gulls")
    assert float(on_card.sel(runtime="openvino")) == zoo.bundle("mobilenet").card.agreement["f32"]
    assert np.isnan(on_card.sel(runtime="onnxruntime"))
    assert all(cube[name].notnull().all() for name in cube.data_vars if name != "agreement_on_card")
    assert all({"units", "long_name"} <= set(values.attrs) for values in cube.data_vars.values())
    assert (cube.agreement >= 0.98).all()
    assert np.allclose(cube.images_per_second * cube.seconds_per_image, 1)
    assert (cube.peak_memory > 50e6).all()
    assert cube.reference.values.tolist() == ["onnx-evaluator"]  # the others are measured
    assert 1 <= int(cube.images_compared[0]) <= 60
    assert cube.default.values.tolist() == ["openvino"]
    assert json.loads(cube.attrs["left_out"]) == {}
    assert heard.steps == heard.total
    assert (heard.networks, heard.without) == (["gulls"], [])


def test_what_cannot_run_is_left_out_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch", reason="needs the extra torch")
    monkeypatch.setenv("PATH", "")  # no compiler
    monkeypatch.delenv("CXX", raising=False)
    heard = Heard()
    grid = Grid(("mobilenet",), ("openvino", "torch-compiled"), (1,), (1,), repeats=1, images=20, least_s=0.0)
    cube = run(grid, heard)
    reason = "runtime torch-compiled needs a C++ compiler: install g++"
    assert heard.without == [("mobilenet", "torch-compiled", reason)]
    assert json.loads(cube.attrs["left_out"]) == {"mobilenet": {"torch-compiled": reason}}
    lost, there = cube.sel(runtime="torch-compiled"), cube.sel(runtime="openvino")
    assert all(lost[name].isnull().all() for name in cube.data_vars)
    assert all(there[name].notnull().all() for name in cube.data_vars)
    assert cube.reference.values.tolist() == ["torch"]


def test_a_damaged_network_is_one_line(own: Path) -> None:
    (own / "body.onnx").write_bytes(b"\x08")
    facts = json.loads((own / "card.json").read_text())
    del facts["files"]
    zoo.Bundle.create(own, **facts)  # whole by its card
    grid = Grid((str(own),), ("openvino",), (1,), (1,), repeats=1, images=5)
    with pytest.raises(HddnnError, match=r"^onnxruntime cannot run network gulls: .*body\.onnx") as caught:
        run(grid)
    assert "\n" not in str(caught.value)


@pytest.fixture
def images(tmp_path: Path) -> Path:
    np.save(tmp_path / "images.npy", measure.images_of((32, 32, 3), 50))
    return tmp_path / "images.npy"


def test_a_process_that_dies_says_what_it_said_last(own: Path, images: Path) -> None:
    with Remote(zoo.bundle(own), "openvino", 1, images) as remote:
        assert remote.answer()["load_s"] > 0
        remote._process.kill()
        remote._process.wait()
        with pytest.raises(Failed, match=r"^its process ended \(it said nothing\)$"):
            remote.ask("memory")
    with (
        Remote(zoo.bundle(own), "openvino", 1, images.with_name("none.npy")) as remote,
        pytest.raises(Failed, match=r"^its process ended \(FileNotFoundError: .*none\.npy'\)$"),
    ):
        remote.answer()
    with (
        Remote(zoo.bundle(own), "nowhere", 1, images) as remote,
        pytest.raises(Failed, match=r"^unknown runtime 'nowhere'; known: openvino, "),
    ):
        remote.answer()


def test_a_process_that_dies_in_a_round_is_left_out(own: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ask, times = Remote.ask, []

    def ask_once(self: Remote, do: str, **what: object) -> object:
        if do == "time" and what["least_s"] and "onnxruntime" in self._process.args:
            times.append(do)
            if len(times) == 2:
                self._kill()
                self._process.wait()
        return ask(self, do, **what)

    monkeypatch.setattr(Remote, "ask", ask_once)
    heard = Heard()
    grid = Grid((str(own),), ("openvino", "onnxruntime"), (1,), (1,), repeats=3, images=5, least_s=1e-6)
    cube = run(grid, heard)
    assert heard.without == [("gulls", "onnxruntime", "its process ended (it said nothing)")]
    assert all(cube[name].sel(runtime="onnxruntime").isnull().all() for name in cube.data_vars)
    assert all(cube[name].sel(runtime="openvino").notnull().all() for name in cube.data_vars)


def test_on_an_error_a_process_goes_with_its_children_and_its_files(
    own: Path, images: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In Python's place, something that starts a child, as torch starts a compiler, and waits.
    script = tmp_path / "python"
    script.write_text('#!/bin/sh\nsleep 600 &\necho "{\\"child\\": $!}"\ncat\n')
    script.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(script))
    remote = Remote(zoo.bundle(own), "openvino", 1, images)
    place, child = Path(remote._place.name), psutil.Process(remote.answer()["child"])
    assert place.is_dir()
    remote.__exit__(KeyboardInterrupt)
    psutil.wait_procs([child], timeout=PATIENCE_S)
    assert not child.is_running() or child.status() == psutil.STATUS_ZOMBIE
    assert not place.exists()


def test_images_are_the_packaged_ones_resized_where_a_network_takes_others() -> None:
    packaged = load_dataset().images
    assert np.array_equal(measure.images_of((32, 32, 3), 2001)[[0, 2000]], packaged[[0, 0]])
    other = measure.images_of((64, 48, 3), 3)
    assert (other.shape, other.dtype) == ((3, 64, 48, 3), np.uint8)
    # Still the same picture: its mean by channel, and its brighter half.
    assert other.mean((1, 2)) == pytest.approx(packaged[:3].mean((1, 2)), abs=2)
    top, bottom = (packaged[0].mean((1, 2))[half].mean() for half in (slice(16), slice(16, 32)))
    assert other[0][:32].mean() == pytest.approx(top, abs=2)
    assert other[0][32:].mean() == pytest.approx(bottom, abs=2)


def test_every_round_meets_every_cell_once_in_an_order_of_its_own() -> None:
    grid = Grid(("mobilenet",), ("openvino",), (1,), (1, 10), repeats=6)
    cells = [(v, t) for v in range(5) for t in range(2)]
    rounds = list(measure.rounds(grid, cells))
    assert sorted(rounds) == sorted(product(range(6), range(2), cells))
    assert [repeat for repeat, _, _ in rounds] == sorted(repeat for repeat, _, _ in rounds)
    orders = {tuple(c for r, b, c in rounds if (r, b) == which) for which in product(range(6), range(2))}
    assert len(orders) > 6


def test_the_command_writes_cube_figure_and_verdict(
    own: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["zoo", "bench", str(own), "--runtimes", "openvino,onnxruntime", "--threads", "1"]
    result = CliRunner().invoke(main, [*words, "--batch", "1,2", "--repeats", "1", "--images", "20"])
    assert result.exit_code == 0, result.output
    assert "gulls" in result.stdout
    assert "the fastest that agrees (1 thread, batch 2)" in " ".join(result.stdout.split())
    assert cubes.read(tmp_path / "results" / "bench.nc").sizes["batch_size"] == 2
    assert (tmp_path / "results" / "bench.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["vgg"], "no network 'vgg'"),
        (["--runtimes", "tensorflow"], "unknown runtime 'tensorflow'"),
        (["--batch", "1,x"], "'1,x' is not allowed; give whole numbers, such as 1,50"),
        (["--threads", "0"], "'0' is not allowed"),
        (["--out", "bench.txt"], "name it with .nc (netCDF) or .zarr"),
    ],
    ids=["network", "runtime", "batch", "threads", "out"],
)
def test_wrong_usage_is_one_line(
    words: list[str], text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = CliRunner().invoke(main, ["zoo", "bench", *words])
    assert result.exit_code == 2
    assert text in result.stderr
    assert result.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_ctrl_c_ends_every_process_and_writes_nothing(own: Path, tmp_path: Path) -> None:
    out = tmp_path / "bench.nc"
    command = [sys.executable, "-m", "hddnn", "zoo", "bench", str(own), "--runtimes", "openvino"]
    command += ["--repeats", "100000", "--threads", "1", "--out", str(out)]
    # A shell that runs the tests in the background has its children ignore SIGINT, and theirs.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        started = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    finally:
        signal.signal(signal.SIGINT, before)
    with started as bench:
        try:
            held = _wait_for_child(bench.pid)
            bench.send_signal(signal.SIGINT)
            _, said = bench.communicate(timeout=PATIENCE_S)
        finally:
            bench.kill()
    assert bench.returncode == 1
    assert said == "measuring gulls\nhddnn: stopped before any answer; nothing was written\n"
    _, alive = psutil.wait_procs([held], timeout=PATIENCE_S)  # killed, it may yet take a moment to be gone
    assert not alive
    assert not out.exists()


def _wait_for_child(pid: int) -> psutil.Process:
    def child() -> psutil.Process | None:
        for one in psutil.Process(pid).children():
            with contextlib.suppress(psutil.Error):  # the reference's process, which has just ended
                if "openvino" in one.cmdline():
                    return one
        return None

    return wait_until(child, "a network to be loaded")
