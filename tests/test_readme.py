"""The README's examples are right: its scenario file, its Python, its commands, its table of networks."""

from __future__ import annotations

import importlib.util
import re
import shlex
from pathlib import Path

import click
import pytest

from hddnn import zoo
from hddnn.cli.main import main
from hddnn.system.topology import Topology

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL)


def test_the_scenario_file_is_right(tmp_path: Path) -> None:
    (text,) = blocks("yaml")
    (tmp_path / "shop.yaml").write_text(text)
    topology = Topology.load(tmp_path / "shop.yaml", networks=zoo.names())
    assert [device.name for device in topology.tier("end")] == [f"camera-{n}" for n in range(1, 5)]


def test_the_python_examples_run_one_after_another(capsys: pytest.CaptureFixture[str]) -> None:
    names: dict[str, object] = {"__name__": "readme"}
    for code in blocks("python"):
        exec(compile(code, "README.md", "exec"), names)
    told = capsys.readouterr().out
    assert "end_device" in told
    assert "transfer_target" in told


def test_the_commands_have_options_that_exist() -> None:
    typed = re.sub(r"<!-- begin (\w+) -->.*?<!-- end \1 -->", "", README, flags=re.DOTALL)
    lines = re.findall(r"^    hddnn (.*?)(?:  +#.*)?$", typed, re.MULTILINE)
    assert {line.split()[0] for line in lines} >= {
        "run",
        "zoo",
        "audit",
        "certs",
        "worker",
        "serve",
        "classify",
    }
    for line in lines:
        words = shlex.split(line)
        command: click.Command = main
        while isinstance(command, click.Group):
            assert words[0] in command.commands, line
            command = command.commands[words.pop(0)]
        known = {option for param in command.params for option in (*param.opts, *param.secondary_opts)}
        assert {word for word in words if word.startswith("--")} <= known, line


@pytest.mark.parametrize("name", zoo.names())
def test_the_table_of_networks_is_that_of_the_cards(name: str) -> None:
    card = zoo.bundle(name).card
    (row,) = [line for line in README.splitlines() if line.startswith(f"| `{name}`")]
    assert f"{card.parameters:,}" in row
    assert f"{len(card.labels)} {card.task}" in row
    for level, accuracy in card.accuracy.items():
        assert f"{level} {accuracy:.3f}" in row


def test_links_lead_to_files() -> None:
    targets = re.findall(r"\]\(((?!#|https?:)[^)]+)\)", README)
    assert len(targets) > 5
    assert [target for target in targets if not (ROOT / target).is_file()] == []


def test_the_report_is_of_the_whole_test_set_and_not_too_large() -> None:
    page = (ROOT / "docs" / "report.html").read_text()
    assert len(page.encode()) < 3_000_000
    for text in ("10,000", "cifar100", "Table 1", "Table 6", "Figure 4"):
        assert text in page
    assert "numbers mean nothing" not in page


def test_every_measured_block_is_filled_and_can_be_measured_again() -> None:
    blocks = dict(re.findall(r"<!-- begin (\w+) -->\n(.*?)<!-- end \1 -->", README, re.DOTALL))
    assert all(text.strip() for text in blocks.values())
    assert not [name for name, text in blocks.items() if "to be measured" in text]
    spec = importlib.util.spec_from_file_location("readme", ROOT / "scenarios" / "readme.py")
    assert spec is not None
    assert spec.loader is not None
    tool = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(tool)
    assert set(blocks) == set(tool.NAMES)
    assert all((ROOT / "docs" / "images" / f"{name}.png").is_file() for name in tool.COMMANDS)
