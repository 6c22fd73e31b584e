"""YAML as its version 1.2 says (the core schema): 010 is 10, 0o10 is 8, 1e3 is a number, yes and 1:30 are text.

PyYAML follows version 1.1, in which 010 is 8, 1:30 is 90, yes is true and 1e3 is text. Of 1.1 only the merge key
"<<" is kept.
"""

from __future__ import annotations

import re
from collections.abc import Hashable
from typing import Any, ClassVar

import yaml

#: What a text may become when its aliases are followed: beyond, it is made to fill the memory.
MOST_NODES = 1_000_000
#: A number has fewer characters.
MOST_DIGITS = 400

_TAG = "tag:yaml.org,2002:"
# Of each kind of scalar, what it looks like, and the characters that it begins with.
_FORMS = {
    "bool": (re.compile(r"(true|True|TRUE|false|False|FALSE)$"), list("tTfF")),
    "int": (re.compile(r"([-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+)$"), list("-+0123456789")),
    "float": (
        re.compile(
            r"([-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?|[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN))$"
        ),
        list("-+.0123456789"),
    ),
    "null": (re.compile(r"(~|null|Null|NULL|)$"), ["~", "n", "N", ""]),
    "merge": (re.compile(r"<<$"), ["<"]),
}


def load(text: str) -> Any:
    """Return what a YAML text holds. Raises yaml.YAMLError or RecursionError."""
    return yaml.load(text, Loader=_Loader)


def dump(data: Any) -> str:
    """Return a YAML text that readers of 1.1 and 1.2 take for the same."""
    return yaml.dump(data, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=110)


class _Loader(yaml.SafeLoader):
    """The safe loader with 1.2's scalars; it refuses a key given twice, and a text made to fill the memory."""

    # None of 1.1's, such as dates and sets.
    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012  # as PyYAML has it
    yaml_constructors: ClassVar[dict[str | None, Any]] = {
        tag: make
        for tag, make in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.rpartition(":")[2] in ("null", "str", "seq", "map")
    }

    def compose_document(self) -> yaml.Node | None:
        node = super().compose_document()
        if node is not None and _size(node, {}) > MOST_NODES:
            raise _problem(f"its aliases make more than {MOST_NODES:,} entries of it", node)
        return node

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = set()
        for key, _ in node.value:
            # "<<" merges another mapping in; what it brings may be overridden, and it may stand twice.
            if key.tag != f"{_TAG}merge" and isinstance(key.value, str):
                if key.value in seen:
                    raise _problem(f"key '{key.value[:60]}' stands twice", key)
                seen.add(key.value)
        return super().construct_mapping(node, deep)

    def construct_plain(self, node: yaml.ScalarNode) -> bool | int | float:
        text, kind = str(self.construct_scalar(node)), node.tag.removeprefix(_TAG)
        if len(text) > MOST_DIGITS:
            raise _problem(f"a number of {len(text):,} characters", node)
        if not _FORMS[kind][0].match(text):
            raise _problem(f"'{text}' is no {kind}", node)
        if kind == "bool":
            return text.lower() == "true"
        if kind == "float":
            # .inf and .nan are inf and nan to Python.
            return float(re.sub(r"\.(?=[a-zA-Z])", "", text))
        return int(text[2:], {"0o": 8, "0x": 16}[text[:2]]) if text[:2] in ("0o", "0x") else int(text)


class _Dumper(yaml.SafeDumper):
    """The safe dumper, which quotes a text that either version would take for something else."""


def _problem(text: str, node: yaml.Node) -> yaml.MarkedYAMLError:
    return yaml.MarkedYAMLError(problem=text, problem_mark=node.start_mark)


def _size(node: yaml.Node, sizes: dict[yaml.Node, int]) -> int:
    """Return how many nodes there are when every alias is followed; a Python number, so it may be astronomic."""
    if node not in sizes:
        sizes[node] = 0  # until it is known: an alias that leads here from below is of itself
        children = node.value if isinstance(node, yaml.CollectionNode) else ()
        parts = [part for child in children for part in (child if isinstance(child, tuple) else (child,))]
        sizes[node] = 1 + sum(_size(part, sizes) for part in parts)
    elif not sizes[node]:
        raise _problem("an alias leads back to what it stands in", node)
    return sizes[node]


for _kind, (_form, _first) in _FORMS.items():
    for _class in (_Loader, _Dumper):
        _class.add_implicit_resolver(f"{_TAG}{_kind}", _form, _first)
for _kind in ("bool", "int", "float"):
    _Loader.add_constructor(f"{_TAG}{_kind}", _Loader.construct_plain)
