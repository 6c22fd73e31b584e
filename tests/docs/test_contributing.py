"""CONTRIBUTING.md describes the house as it is: every path that it names is there, and no room is missing."""

from __future__ import annotations

import configparser
import re
from pathlib import Path

import pytest
from test_layers import LAYERS

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "CONTRIBUTING.md").read_text()
#: Paths are told from other words in code by where they begin.
TOPS = (
    "hddnn/",
    "tests/",
    "docs/",
    "scenarios/",
    "examples/",
    "workers/",
    "setup.cfg",
    "mkdocs.yml",
    "pyproject.toml",
)


def paths() -> list[str]:
    """Return the paths of the page's text, without its picture."""
    named = re.findall(r"`([^`\n]+)`", re.sub(r"```.*?```", "", PAGE, flags=re.DOTALL))
    linked = re.findall(r"\]\(((?!https?:|#)[^)#]+)", PAGE)
    return sorted({path for path in named if path.startswith(TOPS)} | set(linked))


def rooms() -> list[str]:
    """Return the packages and files of hddnn/ that the picture names, from above."""
    (picture,) = re.findall(r"```text\nhddnn/\n(.*?)^workers/", PAGE, re.DOTALL | re.MULTILINE)
    heads = [re.split(r" {2,}", line.strip())[0] for line in picture.splitlines()]
    return [word.removesuffix("/") for head in heads for word in head.split()]


def test_paths_are_found_in_the_page() -> None:
    assert len(paths()) > 50


@pytest.mark.parametrize("path", paths())
def test_a_path_that_is_named_exists(path: str) -> None:
    assert (ROOT / path).exists()


def test_every_room_is_in_the_picture() -> None:
    package = ROOT / "hddnn"
    there = {path.parent.name for path in package.glob("*/__init__.py")}
    there |= {path.name for path in package.glob("*.py") if not path.name.startswith("_")}
    assert set(rooms()) == there
    assert len(rooms()) == len(there)


def test_the_picture_is_in_the_order_that_imports_keep_to() -> None:
    layers = [row for row in LAYERS if not row.startswith("_") or row == "_util"]
    assert sorted(rooms(), key=lambda room: layers.index(room.removesuffix(".py"))) == rooms()


def test_every_top_folder_is_in_the_picture() -> None:
    for folder in ("workers", "scenarios", "tests", "examples", "docs"):
        assert re.search(rf"\b{folder}/ ", PAGE), folder


def test_the_markers_are_those_of_the_settings() -> None:
    settings = (ROOT / "pyproject.toml").read_text()
    for marker in re.findall(r'^    "(\w+): ', settings, re.MULTILINE):
        assert f"`{marker}`" in PAGE


def test_folders_of_tests_are_in_the_tables() -> None:
    told = {path.removeprefix("tests/").partition("/")[0] for path in paths() if path.startswith("tests/")}
    mirrored = {path.name for path in (ROOT / "hddnn").iterdir()}
    own = {path.name for path in (ROOT / "tests").iterdir() if path.is_dir() and any(path.glob("test_*.py"))}
    assert own - mirrored <= told


def test_entry_points_are_where_the_page_says() -> None:
    setup = configparser.ConfigParser()
    setup.read(ROOT / "setup.cfg")
    assert "console_scripts" in setup["options.entry_points"]
