"""The examples print what they printed when they were written, and the stored notebook is what it gives today."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from waiting import PATIENCE_S
from warm import ready

FOLDER = Path(__file__).parents[2] / "examples"
SCRIPTS = sorted(path.stem for path in FOLDER.glob("*.py"))
NOTEBOOKS = sorted(path.stem for path in FOLDER.glob("*.ipynb"))


def golden(name: str) -> str:
    return (FOLDER / "golden" / f"{name}.txt").read_text()


def test_each_example_has_its_output_stored() -> None:
    assert {"first_run", "privacy", "sweep"} <= set(SCRIPTS)
    assert {path.stem for path in (FOLDER / "golden").iterdir()} == set(SCRIPTS)


@pytest.mark.parametrize("name", SCRIPTS)
def test_an_example_prints_what_is_stored(name: str, tmp_path: Path) -> None:
    command = ready().words(str(FOLDER / f"{name}.py"))
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    assert done.stdout == golden(name)


def test_the_sweep_leaves_a_cube_and_a_figure(tmp_path: Path) -> None:
    command = ready().words(str(FOLDER / "sweep.py"), "cameras.nc")
    subprocess.run(command, check=True, capture_output=True, cwd=tmp_path, timeout=PATIENCE_S)
    assert (tmp_path / "cameras.png").stat().st_size > 10_000
    assert (tmp_path / "cameras.nc").is_file()


def printed(notebook: dict[str, Any]) -> list[tuple[str, list[str]]]:
    """Return each code cell with what it printed or returned; not what it drew, and not objects' addresses."""
    cells = []
    for cell in notebook["cells"]:
        if cell["cell_type"] != "code":
            continue
        texts = []
        for output in cell["outputs"]:
            text = output.get("text") or output.get("data", {}).get("text/plain", "")
            texts.append(re.sub(r"0x[0-9a-f]+", "0x", "".join(text)))
        cells.append(("".join(cell["source"]), texts))
    return cells


def drawn(notebook: dict[str, Any]) -> int:
    """Return how many pictures a notebook holds."""
    outputs = [output for cell in notebook["cells"] for output in cell.get("outputs", [])]
    return sum("image/png" in output.get("data", {}) for output in outputs)


@pytest.mark.timeout(2 * PATIENCE_S)
@pytest.mark.parametrize("name", NOTEBOOKS)
def test_a_notebook_gives_again_what_it_holds(name: str, tmp_path: Path) -> None:
    stored = json.loads((FOLDER / f"{name}.ipynb").read_text())
    code = [cell for cell in stored["cells"] if cell["cell_type"] == "code"]
    assert all(cell["execution_count"] for cell in code), "it is stored as executed"
    # Jupyter keeps what it writes about itself in the user's home, unless told otherwise.
    kept = {f"JUPYTER_{what}_DIR": str(tmp_path / what) for what in ("DATA", "CONFIG", "RUNTIME")}
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    env = {**os.environ, **kept, "IPYTHONDIR": str(tmp_path / "ipython"), "PATH": path}
    (tmp_path / f"{name}.ipynb").write_text((FOLDER / f"{name}.ipynb").read_text())
    command = [
        sys.executable,
        "-m",
        "jupyter",
        "execute",
        "--inplace",
        f"--timeout={PATIENCE_S:.0f}",
        f"{name}.ipynb",
    ]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=env, timeout=PATIENCE_S)
    assert done.returncode == 0, done.stderr
    again = json.loads((tmp_path / f"{name}.ipynb").read_text())
    assert printed(again) == printed(stored)
    assert drawn(again) == drawn(stored) > 0
