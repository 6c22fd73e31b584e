"""Classes of a user's own in tests: files, installed packages, and the command line that runs them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from waiting import PATIENCE_S
from warm import ready

ROOT = Path(__file__).parents[1]
EXAMPLES = ROOT / "examples"


def hddnn(*words: str, cwd: Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run the command line; path: a folder whose modules and packages are installed."""
    return _done(ready().words("hddnn", *words), cwd, path)


def python(*words: str, cwd: Path, path: Path | None = None) -> subprocess.CompletedProcess[str]:
    """Run Python in a folder; path: as for hddnn."""
    return _done([sys.executable, *words], cwd, path)


def _done(words: list[str], cwd: Path, path: Path | None) -> subprocess.CompletedProcess[str]:
    env = os.environ | {"COLUMNS": "200"} | ({} if path is None else {"PYTHONPATH": str(path)})
    return subprocess.run(words, capture_output=True, text=True, cwd=cwd, env=env, timeout=PATIENCE_S)


def installed(folder: Path, code: str, group: str, **named: str) -> Path:
    """Put a package into a folder, as pip does: a module my_site with some code, and entry points in a group."""
    (folder / "my_site.py").write_text(code)
    about = folder / "my_site-0.1.dist-info"
    about.mkdir()
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: my-site\nVersion: 0.1\n")
    points = "".join(f"{name} = {place}\n" for name, place in named.items())
    (about / "entry_points.txt").write_text(f"[{group}]\n{points}")
    return folder


def refused(done: subprocess.CompletedProcess[str], says: str) -> None:
    """Check that a command was refused in one line that says so, and made nothing."""
    assert done.returncode == 2, done.stderr
    assert says in done.stderr
    assert done.stderr.startswith("hddnn: ")
    assert done.stderr.count("\n") == 1, done.stderr
    assert not done.stdout
