"""Read YAML and check it against pydantic models; every fault becomes one line a user can act on.

The line is `<file>: <key path>: <what is wrong>; <what is allowed>`, such as
`home.yaml: devices[2].trust: 'maybe' is not allowed; allowed: dependable, undependable`.
"""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import ErrorDetails, PydanticCustomError

from hddnn._util import given, yaml12
from hddnn.errors import HddnnError

_KINDS = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "float_type": "a number",
    "string_type": "text (put it in quotes)",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "dict_type": "a mapping (key: value)",
    "model_type": "a mapping (key: value)",
    "model_attributes_type": "a mapping (key: value)",
}
_BOUNDS = {
    "greater_than": ("gt", "more than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
}


class StrictModel(BaseModel):
    """A frozen model that names an unknown key, the key probably meant, and all allowed ones.

    Attributes:
        moved: By a key that there was once, what to write now; {value} stands for its value.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")
    moved: ClassVar[Mapping[str, str]] = {}

    @model_validator(mode="before")
    @classmethod
    def _know_every_key(cls, data: Any) -> Any:
        if isinstance(data, Mapping):
            allowed = [field.alias or name for name, field in cls.model_fields.items()]
            for key in data:
                if key in cls.moved:
                    value = "null" if data[key] is None else _describe(data[key])
                    now = cls.moved[key].format(value=value)
                    raise problem(f"is no key any more; write {now}", key=key)
                if key not in allowed:
                    raise problem(unknown("key", str(key), allowed, label="allowed"), key=str(key))
        return data


def problem(text: str, *, key: str = "") -> PydanticCustomError:
    """Return the error a validator raises to say `text`, about `key` of the object it looks at."""
    return PydanticCustomError("hddnn", "{text}", {"text": text, "key": key})


def unknown(kind: str, name: str, valid: Collection[str], *, label: str = "known") -> str:
    """Return "unknown <kind> '<name>', did you mean ...? <label>: <all valid names>"."""
    near = difflib.get_close_matches(name[:100], valid, n=1)
    hint = f", did you mean '{near[0]}'?" if near else ";"
    shown = printable(name if len(name) <= 100 else f"{name[:97]}...")
    return f"unknown {kind} '{shown}'{hint} {label}: {', '.join(valid) or 'none'}"


def printable(text: str) -> str:
    """Return a text that shows what it has: of what cannot be printed, the escapes that Python writes."""
    return "".join(one if one.isprintable() else repr(one)[1:-1] for one in text)


def differences(there: Mapping[str, Any], asked: Mapping[str, Any]) -> list[str]:
    """Return "<name> (<before>, now <value>)" for each fact that is not what it was, the long ones in part."""
    found = []
    for name in sorted({*there, *asked}):
        before, now = there.get(name, "nothing"), asked.get(name, "nothing")
        if before != now:
            old, new = (" ".join(str(value).split()) for value in (before, now))
            part_at = next((i for i, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), 0)
            found.append(f"{name} ({_short(old, part_at)}, now {_short(new, part_at)})")
    return found


def first_problem(error: ValidationError) -> str:
    """Return the first fault of a pydantic error as one line, and how many more there are."""
    details = error.errors(include_url=False)
    path, text = key_path(_location(details[0])), _say(details[0])
    more = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    return (f"{path}: {text}" if path else text) + more


def key_path(location: Iterable[str | int]) -> str:
    """Return a key path as a user writes it: ("devices", 2, "trust") -> devices[2].trust."""
    path = ""
    for part in location:
        if part == "[key]":  # pydantic's word for a fault of the key, and not of its value
            continue
        shown = part if isinstance(part, int) else printable(part if len(part) <= 100 else f"{part[:97]}...")
        path += f"[{shown}]" if isinstance(part, int) else f".{shown}" if path else str(shown)
    return path


def read_yaml(path: Path, error: type[HddnnError], *, where: str) -> dict[str, Any]:
    """Return the mapping that a YAML file holds.

    Numbers are those of YAML 1.2. where: the file's name in errors. Raises `error` when the file cannot be read,
    is no YAML (with line and column), is empty, holds no mapping, or gives one key twice.
    """
    try:
        text = given.read_text(path)
    except FileNotFoundError:
        raise error(f"{where}: no such file") from None
    except OSError as fault:
        raise error(f"{where}: cannot be read: {fault.strerror}") from None
    except UnicodeDecodeError:
        raise error(f"{where}: is not UTF-8 text") from None
    try:
        data = yaml12.load(text)
    except yaml.reader.ReaderError as fault:
        line = text.count("\n", 0, fault.position) + 1
        raise error(
            f"{where}: line {line}: not valid YAML: character U+{fault.character:04X} is not allowed"
        ) from None
    except yaml.YAMLError as fault:
        raise error(f"{where}: {_say_yaml(fault)}") from None
    except RecursionError:
        raise error(f"{where}: is nested too deeply") from None
    if data is None:
        raise error(f"{where}: the file is empty")
    if not isinstance(data, dict):
        raise error(f"{where}: holds {_describe(data)}; it must hold a mapping (key: value)")
    return data


def _say_yaml(fault: yaml.YAMLError) -> str:
    """Return what is wrong with a YAML text, and where: one line, without the excerpt yaml adds."""
    mark = getattr(fault, "problem_mark", None)
    text = " ".join(str(getattr(fault, "problem", None) or fault).split())
    where = f"line {mark.line + 1}, column {mark.column + 1}: " if mark is not None else ""
    return f"{where}not valid YAML: {text}"


def _location(detail: ErrorDetails) -> tuple[str | int, ...]:
    key = detail.get("ctx", {}).get("key", "")
    return (*detail["loc"], key) if key else detail["loc"]


def _say(detail: ErrorDetails) -> str:
    """Return one pydantic error in this project's words: what is wrong; what is allowed."""
    kind, given, context = detail["type"], _describe(detail["input"]), detail.get("ctx", {})
    if kind == "hddnn":
        return str(context["text"])
    if kind == "missing":
        return "is missing; it is required"
    if kind == "literal_error":
        allowed = str(context["expected"]).replace(" or ", ", ").replace("'", "")
        return f"{given} is not allowed; allowed: {allowed}"
    if kind in _BOUNDS:
        bound, words = _BOUNDS[kind]
        return f"{given} is out of range; it must be {words} {context[bound]:,.10g}"
    if kind == "finite_number":
        return f"{given} is not allowed; it must be a finite number"
    if kind in _KINDS:
        return f"{given} is not allowed; it must be {_KINDS[kind]}"
    return f"{given}: {detail['msg']}"


def _describe(value: Any) -> str:
    """Return a given value briefly."""
    if value is None:
        return "an empty value"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list | tuple):
        return "a list"
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _short(text: str, part_at: int) -> str:
    """Return a text in at most 40 characters or so, from a little before the place that matters."""
    if len(text) <= 40:
        return text
    if part_at > 20:
        text = f"...{text[part_at - 20 :]}"
    return text if len(text) <= 40 else f"{text[:37]}..."
