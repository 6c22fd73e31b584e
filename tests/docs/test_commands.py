"""Commands in README and docs, those that no test runs included, are there and have the options they are given."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import click
import pytest

from hddnn.cli.main import main

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]


def typed(text: str) -> list[str]:
    """Return the words after `hddnn` of each command in a page's shell blocks, as typed."""
    blocks = "".join(
        re.findall(r"^ *```(?:sh|bash|shell)\b[^\n]*\n(.*?)^ *```", text, re.DOTALL | re.MULTILINE)
    )
    return re.findall(r"^ *(?:\$ )?hddnn (.*?)(?:\s+#.*)?$", blocks.replace("\\\n", " "), re.MULTILINE)


def unknown(words: list[str]) -> list[str]:
    """Return the sub-commands and options that hddnn does not have."""
    command: click.Command = main
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        if words[0] not in command.commands:
            return [words[0]]
        command = command.commands[words.pop(0)]
    known = {option for param in command.params for option in (*param.opts, *param.secondary_opts)}
    known |= {"-h", "--help"}
    return [word for word in words if word.startswith("--") and word.partition("=")[0] not in known]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_commands_and_options_are_there(page: Path) -> None:
    wrong = {line: unknown(shlex.split(line, comments=True)) for line in typed(page.read_text())}
    assert {line: words for line, words in wrong.items() if words} == {}


def test_the_pages_name_the_commands_that_users_need() -> None:
    named = {line.split()[0] for page in PAGES for line in typed(page.read_text())}
    assert named >= {"run", "zoo", "audit", "certs", "worker", "serve", "classify", "profile", "status"}


def test_a_wrong_command_is_found() -> None:
    lines = typed(
        "```sh\nhddnn run --images 9 --shchemes end  # wrong\nhddnn zoo lits\n```\n\nhddnn no --block\n"
    )
    assert lines == ["run --images 9 --shchemes end", "zoo lits"]
    assert [unknown(shlex.split(line)) for line in lines] == [["--shchemes"], ["lits"]]
