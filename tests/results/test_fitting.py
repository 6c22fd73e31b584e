"""Tables in narrow terminals: numbers are never wrapped, names never cut, whatever a user calls things."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from hddnn.results.fitting import Fitted

NUMBERS = ("21,336,036", "42.8", "0.768", "0.646", "1.18", "0.015", "65.5", "1.040")
HEADINGS = ("network", "parameters", "size\nMB", "coarse", "fine", "T", "ECE", "stem\nkB", "ms")


def shown(table: Fitted, width: int = 80) -> list[str]:
    """Return the lines of a table, none of which is too long."""
    out = io.StringIO()
    Console(file=out, width=width, color_system=None).print(table)
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    return [line.rstrip() for line in lines]


def made(*names: str, names_above: bool = True) -> Fitted:
    table = Fitted(HEADINGS, names_above=names_above)
    for name in names:
        table.add_row(name, *NUMBERS)
    return table


def test_what_fits_is_one_line_a_row() -> None:
    lines = shown(made("resnet34", "mobilenet"))
    assert [line.split() for line in lines[-2:]] == [["resnet34", *NUMBERS], ["mobilenet", *NUMBERS]]


@pytest.mark.parametrize("width", [70, 80])
def test_a_name_that_is_too_long_stands_above_its_numbers(width: int) -> None:
    long = "mobilenet_v3_small-of-our-own-gulls-and-terns"
    lines = shown(made("resnet34", long, "m"), width)
    at = lines.index(long)
    assert lines[at - 1].split() == ["resnet34", *NUMBERS]
    assert lines[at + 1].split() == list(NUMBERS)
    assert lines[at + 2].split() == ["m", *NUMBERS]
    # Numbers stand below each other all the same.
    assert len({line.index("21,336,036") for line in lines if "21,336,036" in line}) == 1


def test_a_name_longer_than_the_terminal_is_all_there() -> None:
    name = "n" * 100
    lines = shown(made(name))
    assert "".join(lines[-3:-1]) == name
    assert lines[-1].split() == list(NUMBERS)


@pytest.mark.parametrize("names_above", [True, False])
@pytest.mark.parametrize("width", [30, 44, 52])
def test_columns_that_do_not_fit_go_into_a_table_below(width: int, names_above: bool) -> None:
    lines = shown(made("resnet34", "mobilenet", names_above=names_above), width)
    numbers = [number for line in lines if line.startswith("resnet34") for number in line.split()[1:]]
    assert numbers == list(NUMBERS)
    tables = sum("───" in line for line in lines)
    assert tables > 1
    assert sum(line.startswith("mobilenet") for line in lines) == tables


def test_labels_stay_beside_their_numbers_where_columns_are_things() -> None:
    table = Fitted(("", *(f"my_site.py:NightShift:n={n}" for n in range(5))), names_above=False)
    for label in ("device time wasted on that, s", "batches answered"):
        table.add_row(label, *(f"2000{n}/2000{n}" for n in range(5)))
    text = "\n".join(shown(table))
    for n in range(5):
        assert text.count(f"2000{n}/2000{n}") == 2
        assert f"my_site.py:NightShift:n={n}" in text
    assert sum(line.startswith("batches answered") for line in text.splitlines()) == text.count("───\n")


def test_a_cell_wider_than_the_terminal_is_folded_and_no_letter_is_lost() -> None:
    table = Fitted(("device", "network"), left=(0, 1))
    table.add_row("a", "z" * 200)
    assert "".join(shown(table)).count("z") == 200


def test_names_in_brackets_are_no_markup() -> None:
    assert "[bold]site[/]" in "\n".join(shown(made("[bold]site[/]")))


def test_a_table_without_rows_has_its_heading() -> None:
    assert shown(made())[1].split()[0] == "network"
    assert shown(made(), 30)
