"""Where the answers of `hddnn classify` go: lines on standard output, and a table of comma-separated values."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, TextIO

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn

from hddnn._util.bars import Bars
from hddnn._util.paths import check_place, written
from hddnn.errors import HddnnError, InputError

if TYPE_CHECKING:
    from hddnn.serving import Reply

COLUMNS = ("file", "stage", "class", "confidence", "ms", "device", "why")


def check_table(path: Path) -> None:
    """Raise InputError unless a table can be written to the path; makes nothing."""
    if path.suffix != ".csv":
        raise InputError(f"cannot tell the format of {path}: name it with .csv")
    check_place(path)
    if path.is_dir():
        raise InputError(f"{path} is a folder; name a file")


class ImagesBar(Bars):
    """One bar for the images that are through; enter it around the work. Without a terminal there is nothing."""

    def __init__(self, console: Console, total: int) -> None:
        columns = TextColumn("images"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn()
        super().__init__(console, *columns)
        self._bar = self._progress.add_task("images", total=total)

    def advance(self) -> None:
        """Count one more."""
        self._progress.advance(self._bar)


class Answers:
    """Takes replies as they come, prints and writes them, and counts them.

    Args:
        files: What they are about, by the index that replies are told with.
        devices: Names of those who may answer.
        form: "lines", "json", or "" for printing nothing.
        table: Where to write rows of COLUMNS; None for nowhere.
    """

    def __init__(self, files: list[Path], devices: list[str], form: str, table: TextIO | None) -> None:
        self._files, self._form = files, form
        self._out = sys.stdout  # bars take its name, not the stream
        self._widths = max(len(str(file)) for file in files), max(map(len, devices))
        self._rows = None if table is None else csv.writer(table)
        self._times_s: dict[str, list[float]] = {"coarse": [], "fine": []}
        self.prints = bool(form)
        self.missing: set[int] = set()
        self.through = 0
        if self._rows:
            self._rows.writerow(COLUMNS)

    def take(self, index: int, reply: Reply) -> None:
        """Take a reply about the file of that index."""
        name, answered = str(self._files[index]), reply.label is not None
        self.through += reply.final
        if answered:
            self._times_s[reply.stage].append(reply.response_s)
        else:
            self.missing.add(index)
        if self._form:
            # NaN is no JSON.
            fields = {"file": name, **asdict(reply), "confidence": reply.confidence if answered else None}
            fields["image"] = index
            text = json.dumps(fields) if self._form == "json" else self._line(name, reply)
            click.echo(text, file=self._out)
        if self._rows:
            numbers = (f"{reply.confidence:.4f}", f"{reply.response_s * 1e3:.1f}") if answered else ("", "")
            self._rows.writerow((name, reply.stage, reply.label or "", *numbers, reply.device, reply.why))

    def unread(self, index: int, why: str) -> None:
        """Take word that a file could not be read."""
        name = str(self._files[index])
        self.through += 1
        self.missing.add(index)
        if self._form == "json":
            click.echo(json.dumps({"file": name, "image": index, "label": None, "why": why}), file=self._out)
        elif self._form:
            click.echo(f"{name:{self._widths[0]}}  no answer: {why}", file=self._out)
        if self._rows:
            self._rows.writerow((name, "", "", "", "", "", why))

    def medians(self) -> str:
        """Return the median response of each stage, as it is told at the end."""
        told = [f"{stage} {median(times) * 1e3:.1f} ms" for stage, times in self._times_s.items() if times]
        return ", ".join(told) or "none"

    def _line(self, name: str, reply: Reply) -> str:
        start = f"{name:{self._widths[0]}}  {reply.stage:6}  "
        if reply.label is None:
            return f"{start}no answer: {reply.why}"
        took = f"{reply.response_s * 1e3:6.1f} ms"
        return f"{start}{took}  {reply.device:{self._widths[1]}}  {reply.confidence:4.2f}  {reply.label}"


class Stopped(Exception):
    """The work ended early, and what is there is to be kept; why: what was raised."""

    def __init__(self, why: BaseException) -> None:
        super().__init__(str(why))
        self.why = why


@contextmanager
def table_at(path: Path | None) -> Iterator[TextIO | None]:
    """Give a file to write a table to, which is at its place when the block ends well or raises Stopped."""
    if path is None:
        yield None
        return
    stopped: Stopped | None = None
    with (
        written(path) as half,
        half.open("w", newline="", encoding="utf-8", errors="surrogateescape") as file,
    ):
        try:
            yield file
        except Stopped as error:
            stopped = error
    if stopped is not None:
        raise stopped


def why_stopped(error: BaseException) -> str:
    """Return in a few words why the work ended early."""
    return str(error) if isinstance(error, HddnnError) else "stopped"
