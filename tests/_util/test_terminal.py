"""Tables are whole, whatever is said of the terminal."""

from __future__ import annotations

import pytest
from click.testing import CliRunner

from hddnn.cli.main import main

WORDS = (["zoo", "list"], ["zoo", "show", "mobilenet"], ["topology", "show", "laptop"])
TERMINALS: dict[str, dict[str, str]] = {
    "no columns": {"COLUMNS": "0"},
    "fewer than none": {"COLUMNS": "-5"},
    "no number": {"COLUMNS": "abc"},
    "one column": {"COLUMNS": "1"},
    "few columns": {"COLUMNS": "40"},
    "no lines": {"LINES": "0", "COLUMNS": "80"},
    "no columns, no lines": {"LINES": "0", "COLUMNS": "0"},
    "one that can nothing": {"TERM": "dumb"},
    "one of no name": {"TERM": ""},
}


@pytest.mark.parametrize("name", TERMINALS)
@pytest.mark.parametrize("words", WORDS, ids=" ".join)
def test_a_table_is_as_it_is_on_80_columns(
    words: list[str], name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    usual = CliRunner().invoke(main, words)
    monkeypatch.delenv("COLUMNS")
    assert (usual.exit_code, "mobilenet" in usual.stdout) == (0, True)
    for variable, value in TERMINALS[name].items():
        monkeypatch.setenv(variable, value)
    found = CliRunner().invoke(main, words)
    assert (found.exit_code, found.stdout) == (0, usual.stdout)
