"""The commands beneath `Examples:` in a help text become a block of code on the page of the command line.

In a help text they are a paragraph that click does not wrap, after a line of one backspace. mkdocs-click leaves
that line out, and Markdown would run the commands together.
"""

from __future__ import annotations

import re
from typing import Any

from markdown import Markdown
from markdown.extensions import Extension
from markdown.preprocessors import Preprocessor

_EXAMPLES = re.compile(r"^(?P<title>Examples?:)\n(?P<commands>(?:[ \t]+\S.*(?:\n|$))+)", re.MULTILINE)
#: mkdocs-click writes the pages at 141; fences are read at 31 and below.
_PRIORITY = 140


def on_config(config: Any) -> Any:
    """Add the extension; mkdocs calls this hook once, with the settings of mkdocs.yml."""
    config.markdown_extensions.append(CommandExamples())
    return config


class CommandExamples(Extension):
    """Fence what mkdocs-click has taken over from help texts."""

    def extendMarkdown(self, md: Markdown) -> None:
        """Come right after mkdocs-click."""
        md.preprocessors.register(_Fencing(md), "command_examples", _PRIORITY)


class _Fencing(Preprocessor):
    def run(self, lines: list[str]) -> list[str]:
        return fenced("\n".join(lines)).split("\n")


def fenced(text: str) -> str:
    """Return a text in which the commands of examples are blocks of code."""
    return _EXAMPLES.sub(_block, text)


def _block(found: re.Match[str]) -> str:
    commands = "\n".join(line.strip() for line in found["commands"].strip("\n").split("\n"))
    return f"{found['title']}\n\n```sh\n{commands}\n```\n"
