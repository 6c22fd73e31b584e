"""A policy of one's own on the command line: by path and by entry point, and told in one line when it is wrong."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import xarray as xr
from waiting import PATIENCE_S

ROOT = Path(__file__).parents[2]
EXAMPLE = ROOT / "examples" / "own_policy.py"
PAGE = ROOT / "docs" / "how-to" / "policy.md"
FAULTS = ("--faults", ",".join(f"crash:end-1@{at_s}s+2s" for at_s in range(2, 20, 4)))


def hddnn(*words: str, cwd: Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line; path: a folder whose modules and packages are installed."""
    env = os.environ | {"COLUMNS": "200"} | ({} if path is None else {"PYTHONPATH": str(path)})
    command = [sys.executable, "-m", "hddnn", *words]
    return subprocess.run(command, capture_output=True, text=True, cwd=cwd, env=env, timeout=PATIENCE_S)


def simulated(*words: str, cwd: Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    return hddnn(
        "run", "--engine", "sim", "--schemes", "end-edge", "--images", "5000", "--out", "cube.nc", *words,
        cwd=cwd, path=path,
    )  # fmt: skip


def sent_again(folder: Path) -> int:
    with xr.open_dataset(folder / "cube.nc") as cube:
        return int((cube.attempts - 1).sum())


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a package that has the example as its policy `wary`, and one that does not load."""
    folder = tmp_path_factory.mktemp("site")
    shutil.copy(EXAMPLE, folder / "my_site.py")
    about = folder / "my_site-0.1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my-site\nVersion: 0.1\n")
    (about / "entry_points.txt").write_text(
        "[hddnn.policies]\nwary = my_site:Wary\nbroken = my_site:Nobody\n"
    )
    return folder


def test_by_path_with_options(tmp_path: Path) -> None:
    shutil.copy(EXAMPLE, tmp_path / "own_policy.py")
    again = {}
    for text in ("monitor", "own_policy.py:Wary:probation_s=10", "own_policy.py:Wary:probation_s=0"):
        done = simulated("--policy", text, *FAULTS, cwd=tmp_path)
        assert done.returncode == 0, done.stderr
        again[text] = sent_again(tmp_path)
        if "=10" in text:
            assert "policy wary:probation_s=10.0." in done.stdout
            with xr.open_dataset(tmp_path / "cube.nc") as cube:
                assert (cube.attrs["policy"], cube.attrs["timeout_s"]) == ("wary:probation_s=10.0", 0.5)
    assert again["own_policy.py:Wary:probation_s=10"] < again["monitor"]
    assert again["own_policy.py:Wary:probation_s=0"] == again["monitor"]


def test_by_the_entry_point_of_an_installed_package(tmp_path: Path, installed: Path) -> None:
    words = ("--policy", "wary:probation_s=10", "--timeout", "2", *FAULTS)
    done = simulated(*words, cwd=tmp_path, path=installed)
    assert done.returncode == 0, done.stderr
    with xr.open_dataset(tmp_path / "cube.nc") as cube:
        assert (cube.attrs["policy"], cube.attrs["timeout_s"]) == ("wary:timeout_s=2.0:probation_s=10.0", 2.0)


def test_on_real_devices(tmp_path: Path) -> None:
    done = hddnn(
        "run", "--topology", "laptop", "--schemes", "end", "--images", "200", "--compute", "replay",
        "--policy", f"{EXAMPLE}:Wary", "--faults", "crash:camera-2@1+1s", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "policy wary." in done.stdout


LACKING = """
from dataclasses import dataclass, field
from hddnn.policies import Policy

@dataclass(eq=False, kw_only=True)
class Curt(Policy):
    patience_s: float = field(default=0.0, init=False)

@dataclass(eq=False, kw_only=True)
class Needy(Policy):
    site: str

class Other:
    pass
"""


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (
            ("--policy", "warry"),
            "unknown policy 'warry', did you mean 'wary'? known: none, reassign, monitor, hedge, broken, wary, or "
            "a class of your own as FILE.py:MyPolicy",
        ),
        (
            ("--policy", "broken"),
            "policy broken (my_site:Nobody) cannot be loaded: AttributeError: module",
        ),
        (("--policy", "gone.py:Wary"), "gone.py: there is no such file"),
        (("--policy", "wrong.py:A"), "wrong.py cannot be loaded: SyntaxError: "),
        (
            ("--policy", "lacking.py"),
            "lacking.py: say which policy, as lacking.py:NAME; there are Curt, Needy",
        ),
        (("--policy", "lacking.py:Nobody"), "lacking.py has no policy Nobody; there are Curt, Needy"),
        (
            ("--policy", "lacking.py:Other"),
            "lacking.py:Other is no policy: it does not derive from hddnn.policies.base.Policy",
        ),
        (
            ("--policy", "monitor:pause_s=1"),
            "policy monitor has no option pause_s; it has fallback, timeout_s, deadline_s, attempts, patience_s",
        ),
        (
            ("--policy", "lacking.py:Curt", "--patience", "3"),
            "policy lacking.py:Curt has no option patience_s; it has fallback, timeout_s, deadline_s, attempts",
        ),
        (("--policy", "lacking.py:Needy"), "'site'"),
        (("--policy", "wary:probation_s=long"), "policy wary: probation_s is 'long': "),
        (("--policy", "wary:probation_s=-1"), "probation_s is -1.0; it must be at least 0"),
        (("--policy", "monitor", "--timeout", "-1"), "timeout_s is -1.0; it must be at least 0, and finite"),
        (("--policy", "wary:timeout_s=1:timeout_s=2"), "timeout_s is given twice"),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, tuple) else "",
)
def test_what_is_wrong_is_told_in_one_line(
    words: tuple[str, ...], says: str, tmp_path: Path, installed: Path
) -> None:
    (tmp_path / "wrong.py").write_text("class A(:\n")
    (tmp_path / "lacking.py").write_text(LACKING)
    done = simulated(*words, cwd=tmp_path, path=installed)
    assert done.returncode == 2
    assert says in done.stderr
    assert done.stderr.startswith("hddnn: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert not done.stdout
    assert not (tmp_path / "cube.nc").exists()


def test_help_names_each_with_what_it_does(tmp_path: Path) -> None:
    told = " ".join(hddnn("run", "--help", cwd=tmp_path).stdout.split())
    for text in (
        "none: nothing;",
        "monitor: what a device had that left,",
        "hedge: monitor, and a second copy",
    ):
        assert text in told


def test_the_page_shows_the_example() -> None:
    shown = re.search(r'```python title="my_site.py"\n(.*?)```', PAGE.read_text(), re.DOTALL)
    assert shown is not None
    code = EXAMPLE.read_text()
    wary = code[code.index("@dataclass") : code.index("\n\n\ndef main")]
    assert shown[1].endswith(wary + "\n")
