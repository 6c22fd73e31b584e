"""Tables that break no cell: what does not fit side by side goes above, or into a table below; and sentences."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from textwrap import TextWrapper

from rich import box
from rich.console import Console, ConsoleOptions, RenderableType
from rich.measure import Measurement
from rich.segment import Segment
from rich.table import Table
from rich.text import Text

_ANY = 1_000_000  # columns; no table takes as many
_LINE = 100  # columns; longer lines are no longer read with ease


def plain_table() -> Table:
    """Return an empty table without frames."""
    return Table(box=box.SIMPLE, show_edge=False, pad_edge=False)


@dataclass(frozen=True, eq=False)
class Fitted:
    """A table whose numbers are never wrapped and whose names are never cut, however narrow the terminal.

    As long as all fits, it is a plain table. Else its columns move together; then names of rows that are too long
    stand in a line of their own above their numbers, or columns go into a further table below, with the rows'
    names again.

    Args:
        headings: Of the columns; a heading may have several lines.
        left: Columns whose cells stand at the left, by number.
        names_above: Whether names leave the way to numbers; else there are more tables.

    Example:
        >>> sizes = Fitted(("network", "size\\nMB"))
        >>> sizes.add_row("mobilenet", "1.7")
        >>> console.print(sizes)
    """

    headings: Sequence[str]
    left: Collection[int] = (0,)
    names_above: bool = True
    rows: list[Sequence[str]] = field(default_factory=list, init=False)

    def add_row(self, *cells: str) -> None:
        """Add a row: as many cells as there are headings, of a line each; the first is the row's name."""
        self.rows.append(cells)

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Yield the table, or its parts, for a width of options.max_width columns."""
        columns, names = range(1, len(self.headings)), [Text(row[0]) for row in self.rows]
        for tight in (False, True):
            table = self._table(columns, names, tight=tight)
            if _needed(console, options, table) <= options.max_width:
                yield table
                return
        for number, block in enumerate(self._blocks(console, options, names)):
            if number:
                yield Text()
            yield from self._block(console, options, block, names)

    def _blocks(self, console: Console, options: ConsoleOptions, names: list[Text]) -> list[list[int]]:
        """Return which columns go side by side, as many as fit each time."""
        shown = self._short(names, 0) if self.names_above else names
        blocks: list[list[int]] = [[]]
        for column in range(1, len(self.headings)):
            table = self._table([*blocks[-1], column], shown, tight=True)
            if blocks[-1] and _needed(console, options, table) > options.max_width:
                blocks.append([])
            blocks[-1].append(column)
        return blocks

    def _block(
        self, console: Console, options: ConsoleOptions, columns: Sequence[int], names: list[Text]
    ) -> Iterator[RenderableType]:
        """Yield one table; names for which it has no room stand above their rows."""
        bare = _needed(console, options, self._table(columns, self._short(names, 0), tight=True))
        head = max(map(len, self.headings[0].split("\n")))
        room = options.max_width - bare + head
        whole = max((name.cell_len for name in names), default=0) <= room
        if whole or room < head:  # in so few columns cells are folded, and rows have several lines
            yield self._table(columns, names, tight=True)
            return
        table = self._table(columns, self._short(names, room), tight=True)
        lines = console.render_lines(table, options, pad=False)
        above = len(lines) - len(names)  # the heading
        for number, line in enumerate(lines):
            if number >= above and names[number - above].cell_len > room:
                yield Text.assemble((names[number - above].plain, "bold"), overflow="fold")
            yield from line  # type: ignore[misc]  # rich takes segments, too
            yield Segment.line()  # type: ignore[misc]

    @staticmethod
    def _short(names: list[Text], room: int) -> list[Text]:
        """Return the names, without those that take more room."""
        return [name if name.cell_len <= room else Text() for name in names]

    def _table(self, columns: Sequence[int], names: Sequence[Text], *, tight: bool) -> Table:
        table = plain_table()
        table.collapse_padding = tight
        for column in (0, *columns):
            right = "left" if column in self.left else "right"
            style = "bold" if column == 0 and self.names_above else ""
            table.add_column(Text(self.headings[column]), justify=right, overflow="fold", style=style)  # type: ignore[arg-type]
        # As Text, brackets in a name that a user chose are no markup.
        for name, row in zip(names, self.rows, strict=True):
            table.add_row(name, *(Text(row[column]) for column in columns))
        return table


def _needed(console: Console, options: ConsoleOptions, table: Table) -> int:
    """Return the width that a table takes where nothing is wrapped."""
    return Measurement.get(console, options.update(max_width=_ANY), table).maximum


@dataclass(frozen=True)
class Sentences:
    """Sentences, each on lines of its own that hang; no number is torn off its unit."""

    lines: Sequence[str]

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> Iterator[RenderableType]:
        """Yield them for a width of options.max_width columns."""
        wrapper = TextWrapper(min(options.max_width, _LINE), subsequent_indent="  ", break_on_hyphens=False)
        for line in self.lines:
            kept = re.sub(r"(?<=\d) (?=%|(s|MB)\b)", "\u00a0", line)
            yield Text(wrapper.fill(kept).replace("\u00a0", " "))
