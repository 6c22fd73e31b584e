"""Photos of one's own and networks for large images: each image comes to a network in the size that it takes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr
from click.testing import CliRunner, Result
from made_networks import network, saved
from PIL import Image

from hddnn import runtimes, zoo
from hddnn.cli.main import main
from hddnn.data import images
from hddnn.system.topology import Topology

SIZE = (224, 224)
FINE = [f"gull {i}" for i in range(10)]
COARSE = [f"bird {i}" for i in range(10)]


def hddnn(*words: object) -> Result:
    return CliRunner().invoke(main, [str(word) for word in words])


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Return a folder COARSE/FINE/IMAGE of photos of 320 x 240 whose details vanish at 32 x 32."""
    rng = np.random.default_rng(0)
    for i in range(12):
        folder = tmp_path / "photos" / COARSE[i % 3] / FINE[i % 3]
        folder.mkdir(parents=True, exist_ok=True)
        pixels = rng.integers(0, 256, (240, 320, 3), np.uint8) // (1 + i % 4)
        Image.fromarray(pixels).save(folder / f"{i:02}.png")
    return tmp_path / "photos"


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """Return a topology file of two networks for 224 x 224, added by the command."""
    added(tmp_path, "birds", "coarse")
    added(tmp_path, "gulls", "fine")
    return written(tmp_path, birds="birds", gulls="gulls")


def added(folder: Path, name: str, level: str, *more: object) -> Result:
    file = saved(folder, network(size=SIZE, seed=len(name) + len(level)), f"{name}.onnx")
    labels = folder / f"{level}.txt"
    labels.write_text("\n".join(COARSE if level == "coarse" else FINE))
    size = () if "--image-size" in more else ("--image-size", "224x224")
    words = ("--onnx", file, "--labels", labels, "--task", level, *size, *more)
    done = hddnn("zoo", "add", name, *words)
    assert done.exit_code == 0, done.stderr
    return done


def written(folder: Path, *, birds: str, gulls: str) -> Path:
    devices = [
        {"name": "camera", "tier": "end", "network": birds},
        {"name": "gateway", "tier": "edge", "network": gulls},
    ]
    file = folder / "site.yaml"
    file.write_text(Topology.from_dict({"name": "site", "devices": devices}).to_yaml())
    return file


@pytest.mark.parametrize("engine", ["dask", "sim"])
def test_a_run_brings_a_folder_s_photos_to_the_size_that_the_networks_take(
    engine: str, site: Path, photos: Path, tmp_path: Path
) -> None:
    options = ("--engine", engine, "--compute", "real" if engine == "dask" else "replay")
    out = tmp_path / "run.nc"
    words = (
        "--topology",
        site,
        "--data",
        photos,
        "--images",
        12,
        "--batch",
        4,
        "--schemes",
        "end-edge",
        *options,
    )
    done = hddnn("run", *words, "--out", out)
    assert done.exit_code == 0, done.stderr
    files = sorted(photos.rglob("*.png"))
    pixels = np.stack([images.read(file, *SIZE) for file in files])
    with xr.open_dataset(out, engine="h5netcdf") as cube:
        assert list(cube.attrs["source_shape"]) == [*SIZE, 3]
        for name, variable in (("birds", cube.coarse_label), ("gulls", cube.fine_label)):
            bundle = zoo.bundle(name)
            logits = runtimes.load(bundle.card.runtime, bundle, threads=1).run(pixels)
            answers = logits.argmax(axis=1)
            known = np.where(answers < 3, answers, -2)  # the folder has the first three classes
            assert variable.values.ravel().tolist() == known.tolist()


def test_accuracy_is_measured_on_photos_of_the_size_that_arrives(photos: Path, tmp_path: Path) -> None:
    told = added(tmp_path, "gulls", "fine", "--data", photos)
    assert f"fine accuracy {zoo.bundle('gulls').card.accuracy['fine']:.3f} on {photos}" in told.stdout
    small = added(tmp_path, "small", "fine", "--image-size", "48x64", "--data", photos)
    assert "images: 48x64, resized to 224x224" in small.stdout


def test_networks_for_different_sizes_are_one_line_wherever_they_meet(
    site: Path, photos: Path, tmp_path: Path
) -> None:
    mixed = written(tmp_path, birds="birds", gulls="resnet34")
    said = (
        "hddnn: topology site: the networks take images of different sizes (birds 224x224, resnet34 32x32); add "
        "yours anew with `hddnn zoo add --image-size` as the others have it, and they resize them themselves\n"
    )
    picture = next(photos.rglob("*.png"))
    for words in (
        ("topology", "check", mixed),
        (
            "run",
            "--topology",
            mixed,
            "--data",
            photos,
            "--images",
            4,
            "--batch",
            4,
            "--out",
            tmp_path / "a.nc",
        ),
        ("run", "--topology", mixed, "--images", 4, "--batch", 4, "--out", tmp_path / "a.nc"),
        ("profile", "--topology", mixed, "--data", photos, "--out", tmp_path / "a.yaml"),
        ("classify", "--topology", mixed, picture),
        ("up", "--topology", mixed),
    ):
        done = hddnn(*words)
        assert (done.exit_code, done.stderr) == (2, said), words
    added(tmp_path, "birds", "coarse", "--image-size", "32x32", "--replace")
    assert hddnn("topology", "check", mixed).exit_code == 0


def test_a_data_set_of_another_size_says_what_helps(site: Path, tmp_path: Path) -> None:
    done = hddnn("run", "--topology", site, "--out", tmp_path / "a.nc")
    assert (done.exit_code, done.stderr) == (
        2,
        "hddnn: data set sample and network birds do not fit: images are 32x32x3, it takes 224x224x3; take a "
        "folder of images, or add the network with --image-size 32x32\n",
    )
