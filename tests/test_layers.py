"""The package's shape: who may import whom, what a bare import costs, and how long a file may be."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from time import perf_counter

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "hddnn"

#: From the ground up: a file imports only from rows above its own. A package is one row, free inside.
LAYERS = (
    "_version", "errors", "interrupts", "given", "yaml12", "checks", "children", "dask_config", "terminal",
    "machine", "places", "bars", "devices", "topology", "faults", "labels",
    "calibration", "cifar100", "images", "folders", "data", "sample_tool", "zoo", "noise", "runtimes", "privacy",
    "training", "equations", "paper", "timing", "plan", "bounds", "schemes", "clocks", "ledger", "records",
    "journal", "policies", "own", "cubes", "sweep", "tables", "plots", "bench", "audit", "report",
    "certificates", "engines", "serving", "service", "dashboard", "preflight", "api", "__init__", "progress",
    "profiling", "console", "ending", "options", "scenario", "own_cli", "bench_cli", "report_cli", "zoo_cli",
    "train_cli", "audit_cli", "certs_cli", "profile_cli", "worker_cli", "status_cli", "up_cli", "run_cli",
    "classify_cli", "serve_cli", "cli", "__main__",
)  # fmt: skip
HEAVY = ("torch", "torchvision", "bokeh", "distributed", "openvino", "onnx", "matplotlib")
MOST_LINES = 350

FILES = sorted(PACKAGE.rglob("*.py"))


def row(parts: tuple[str, ...]) -> str:
    """Return the row of a module below hddnn, given its path's parts: ("schemes", "end") is in schemes."""
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
        "import hddnn.plan\n"
        "from hddnn import engines, run\n"
        "from hddnn.data import Job\n"
        "def f():\n"
        "    from ..cli import main\n"
        "    from .card import Card\n"
        "    import hddnn\n"
        "    import numpy\n"
    )
    found = [other for other, _ in imported_rows(path)]
    assert sorted(found) == ["__init__", "__init__", "cli", "data", "engines", "plan", "zoo"]


def fresh_process(code: str) -> tuple[str, float]:
    """Run code in a new Python in the project's root; return its output and the wall seconds."""
    start = perf_counter()
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout, perf_counter() - start


def test_bare_import_is_light() -> None:
    loaded, _ = fresh_process("import hddnn, sys; print(*sorted(sys.modules))")
    assert set(HEAVY).isdisjoint(loaded.split())


def test_the_command_line_is_light() -> None:
    loaded, _ = fresh_process("import hddnn.cli, sys; print(*sorted(sys.modules))")
    assert {*HEAVY, "numpy", "pydantic", "xarray"}.isdisjoint(loaded.split())


def test_bare_import_is_quick() -> None:
    # Wide, for a busy machine; a benchmark measures the figure itself.
    bare, with_hddnn = (median(fresh_process(code)[1] for _ in range(5)) for code in ("", "import hddnn"))
    assert with_hddnn - bare < 1.0


@pytest.mark.parametrize("folder", ["hddnn", "workers", "scenarios"])
def test_files_stay_short(folder: str) -> None:
    lines = {path: path.read_text(encoding="utf-8").count("\n") for path in (ROOT / folder).rglob("*.py")}
    assert {str(path): n for path, n in lines.items() if n > MOST_LINES} == {}
