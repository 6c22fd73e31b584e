"""The package's shape: who may import whom, what a bare import costs, and how long a file may be."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from waiting import PATIENCE_S

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "hddnn"

#: From the ground up: a package, or a file that lies beside them, imports only from rows above its own.
LAYERS = (
    "_version", "errors", "_util", "data", "tasks", "system", "zoo", "runtimes", "privacy", "planning", "schemes",
    "results", "policies", "importing", "bench", "audit", "training", "report", "engines", "serving", "dashboard",
    "preflight", "api", "testing", "__init__", "profiling", "cli", "experiments", "__main__",
)  # fmt: skip
#: The rooms of the Dask engine, which import one way; client and cluster know nothing of the device's own.
ROOMS = {
    "wire": (),
    "device": ("wire",),
    "cluster": ("wire", "device"),
    "client": ("wire", "cluster", "device"),
}
HEAVY = ("torch", "torchvision", "bokeh", "distributed", "openvino", "onnx", "matplotlib")
MOST_LINES = 500

FILES = sorted(PACKAGE.rglob("*.py"))


def row(parts: tuple[str, ...]) -> str:
    """Return the row of a module below hddnn, given its path's parts: ("schemes", "mapping") is in schemes."""
    return parts[0] if parts else "__init__"


def imported_rows(path: Path) -> Iterator[tuple[str, int]]:
    """Yield the row of each import from hddnn in a file, at any level of it, and its line."""
    package = ("hddnn", *path.relative_to(PACKAGE).parent.parts)
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            targets = [tuple(alias.name.split(".")) for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else ()
            module = base + tuple(node.module.split(".") if node.module else ())
            # "from hddnn import plan" names a module; "from hddnn import run" a name in __init__.
            targets = [
                (*module, alias.name) if module == ("hddnn",) and alias.name in LAYERS else module
                for alias in node.names
            ]
        else:
            continue
        for target in targets:
            if target[0] == "hddnn":
                yield row(target[1:]), node.lineno


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_only_from_above(path: Path) -> None:
    own = row(path.relative_to(PACKAGE).with_suffix("").parts)
    assert own in LAYERS, f"{path.name} has no place among the layers: give it a row in {Path(__file__).name}"
    for other, line in imported_rows(path):
        assert other in LAYERS, f"{path}:{line}: imports hddnn.{other}, which has no row"
        assert other == own or LAYERS.index(other) < LAYERS.index(own), (
            f"{path}:{line}: {own} imports {other}, which lies above it"
        )


def test_the_check_sees_each_kind_of_import(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    (tmp_path / "zoo").mkdir()
    path = tmp_path / "zoo" / "some.py"
    path.write_text(
        "import hddnn.planning.plan\n"
        "from hddnn import engines, run\n"
        "from hddnn.data.datasets import Job\n"
        "def f():\n"
        "    from ..cli import main\n"
        "    from .card import Card\n"
        "    import hddnn\n"
        "    import numpy\n"
    )
    found = [other for other, _ in imported_rows(path)]
    assert sorted(found) == ["__init__", "__init__", "cli", "data", "engines", "planning", "zoo"]


@pytest.mark.parametrize("folder", sorted({path.parent for path in FILES}), ids=lambda path: path.name)
def test_every_folder_of_code_is_a_package_that_says_what_it_is(folder: Path) -> None:
    assert (ast.get_docstring(ast.parse((folder / "__init__.py").read_text(encoding="utf-8"))) or "").strip()


@pytest.mark.parametrize("room", ROOMS)
def test_the_rooms_of_the_dask_engine_import_one_way(room: str) -> None:
    engine = PACKAGE / "engines" / "dask"
    for path in (engine / room).rglob("*.py"):
        for found in re.findall(r"hddnn\.engines\.dask\.(\w+)", path.read_text(encoding="utf-8")):
            assert found in (room, *ROOMS[room], "preload"), f"{path}: {room} imports {found}"


def fresh_process(code: str) -> str:
    """Run code in a new Python in the project's root; return its output."""
    words = [sys.executable, "-c", code]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True, timeout=PATIENCE_S)
    return done.stdout


def test_bare_import_is_light() -> None:
    loaded = fresh_process("import hddnn, sys; print(*sorted(sys.modules))")
    assert set(HEAVY).isdisjoint(loaded.split())


def test_the_command_line_is_light() -> None:
    loaded = fresh_process("import hddnn.cli.main, sys; print(*sorted(sys.modules))")
    assert {*HEAVY, "numpy", "pydantic", "xarray"}.isdisjoint(loaded.split())


def test_bare_import_is_quick() -> None:
    # Of the processor, which other work on the machine does not add to; a benchmark measures the figure itself.
    code = "from time import process_time as now; begun_s = now(); import hddnn; print(now() - begun_s)"
    assert min(float(fresh_process(code)) for _ in range(3)) < 0.5


@pytest.mark.parametrize("folder", ["hddnn", "workers", "scenarios"])
def test_files_stay_short(folder: str) -> None:
    lines = {path: path.read_text(encoding="utf-8").count("\n") for path in (ROOT / folder).rglob("*.py")}
    assert {str(path): n for path, n in lines.items() if n > MOST_LINES} == {}
