"""An install that follows the clone finds the package wherever Python is started."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest
from waiting import PATIENCE_S

pytest.importorskip("setuptools", "77")
ROOT = Path(__file__).parents[1]


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """Return a folder named hddnn with what the build needs of this clone, and one module of the package."""
    clone = tmp_path / "hddnn"
    (clone / "hddnn").mkdir(parents=True)
    for name in ("setup.cfg", "pyproject.toml", "README.md", "LICENSE", "hddnn/_version.py"):
        shutil.copy(ROOT / name, clone / name)
    (clone / "hddnn" / "__init__.py").write_text("Job = 'found'\n")
    return clone


def test_the_folder_that_holds_the_clone_does_not_hide_the_package(clone: Path, tmp_path: Path) -> None:
    site = tmp_path / "site"
    build = "import sys, setuptools.build_meta as b; b.build_editable(sys.argv[1])"
    subprocess.run(
        [sys.executable, "-c", build, str(tmp_path)],
        cwd=clone,
        check=True,
        capture_output=True,
        timeout=PATIENCE_S,
    )
    with zipfile.ZipFile(next(tmp_path.glob("*.whl"))) as wheel:
        wheel.extractall(site)
    # -S, without this environment's own: the folder that Python is started in stands before what is installed.
    code = f"import site, sys; site.addsitedir({str(site)!r}); from hddnn import Job; print(Job)"
    bare = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    for folder in (clone.parent, clone, site):
        done = subprocess.run(
            [sys.executable, "-S", "-c", code],
            cwd=folder,
            env=bare,
            capture_output=True,
            text=True,
            timeout=PATIENCE_S,
        )
        assert (done.stdout, done.stderr) == ("found\n", "")
