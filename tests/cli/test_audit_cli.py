"""`hddnn audit`: wrong usage in one line, an audit's files, and one that is stopped."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from waiting import PATIENCE_S

pytest.importorskip("torch", reason="needs the extra torch")
pytest.importorskip("skimage", reason="needs the extra torch")

from hddnn import zoo
from hddnn.audit import Setting, decoder
from hddnn.cli.audit import audit, file_name
from hddnn.privacy.codec import DEFAULT
from hddnn.results import cubes
from hddnn.zoo.card import ONNX_ONLY


def hddnn(*args: str) -> Result:
    return CliRunner().invoke(audit, [*args, "--threads", "1"])


def test_an_audit_writes_picture_and_cube(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    result = hddnn("mobilenet", "--images", "3", "--codec", "uint8")
    assert result.exit_code == 0, result.output
    assert "mobilenet split after stem, no noise, codec uint8: white-box on 3 images" in result.stdout
    assert "these features hide nothing." in result.stdout
    assert max(map(len, result.stdout.splitlines())) <= 110
    folder = tmp_path / "results" / "audit"
    assert sorted(path.name for path in folder.iterdir()) == [
        "mobilenet-stem-white-box-uint8.nc",
        "mobilenet-stem-white-box-uint8.png",
    ]
    assert (folder / "mobilenet-stem-white-box-uint8.png").read_bytes().startswith(b"\x89PNG")
    cube = cubes.read(folder / "mobilenet-stem-white-box-uint8.nc")
    assert (cube.psnr_db > 40).all()
    assert cube.attrs["codec"] == "uint8"


@pytest.mark.parametrize(
    ("options", "name"),
    [
        ({}, "mobilenet-stem-white-box"),
        ({"noise": 1.0}, "mobilenet-stem-white-box-noise1"),
        ({"noise": 0.25, "attack": "black-box"}, "mobilenet-stem-black-box-noise0.25"),
        ({"codec": "uint8"}, "mobilenet-stem-white-box-uint8"),
        ({"noise": 1.0, "codec": "uint8+zstd"}, "mobilenet-stem-white-box-noise1-uint8+zstd"),
    ],
)
def test_another_defence_has_files_of_its_own(options: dict[str, Any], name: str) -> None:
    given: dict[str, Any] = {
        "depth": "stem",
        "attack": "white-box",
        "noise": 0.0,
        "codec": DEFAULT,
        **options,
    }
    assert file_name(Setting(zoo.bundle("mobilenet"), **given)) == name


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (["vgg"], "no network 'vgg'"),
        (["mobilenet", "--depth", "layer1"], "unknown depth 'layer1'"),
        (["mobilenet", "--attack", "grey-box"], "unknown attack 'grey-box'"),
        (["mobilenet", "--codec", "uint5"], "unknown codec 'uint5'"),
        (["mobilenet", "--noise", "-0.5"], "noise -0.5 is not allowed"),
        (["mobilenet", "--noise", "inf"], "noise inf is not allowed"),
        (["mobilenet", "--images", "0"], "0 images cannot be attacked"),
        (["mobilenet", "--images", "-3"], "-3 images cannot be attacked"),
    ],
)
def test_wrong_usage_is_one_line(
    words: list[str], text: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    result = hddnn(*words)
    assert result.exit_code == 2
    assert text in result.stderr
    assert result.stderr.strip().count("\n") == 0
    assert not list(tmp_path.iterdir())


def test_a_network_without_torch_is_told_so(tmp_path: Path) -> None:
    folder, bundle = tmp_path / "gulls", zoo.bundle("mobilenet")
    shutil.copytree(bundle.path, folder)
    facts = bundle.card.model_dump(exclude={"files"}) | {"name": "gulls", "architecture": ONNX_ONLY}
    zoo.Bundle.create(folder, **facts)
    result = hddnn(str(folder), "--out", str(tmp_path / "out"))
    assert result.exit_code == 2
    assert result.stderr == (
        "hddnn: white-box needs a torch definition, which network gulls has none of; take --attack black-box\n"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("library", ["torch", "skimage"])
def test_without_a_library_it_says_what_to_install(
    library: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name in [name for name in sys.modules if name == "hddnn.audit" or name.startswith("hddnn.audit.")]:
        monkeypatch.delitem(sys.modules, name)
    for name in [name for name in sys.modules if name.partition(".")[0] == library]:
        monkeypatch.setitem(sys.modules, name, None)
    result = hddnn("mobilenet", "--out", str(tmp_path / "out"))
    assert result.exit_code == 2
    needs = "scikit-image" if library == "skimage" else library
    assert result.stderr == f"hddnn: an audit needs {needs}: pip install 'hddnn[torch]'\n"


def test_the_command_is_light() -> None:
    code = "import hddnn.cli.audit, sys; print(*sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=PATIENCE_S
    )
    assert {"torch", "numpy", "xarray", "skimage", "pydantic"}.isdisjoint(done.stdout.split())


def test_ctrl_c_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(decoder, "solve", lambda *args: os.kill(os.getpid(), signal.SIGINT))
    result = hddnn("mobilenet", "--attack", "black-box", "--images", "2")
    assert result.exit_code == 1
    assert "hddnn: stopped before any answer; nothing was written" in result.stderr
    assert not list(tmp_path.iterdir())
