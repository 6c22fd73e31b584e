"""The gallery shows every scenario that makes a figure, with the figure."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "gallery.md").read_text()
SCENARIOS = {path.stem: path.read_text() for path in (ROOT / "scenarios").glob("*.py")}
#: Scripts that hand a figure to Settings.write.
DRAWING = sorted(name for name, text in SCENARIOS.items() if re.search(r"settings\.write\(cube, ", text))


def pictures() -> list[str]:
    return re.findall(r"!\[[^\]]+\]\(([^)]+)\)", PAGE)


def test_scenarios_that_draw_are_found() -> None:
    assert set(DRAWING) >= {"codec", "fault_tolerance", "privacy", "scaling"}
    assert "soak" not in DRAWING


@pytest.mark.parametrize("name", DRAWING)
def test_a_scenario_that_draws_is_shown_with_its_figure_and_command(name: str) -> None:
    assert f"images/{name}.png" in pictures()
    assert re.search(rf"^python scenarios/{name}\.py", PAGE, re.MULTILINE)


def test_pictures_are_there_are_pictures_and_load_at_once() -> None:
    for picture in pictures():
        data = (ROOT / "docs" / picture).read_bytes()
        assert data.startswith(b"\x89PNG"), picture
        assert len(data) < 300_000, picture
