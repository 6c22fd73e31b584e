"""One word for one thing: the glossary has the words of the command line, each once."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from hddnn.cli.main import main
from hddnn.privacy.codec import NAMES
from hddnn.system.faults import KINDS

ROOT = Path(__file__).parents[2]
GLOSSARY = (ROOT / "docs" / "concepts" / "glossary.md").read_text()
#: The words that options of `hddnn run` are called by, each as the glossary has it.
OPTIONS = {
    "--topology": "topology", "--scheme": "scheme", "--batch": "batch", "--engine": "engine", "--faults": "fault",
    "--time-scale": "time scale", "--policy": "policy", "--heartbeat": "heartbeat", "--codec": "codec",
    "--encode-at": "encoder", "--journal": "journal",
}  # fmt: skip


def entries() -> set[str]:
    """Return what the glossary explains: the lines above its explanations."""
    heads = re.findall(r"^(.+)\n:   ", GLOSSARY, re.MULTILINE)
    return {re.sub(r"[\[\]`]|\(.*?\)", "", word).strip() for head in heads for word in head.split(", ")}


def test_the_glossary_has_entries_each_once() -> None:
    heads = re.findall(r"^(.+)\n:   ", GLOSSARY, re.MULTILINE)
    assert len(heads) > 30
    assert len(heads) == len(set(heads))


@pytest.mark.parametrize("option", OPTIONS)
def test_an_option_of_run_is_called_as_in_the_glossary(option: str) -> None:
    offered = [name for param in main.commands["run"].params for name in param.opts]
    assert any(name.startswith(option) for name in offered)
    assert OPTIONS[option] in entries()


def test_help_uses_the_glossarys_words() -> None:
    told = main.commands["run"].get_help(click.Context(main.commands["run"]))
    for word in ("model time", "scheme", "device", "features", "heartbeat"):
        assert word in " ".join(told.split())
        assert word in entries()


def test_names_that_options_take_are_in_the_glossary() -> None:
    policies = ("none", "reassign", "monitor", "hedge")
    codecs = {part for name in NAMES for part in name.replace("+", " +").split()}
    for name in ("closed", "sim", "dask", "end", "edge", "cloud", *policies, *KINDS, *codecs):
        assert f"`{name}`" in GLOSSARY, name
