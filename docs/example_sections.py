"""The docstrings' sections `Example:` become `Examples:`, the one name that griffe takes for them.

Code behind a `::`, as reStructuredText has it, becomes a block of Python, as Markdown has it.
"""

from __future__ import annotations

import re
import textwrap
from typing import Any

import griffe

_CODE = re.compile(r"^Example:\n +::\n\n((?: {8}.*(?:\n|$)|\n)+)", re.MULTILINE)


class ExampleSections(griffe.Extension):
    """Rename the sections before the docstrings are parsed; mkdocs.yml names this class."""

    def on_object(self, *, obj: griffe.Object, **given: Any) -> None:
        """Change the docstring of an object that was just read."""
        if obj.docstring:
            text = _CODE.sub(_fenced, obj.docstring.value)
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", text, flags=re.MULTILINE)


def _fenced(found: re.Match[str]) -> str:
    code = textwrap.indent(textwrap.dedent(found[1]).strip("\n"), " " * 4)
    return f"Example:\n    ```python\n{code}\n    ```\n"
