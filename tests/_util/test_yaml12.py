"""YAML is read as version 1.2 says, and no text fills the memory."""

from __future__ import annotations

import math
from contextlib import suppress
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from hddnn._util import yaml12


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("10", 10), ("010", 10), ("08", 8), ("-007", -7), ("+3", 3), ("0o10", 8), ("0x1F", 31), ("0", 0),
        ("1e3", 1000.0), ("1E-3", 0.001), ("+.5e1", 5.0), ("1.", 1.0), ("1.e3", 1000.0), (".5", 0.5),
        (".inf", math.inf), ("-.INF", -math.inf), ("1e400", math.inf), ("-0.0", 0.0),
        ("true", True), ("FALSE", False), ("null", None), ("~", None), ("", None),
        # What 1.1 takes for something else, or neither takes for a number:
        ("yes", "yes"), ("no", "no"), ("on", "on"), ("Off", "Off"), ("y", "y"),
        ("1:30", "1:30"), ("1_000", "1_000"),
        ("0b11", "0b11"), ("0o9", "0o9"), ("-0o7", "-0o7"), ("2025-01-01", "2025-01-01"),
        ("2025-13-01", "2025-13-01"),
        ("=", "="), ("1,000", "1,000"), ("1e", "1e"), ("e3", "e3"), (".", "."), ("1.5.2", "1.5.2"),
        ("tRUE", "tRUE"),
        ("'010'", "010"), ("!!str 010", "010"), ('!!int "010"', 10), ('!!float "1"', 1.0),
    ],
)  # fmt: skip
def test_a_scalar_is_what_yaml_1_2_says(text: str, value: Any) -> None:
    found = yaml12.load(f"key: {text}")["key"]
    assert (found, type(found)) == (value, type(value))


@pytest.mark.parametrize("text", [".nan", ".NaN"])
def test_nan(text: str) -> None:
    assert math.isnan(yaml12.load(text))


def doubled(n: int, start: str, form: str) -> str:
    """Return a text in which each of n lines stands ten times for the one before it."""
    lines = [f"a0: &a0 {start}"]
    lines += [f"a{i}: &a{i} " + form.format(", ".join([f"*a{i - 1}"] * 10)) for i in range(1, n)]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (doubled(9, "[1]", "[{}]"), "its aliases make more than 1,000,000 entries of it"),
        (doubled(40, "{k: 1}", "{{<<: [{}]}}"), "its aliases make more than 1,000,000 entries of it"),
        ("a: &a [*a]", "an alias leads back to what it stands in"),
        ("&a {b: {c: *a}}", "an alias leads back to what it stands in"),
        ("a: &a {<<: *a}", "an alias leads back to what it stands in"),
        ("a: 1" + "0" * 5000, "a number of 5,001 characters"),
        ("a: 0x" + "f" * 5000, "a number of 5,002 characters"),
        ("a: 1\na: 2", "key 'a' stands twice"),
        ("a: !!int x", "'x' is no int"),
        ("a: !!bool yes", "'yes' is no bool"),
        ("a: !!timestamp x", "could not determine a constructor"),
        ("a: !!binary é", "could not determine a constructor"),
        ("a: !!python/object/apply:os.getpid []", "could not determine a constructor"),
    ],
    ids=lambda text: text[:20],
)
def test_what_is_refused(text: str, says: str) -> None:
    with pytest.raises(yaml.MarkedYAMLError) as caught:
        yaml12.load(text)
    assert says in str(caught.value.problem)


def test_merges_and_aliases_in_measure_are_read() -> None:
    text = "a: &a {k: 1, l: 2}\nb: {<<: *a, l: 3}\nc: [*a, *a]"
    assert yaml12.load(text)["b"] == {"k": 1, "l": 3}
    assert yaml12.load(text)["c"] == [{"k": 1, "l": 2}] * 2


words = st.sampled_from(
    ["010", "0o10", "1e3", "1:30", "yes", "~", "", "null", "<<", "=", "0x1f", "1_000", ".5", "1."]
)
texts = words | st.from_regex(r"[-+.0-9exo_:]{1,6}", fullmatch=True) | st.text(
    st.characters().filter(str.isprintable), max_size=6
)  # fmt: skip


@given(st.dictionaries(texts, texts | st.integers() | st.floats(allow_nan=False) | st.booleans() | st.none()))
def test_what_is_written_is_the_same_to_readers_of_both_versions(data: dict[str, Any]) -> None:
    written = yaml12.dump(data)
    assert yaml12.load(written) == data == yaml.safe_load(written)


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text: str) -> None:
    with suppress(yaml.YAMLError):
        yaml12.load(text)
