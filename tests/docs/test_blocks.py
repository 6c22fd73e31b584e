"""Every shell and Python block of README and docs runs as a reader runs it, or says why it does not.

A page's blocks run in order, in a folder of the page's own, with hddnn on the PATH: `sh` blocks in a shell each,
`python` blocks in one process. So that hundreds of imports are not waited for, these processes are forks of one
(see warm.py). A block with title="FILE" becomes that file instead. Not run is what has
`<!-- not run: REASON -->` on the line before; commands there must still exist. A block in any other language is
shown, and must not look like a command.
"""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import click
import pytest
from waiting import PATIENCE_S
from warm import ready

from hddnn.cli.main import main

ROOT = Path(__file__).parents[2]
PAGES = [
    name
    for name in (
        "README.md",
        "CONTRIBUTING.md",
        *sorted(f"{p.relative_to(ROOT)}" for p in ROOT.glob("docs/**/*.md")),
    )
    if (ROOT / name).is_file()
]
#: What a page may show without running it.
SHOWN = {"text", "yaml", "json", "ini", "toml", "bibtex", "html", "http", "csv"}
RUN = {"sh", "python"}
#: For a page: a few of them take a minute on a quiet machine.
TIMEOUT_S = 3 * PATIENCE_S

_COMMAND = re.compile(
    r"\$ |(sudo )?(hddnn|make|python3?|pip|git|curl|dask|apt-get|systemctl|pytest) +\S|>>> |import "
)
_FENCE = re.compile(r"(?P<indent> *)(?P<ticks>`{3,}) *(?P<language>[^\s{`]*)(?P<rest>[^`]*)$")
_REASON = re.compile(r"\s*<!-- not run: *(?P<why>.*?) *-->\s*$")


@dataclass(frozen=True)
class Block:
    """A block of a page: the line that it begins in, its language, the file that it is, and why it is not run."""

    line: int
    language: str
    title: str
    text: str
    reason: str | None


def blocks(text: str) -> Iterator[Block]:
    """Yield the blocks of a page, fenced or indented; measured ones, between begin and end, are no part of it."""
    lines = re.sub(
        r"<!-- begin (\w+) -->.*?<!-- end \1 -->", lambda m: "\n" * m[0].count("\n"), text, flags=re.DOTALL
    ).split("\n")
    reason, at = None, 0
    nested = False  # in a list or an admonition, whose own text is indented
    while at < len(lines):
        line, first = lines[at], at + 1
        if fence := _FENCE.match(line):
            held = []
            at += 1
            while at < len(lines) and lines[at].strip() != fence["ticks"]:
                held.append(lines[at].removeprefix(fence["indent"]))
                at += 1
            title = re.search(r'title="([^"]*)"', fence["rest"])
            yield Block(first, fence["language"], title[1] if title else "", "\n".join(held) + "\n", reason)
        elif line.startswith("    ") and not nested and (at == 0 or not lines[at - 1].strip()):
            held = []
            while at < len(lines) and (lines[at].startswith("    ") or not lines[at].strip()):
                held.append(lines[at][4:])
                at += 1
            held_text = "\n".join(held).strip("\n") + "\n"
            yield Block(first, "sh" if _COMMAND.match(held_text) else "text", "", held_text, reason)
            reason = None
            continue
        elif line.strip() and not line.startswith(" "):
            nested = re.match(r"([-*+]|\d+\.|!!!|\?\?\?\+?|===) ", line) is not None
        if line.strip():
            told = _REASON.match(line)
            reason = told["why"] if told else None
        at += 1


def problems(text: str) -> list[str]:
    """Return what is wrong with a page's blocks, before any of them is run."""
    found, used = [], set()
    for block in blocks(text):
        if block.reason is not None:
            used.add(block.line)
            if not block.reason:
                found.append(f"line {block.line}: not run, but the reason is missing")
            if block.language not in RUN:
                found.append(f"line {block.line}: only sh and python blocks are run, so this needs no reason")
        if block.language not in RUN | SHOWN:
            found.append(
                f"line {block.line}: a block in {block.language or 'no language'}: call it sh, python or text"
            )
        elif block.language in SHOWN and not block.title and _COMMAND.match(block.text):
            found.append(f"line {block.line}: looks like commands: call it sh or python")
    reasons = sum(1 for line in text.split("\n") if _REASON.match(line))
    if reasons != len(used):
        found.append("a comment that says why something is not run has no block below it")
    return found


#: Reads blocks and runs them one after another: what a reader does with a page.
READER = """
import atexit, json, os, pathlib, signal, subprocess, sys
@atexit.register
def end():  # what a block has left in the background goes, too
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    os.killpg(0, signal.SIGTERM)
names = {"__name__": "__main__"}
for block in json.load(sys.stdin):
    where = f"{block['page']}:{block['line']}"
    print(f"--- {where}", flush=True)
    if block["title"]:
        pathlib.Path(block["title"]).parent.mkdir(parents=True, exist_ok=True)
        pathlib.Path(block["title"]).write_text(block["text"])
    elif block["language"] == "sh":
        done = subprocess.run(["bash", "-euo", "pipefail", "-c", block["text"]], stdin=subprocess.DEVNULL)
        if done.returncode:
            sys.exit(f"{where}: exit code {done.returncode}")
    else:
        exec(compile("\\n" * block["line"] + block["text"], block["page"], "exec"), names)
"""


def read(page: str, text: str, folder: Path) -> str:
    """Run a page's blocks in a folder, and return what they print. Raises AssertionError when one fails."""
    todo = [
        {
            "page": page,
            "line": block.line,
            "language": block.language,
            "title": block.title,
            "text": block.text,
        }
        for block in blocks(text)
        if block.reason is None and (block.title or block.language in RUN)
    ]
    for name in ("scenarios", "examples", "workers"):
        (folder / name).symlink_to(ROOT / name)
    env = {
        **os.environ,
        "PATH": os.pathsep.join(
            (str(ready().commands), str(Path(sys.executable).parent), os.environ["PATH"])
        ),
        "HDDNN_NETWORKS": str(folder / "networks"),
        "COLUMNS": "110",
    }
    with (folder / "output.txt").open("w+") as output:
        reader = subprocess.Popen(
            ready().words("-c", READER),
            stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT, text=True, cwd=folder, env=env,
        )  # fmt: skip
        try:
            reader.communicate(json.dumps(todo), timeout=TIMEOUT_S)
        finally:
            reader.kill()  # and with it, all that it has begun
            reader.wait()
        output.seek(0)
        told = output.read()
    assert reader.returncode == 0, f"{page}: a block fails\n{told}"
    return told


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_run_or_says_why_not(page: str) -> None:
    assert problems((ROOT / page).read_text()) == []


@pytest.mark.timeout(TIMEOUT_S + 30)
@pytest.mark.parametrize(
    "page",
    [
        name
        for name in PAGES
        if any(b.reason is None and b.language in RUN for b in blocks((ROOT / name).read_text()))
    ],
)
def test_the_blocks_of_a_page_run_in_order(page: str, tmp_path: Path) -> None:
    told = read(page, (ROOT / page).read_text(), tmp_path)
    assert "never began" not in told  # an example of a fault is one that happens


def commands(text: str) -> Iterator[list[str]]:
    """Yield the words of each hddnn command in a page's shell blocks, up to where the shell takes over."""
    for block in blocks(text):
        if block.language != "sh":
            continue
        for line in block.text.replace("\\\n", " ").split("\n"):
            if not line.startswith("hddnn "):
                continue
            words = shlex.split(line, comments=True)[1:]
            ends = [words.index(stop) for stop in ("|", "&", "&&", ">", ";", "||") if stop in words]
            yield words[: min(ends, default=len(words))]


def unknown_words(words: list[str]) -> list[str]:
    """Return the words of a hddnn command that name no command or option of it."""
    command: click.Command = main
    words = list(words)
    while isinstance(command, click.Group):
        if not words or words[0].startswith("-"):
            break
        if words[0] not in command.commands:
            return words[:1]
        command = command.commands[words.pop(0)]
    if command.ignore_unknown_options or command.context_settings.get("ignore_unknown_options"):
        return []  # hands options on to Dask
    known = {option for param in command.params for option in (*param.opts, *param.secondary_opts)}
    known |= {"--help", "-h", "--version"}
    return [word for word in words if word.startswith("--") and word.partition("=")[0] not in known]


@pytest.mark.parametrize("page", PAGES)
def test_commands_and_their_options_exist(page: str) -> None:
    assert [word for words in commands((ROOT / page).read_text()) for word in unknown_words(words)] == []


def test_pages_have_commands_to_be_checked() -> None:
    named = {words[0] for page in PAGES for words in commands((ROOT / page).read_text()) if words}
    assert named >= {
        "run",
        "zoo",
        "audit",
        "certs",
        "worker",
        "serve",
        "classify",
        "profile",
        "up",
        "topology",
    }


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("```sh\ntrue\nfalse\ntrue\n```\n", "page.md:1: exit code 1"),
        ("```sh\nfalse | true\n```\n", "page.md:1: exit code 1"),
        ("```sh\nhddnn run --images none\n```\n", "page.md:1: exit code 2"),
        ("A list:\n\n- one\n\n    ```sh\n    false\n    ```\n", "page.md:5: exit code 1"),
        ("Indented:\n\n    python -c 'import sys; sys.exit(3)'\n", "page.md:3: exit code 3"),
        ("```python\nx = 1\n```\n\n```python\nassert x == 2\n```\n", "AssertionError"),
        ('```yaml title="a.yaml"\nb: 1\n```\n\n```sh\ngrep -q c a.yaml\n```\n', "page.md:5: exit code 1"),
    ],
)
def test_a_block_that_fails_fails_its_page(text: str, says: str, tmp_path: Path) -> None:
    with pytest.raises(AssertionError, match=re.escape(says)):
        read("page.md", text, tmp_path)


def test_a_page_that_is_right_runs_in_order_and_what_says_why_is_left_out(tmp_path: Path) -> None:
    text = (
        '```yaml title="a.yaml"\nb: 7\n```\n\n```python\nname = "a.yaml"\n```\n\n'
        "<!-- not run: ends the world -->\n```sh\nexit 1\n```\n\n"
        "<!-- begin run -->\n\n    hddnn never\n\n<!-- end run -->\n\n"
        "```sh\ncp a.yaml c.yaml; sleep 60 &\n```\n\n```python\nprint(open('c.yaml').read(), name)\n```\n"
    )
    assert problems(text) == []
    assert "b: 7\n a.yaml" in read("page.md", text, tmp_path)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("```\nhddnn run\n```\n", "no language"),
        ("```bash\nhddnn run\n```\n", "in bash"),
        ("```text\nhddnn run --engine sim\n```\n", "looks like commands"),
        ("```text\n>>> 1 + 1\n```\n", "looks like commands"),
        ("<!-- not run: -->\n```sh\nhddnn run\n```\n", "reason is missing"),
        ("<!-- not run: takes an hour -->\n\nWords.\n\n```sh\nhddnn run\n```\n", "no block below it"),
        ("<!-- not run: is a table -->\n```text\n1 2 3\n```\n", "needs no reason"),
    ],
)
def test_a_block_that_is_neither_run_nor_says_why_is_found(text: str, says: str) -> None:
    (problem,) = problems(text)
    assert says in problem


@pytest.mark.parametrize("line", ["hddnn fly", "hddnn run --enjine sim", "hddnn zoo paint"])
def test_a_command_that_does_not_exist_is_found(line: str) -> None:
    (words,) = commands(f"<!-- not run: an example -->\n```sh\n{line}  # hddnn --no\n```\n")
    assert len(unknown_words(words)) == 1
