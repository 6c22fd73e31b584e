"""The reference: what it shows is there, says what each argument is, and its examples run."""

from __future__ import annotations

import doctest
import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from dataclasses import is_dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
#: What the pages show: name -> the members that are shown; None for all.
SHOWN = {
    name: set(re.findall(r"\w+", members)) if listed else None
    for page in sorted((ROOT / "docs" / "reference").glob("*.md"))
    for name, listed, members in re.findall(
        r"^::: (\S+)\n(?:    options:\n)?(?:      heading_level: 3\n)?(      members: \[(.*)\]\n)?",
        page.read_text(),
        re.MULTILINE,
    )
}


def located(name: str) -> Any:
    """Return the object of a dotted name, whose module is the longest part of it that can be imported."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        module = ".".join(parts[:length])
        try:
            found: Any = importlib.import_module(module)
        except ModuleNotFoundError as error:
            if error.name is None or not f"{module}.".startswith(f"{error.name}."):
                raise  # something else is missing
            continue
        for part in parts[length:]:
            found = getattr(found, part)
        return found
    raise LookupError(name)


def documented(thing: Any, members: set[str] | None) -> Iterator[tuple[str, Any, str]]:
    """Yield what a page shows of an object: name, callable or class, docstring."""
    yield thing.__name__, thing, inspect.getdoc(thing) or ""
    if inspect.isclass(thing):
        for name, member in vars(thing).items():
            if name.startswith("_") or isinstance(member, property | cached_property):
                continue
            if members is not None and name not in members:
                continue
            function = member.__func__ if isinstance(member, classmethod | staticmethod) else member
            if inspect.isfunction(function):
                yield f"{thing.__name__}.{name}", function, inspect.getdoc(function) or ""


def arguments(thing: Any) -> list[str]:
    """Return the names of what a caller may give."""
    if inspect.isclass(thing):
        fields = getattr(thing, "model_fields", None)
        if fields is not None:
            return list(fields)
        if (
            thing.__init__ is object.__init__
            or issubclass(thing, BaseException)
            or getattr(thing, "_is_protocol", False)
        ):
            return []
        thing = thing.__init__
    return [name for name in inspect.signature(thing).parameters if name not in ("self", "cls")]


@pytest.mark.parametrize("name", SHOWN)
def test_each_argument_is_described(name: str) -> None:
    for where, thing, text in documented(located(name), SHOWN[name]):
        assert text, f"{where} has no docstring"
        sections = dict(re.findall(r"^(\w+):\n((?:    .*\n|\n)*)", text + "\n", re.MULTILINE))
        told = {kind: re.findall(r"^    \**(\w+): \S", body, re.MULTILINE) for kind, body in sections.items()}
        if hasattr(thing, "model_fields") or (is_dataclass(thing) and "Args" not in told):
            assert told.get("Attributes", []) == arguments(thing), where
        else:
            assert told.get("Args", []) == arguments(thing), where
            assert all(
                name in vars(thing) or name in inspect.get_annotations(thing)
                for name in told.get("Attributes", [])
            )


@pytest.mark.parametrize("module", sorted({located(name).__module__ for name in SHOWN}))
def test_the_examples_run(module: str) -> None:
    found = doctest.DocTestFinder(exclude_empty=True).find(sys.modules[module], module)
    runner = doctest.DocTestRunner()
    said: list[str] = []
    for example in found:
        runner.run(example, out=said.append)
    assert runner.summarize(verbose=False).failed == 0, "".join(said)


def test_examples_are_there_and_a_wrong_one_is_found() -> None:
    modules = {located(name).__module__ for name in SHOWN}
    finder = doctest.DocTestFinder()
    assert sum(len(t.examples) for m in modules for t in finder.find(sys.modules[m], m)) > 20
    wrong = doctest.DocTestParser().get_doctest(">>> 1 + 1\n3\n", {}, "wrong", None, None)
    assert doctest.DocTestRunner().run(wrong, out=lambda text: None).failed == 1
