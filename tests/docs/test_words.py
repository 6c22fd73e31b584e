"""One word for one thing: the glossary has the command line's words, and old words are gone from every page."""

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
PAGES = [
    "README.md",
    "CONTRIBUTING.md",
    *sorted(f"{path.relative_to(ROOT)}" for path in ROOT.glob("docs/**/*.md")),
]
#: The words that options of `hddnn run` are called by, each as the glossary has it.
OPTIONS = {
    "--topology": "topology", "--scheme": "scheme", "--batch": "batch", "--engine": "engine", "--faults": "fault",
    "--time-scale": "time scale", "--policy": "policy", "--heartbeat": "heartbeat", "--codec": "codec",
    "--encode-at": "encoder", "--journal": "journal",
}  # fmt: skip
#: What these things were called before.
OLD = (
    r"scenario (file|second|time)s?", r"seconds? of (the|a) scenario", r"\bledger\b", r"\bparcels?\b",
    r"\broster\b", r"\bagenda\b", r"\bafflictions?\b",
)  # fmt: skip


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


@pytest.mark.parametrize("page", PAGES)
def test_old_words_are_gone(page: str) -> None:
    text = (ROOT / page).read_text()
    assert [found[0] for old in OLD for found in re.finditer(old, text, re.IGNORECASE)] == []
