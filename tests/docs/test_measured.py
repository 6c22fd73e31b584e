"""Measured blocks: each is filled, says when, with what version and where, and can be measured again."""

from __future__ import annotations

import datetime
import importlib.util
import re
from pathlib import Path
from types import ModuleType

import pytest
from click.testing import CliRunner

ROOT = Path(__file__).parents[2]


def load_script() -> ModuleType:
    spec = importlib.util.spec_from_file_location("readme", ROOT / "scenarios" / "readme.py")
    assert spec is not None
    assert spec.loader is not None
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    return script


SCRIPT = load_script()


def blocks(page: Path) -> dict[str, str]:
    return dict(re.findall(r"<!-- begin (\w+) -->\n(.*?)<!-- end \1 -->", page.read_text(), re.DOTALL))


def test_the_benchmarks_page_holds_every_block() -> None:
    assert set(blocks(ROOT / "docs" / "benchmarks.md")) == set(SCRIPT.NAMES)
    assert all((ROOT / "docs" / "images" / f"{name}.png").is_file() for name in SCRIPT.COMMANDS)


@pytest.mark.parametrize("page", SCRIPT.pages(ROOT), ids=lambda page: str(page.relative_to(ROOT)))
def test_a_block_is_filled_and_is_the_same_wherever_it_stands(page: Path) -> None:
    measured = blocks(ROOT / "docs" / "benchmarks.md")
    text = page.read_text()
    assert text.count("<!-- begin ") == text.count("<!-- end ") == len(blocks(page))
    for name, block in blocks(page).items():
        assert block == measured[name], f"{name}: python scenarios/readme.py {name}"
        *table, origin = block.split("\n\n*")
        assert table[0].strip()
        assert "to be measured" not in block
        found = re.fullmatch(
            r"Measured on (\d{4}-\d\d-\d\d) with .*hddnn \d+\.\d+\.\d+.* on .*\d cores.*\.\*\n\n", origin
        )
        assert found, name
        datetime.date.fromisoformat(found[1])


def test_a_block_is_written_wherever_it_stands_and_nowhere_else(tmp_path: Path) -> None:
    begin, end = "<!-- begin run -->\n", "<!-- end run -->"
    (tmp_path / "docs" / "deep").mkdir(parents=True)
    (tmp_path / "README.md").write_text(f"one\n\n{begin}\nold\n\n{end}\n")
    (tmp_path / "docs" / "deep" / "page.md").write_text(
        f"two\n\n{begin}{end}\n\n<!-- begin soak --><!-- end soak -->"
    )
    (tmp_path / "docs" / "other.md").write_text("nothing measured\n")
    origin = SCRIPT.origin(datetime.date(2026, 11, 29))
    assert SCRIPT.fill(tmp_path, "run", "a  \\1\n\n  b\n", origin) == 2
    filled = f"{begin}\n    a  \\1\n\n      b\n\n*{origin}*\n\n{end}"
    assert (tmp_path / "README.md").read_text() == f"one\n\n{filled}\n"
    page = (tmp_path / "docs" / "deep" / "page.md").read_text()
    assert page == f"two\n\n{filled}\n\n<!-- begin soak --><!-- end soak -->"
    assert (tmp_path / "docs" / "other.md").read_text() == "nothing measured\n"


def test_a_block_without_a_page_is_told_before_anything_is_measured(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "README.md").write_text("no block here\n")
    monkeypatch.setattr(SCRIPT, "ROOT", tmp_path)
    monkeypatch.setattr(SCRIPT, "measured", lambda *given: pytest.fail("measured all the same"))
    done = CliRunner().invoke(SCRIPT.main, ["run"])
    assert done.exit_code == 1
    assert "no page holds run: write <!-- begin run --> and its end in one" in done.output
