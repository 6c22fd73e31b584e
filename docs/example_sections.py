"""The docstrings' sections `Example:` become `Examples:`, the one name that griffe takes for them."""

from __future__ import annotations

import re
from typing import Any

import griffe


class ExampleSections(griffe.Extension):
    """Rename the sections before the docstrings are parsed; mkdocs.yml names this class."""

    def on_object(self, *, obj: griffe.Object, **given: Any) -> None:
        """Change the docstring of an object that was just read."""
        if obj.docstring:
            obj.docstring.value = re.sub(r"^Example:$", "Examples:", obj.docstring.value, flags=re.MULTILINE)
