"""The README's examples are right: its scenario file, its Python, its commands, its table of networks."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from hddnn import zoo
from hddnn.cli import main
from hddnn.topology import Topology

README = (Path(__file__).parent.parent / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_scenario_file_is_right(tmp_path: Path) -> None:
    (text,) = blocks("yaml")
    (tmp_path / "shop.yaml").write_text(text)
    topology = Topology.load(tmp_path / "shop.yaml", networks=zoo.names())
    assert [device.name for device in topology.tier("end")] == [f"camera-{n}" for n in range(1, 5)]


def test_the_python_example_runs(capsys: pytest.CaptureFixture[str]) -> None:
    (code,) = blocks("python")
    exec(compile(code, "README.md", "exec"), {"__name__": "readme"})
    assert "end_device" in capsys.readouterr().out


def test_the_commands_have_options_that_exist() -> None:
    text = CliRunner().invoke(main, ["run", "--help"]).output
    used = set(
        re.findall(r"(?<=\s)--[a-z-]+", "\n".join(re.findall(r"^    hddnn run.*$", README, re.MULTILINE)))
    )
    assert used
    assert {option for option in used if option not in text} == set()


@pytest.mark.parametrize("name", zoo.names())
def test_the_table_of_networks_is_that_of_the_cards(name: str) -> None:
    card = zoo.bundle(name).card
    (row,) = [line for line in README.splitlines() if line.startswith(f"| `{name}`")]
    assert f"{card.parameters:,}" in row
    assert f"{len(card.labels)} {card.task}" in row
    for level, accuracy in card.accuracy.items():
        assert f"{level} {accuracy:.3f}" in row


def test_every_measured_block_is_filled_and_can_be_measured_again() -> None:
    blocks = dict(re.findall(r"<!-- begin (\w+) -->\n(.*?)<!-- end \1 -->", README, re.DOTALL))
    assert all(text.strip() for text in blocks.values())
    tool = (Path(__file__).parent.parent / "scenarios" / "readme.py").read_text()
    scenarios = re.search(r"^SCENARIOS = \((.*?)\)$", tool, re.MULTILINE)
    assert scenarios is not None
    assert set(blocks) == {"run", "machine", *re.findall(r'"(\w+)"', scenarios[1])}
