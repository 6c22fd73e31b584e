"""A scheme of one's own: run, served and swept, by path and by entry point; what is wrong is told in one line."""

from __future__ import annotations

import io
import os
import re
import shutil
import signal
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import xarray as xr
from extending import EXAMPLES, ROOT, hddnn, installed, python, refused
from PIL import Image
from systems import packaged_system
from waiting import PATIENCE_S

from hddnn import load_dataset

EXAMPLE = EXAMPLES / "own_scheme.py"
PAGE = ROOT / "docs" / "how-to" / "scheme.md"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a package that has the example as its scheme `late`, and one that does not load."""
    folder = tmp_path_factory.mktemp("site")
    return installed(
        folder, EXAMPLE.read_text(), "hddnn.schemes", late="my_site:NightShift", broken="my_site:Nobody"
    )


def cloud_batches(folder: Path) -> dict[str, int]:
    with xr.open_dataset(folder / "cube.nc") as cube:
        return {str(s): int((cube.upper_device.sel(scheme=s) == "cloud").sum()) for s in cube.scheme.values}


def test_by_path_with_options_beside_hddnns_own(tmp_path: Path) -> None:
    shutil.copy(EXAMPLE, tmp_path / "own.py")
    done = hddnn(
        "run", "--engine", "closed", "--images", "1000", "--schemes", "end-edge", "--scheme",
        "own.py:NightShift:cloud_every=2", "--scheme", "own.py", "--out", "cube.nc", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert cloud_batches(tmp_path) == {"end-edge": 0, "night-shift:cloud_every=2": 10, "night-shift": 5}
    assert "night-shift:cloud_every=2" in done.stdout


def test_by_the_entry_point_of_an_installed_package(tmp_path: Path, site: Path) -> None:
    words = (
        "run",
        "--engine",
        "sim",
        "--images",
        "1000",
        "--scheme",
        "late:cloud_every=5",
        "--out",
        "cube.nc",
    )
    done = hddnn(*words, cwd=tmp_path, path=site)
    assert done.returncode == 0, done.stderr
    assert cloud_batches(tmp_path) == {"night-shift:cloud_every=5": 4}


def test_on_real_devices_with_a_journal(tmp_path: Path) -> None:
    words = (
        "run", "--topology", "laptop", "--images", "200", "--compute", "replay", "--journal", "log", "--scheme",
        f"{EXAMPLE}:NightShift:cloud_every=2", "--out", "cube.nc",
    )  # fmt: skip
    done = hddnn(*words, cwd=tmp_path)
    assert done.returncode == 0, done.stderr
    again = hddnn(*words, cwd=tmp_path)  # all is in the journal: no device is started
    assert again.returncode == 0, again.stderr
    assert "ready" not in again.stderr
    with xr.open_dataset(tmp_path / "cube.nc") as cube:
        assert cube.attrs["resumed_batches"] == cube.sizes["batch"]


@pytest.mark.parametrize("by", ["path", "entry point"])
def test_served(by: str, tmp_path: Path, site: Path) -> None:
    system = tmp_path / "small.yaml"
    system.write_text(packaged_system(1, 1, 1).to_yaml())
    scheme = f"{EXAMPLE}:NightShift" if by == "path" else "late"
    words = ("serve", "--topology", str(system), "--port", "0", "--scheme", scheme)
    env = os.environ | {"PYTHONPATH": str(site)}
    command = [sys.executable, "-m", "hddnn", *words]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=tmp_path, env=env) as serving:
        assert serving.stdout is not None
        try:
            said = serving.stdout.readline()
            found = re.search(r"http://\S+?(?=;)", said)
            assert found is not None, said
            request = urllib.request.Request(
                f"{found[0]}/classify", data=picture(), headers={"Content-Type": "image/png"}
            )
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
                answered = response.read().decode()
            assert '"coarse"' in answered
            assert '"fine"' in answered
        finally:
            serving.send_signal(signal.SIGINT)
            serving.wait(PATIENCE_S)


def picture() -> bytes:
    """Return a PNG."""
    made = io.BytesIO()
    Image.fromarray(load_dataset().images[0]).save(made, "PNG")
    return made.getvalue()


@pytest.mark.parametrize("by", ["path", "entry point"])
def test_swept(by: str, tmp_path: Path, site: Path) -> None:
    scheme = f"{EXAMPLE}:NightShift:cloud_every=2" if by == "path" else "late:cloud_every=2"
    script = str(ROOT / "scenarios" / "pipelining.py")
    done = python(
        script, "--engine", "closed", "--images", "400", "--scheme", "end-edge", "--scheme", scheme,
        "--out", "cube.nc", cwd=tmp_path, path=site,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    with xr.open_dataset(tmp_path / "cube.nc") as cube:
        assert cube.scheme.values.tolist() == ["end-edge", "night-shift:cloud_every=2"]
        assert (cube.makespan_s > 0).all()


LACKING = """
from dataclasses import dataclass
from hddnn.schemes import Scheme
from hddnn.schemes.fixed import EndEdge

class Half(Scheme):
    caption = "no plan"

@dataclass(frozen=True)
class Needy(EndEdge):
    site: str

@dataclass(frozen=True)
class Fine(EndEdge):
    share: float = 0.5

class Other:
    pass
"""


@pytest.mark.parametrize(
    ("scheme", "says"),
    [
        (
            "lat",
            "unknown scheme 'lat', did you mean 'late'? known: end, end-cloud, end-edge, mapping, broken, late, "
            "or a class of your own as FILE.py:MyScheme",
        ),
        ("broken", "scheme broken (my_site:Nobody) cannot be loaded: AttributeError: module"),
        ("gone.py:A", "gone.py: there is no such file"),
        ("wrong.py:A", "wrong.py cannot be loaded: SyntaxError: "),
        ("lacking.py", "lacking.py: say which scheme, as lacking.py:NAME; there are Needy, Fine"),
        ("lacking.py:Half", "scheme lacking.py:Half lacks plan; see hddnn.schemes.base.Scheme"),
        (
            "lacking.py:Other",
            "lacking.py:Other is no scheme: it does not derive from hddnn.schemes.base.Scheme",
        ),
        ("lacking.py:Needy", "'site'"),
        (
            "lacking.py:Fine:share=much",
            "scheme lacking.py:Fine: share is 'much': input should be a valid number",
        ),
        ("lacking.py:Fine:part=1", "scheme lacking.py:Fine has no option part; it has share"),
        ("nowhere.schemes:A", "nowhere.schemes cannot be imported: ModuleNotFoundError"),
        ("end:loud=yes", "scheme end has no option loud; it has none"),
        ("late:cloud_every=0", "cloud_every is 0; it must be at least 1"),
        ("late:cloud_every=1:cloud_every=2", "cloud_every is given twice"),
    ],
)
def test_what_is_wrong_is_told_in_one_line(scheme: str, says: str, tmp_path: Path, site: Path) -> None:
    (tmp_path / "wrong.py").write_text("class A(:\n")
    (tmp_path / "lacking.py").write_text(LACKING)
    done = hddnn("run", "--engine", "closed", "--scheme", scheme, cwd=tmp_path, path=site)
    refused(done, says)
    assert not (tmp_path / "results").exists()


def test_help_names_each_with_what_it_does(tmp_path: Path) -> None:
    for command in ("run", "serve", "classify", "profile"):
        told = " ".join(hddnn(command, "--help", cwd=tmp_path).stdout.split())
        assert "end-edge: end devices, then edge devices: fine answers soon, less accurate" in told, command
        assert "or FILE.py:CLASS" in told


def test_the_page_shows_the_example() -> None:
    shown = re.search(r'```python title="my_site.py"\n(.*?)```', PAGE.read_text(), re.DOTALL)
    assert shown is not None
    code = EXAMPLE.read_text()
    assert shown[1].endswith(code[code.index("@dataclass") : code.index("\n\n\ndef main")] + "\n")
