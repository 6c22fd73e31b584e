"""How a command of the command line ends: usage errors, what hddnn raises, Ctrl-C, each in one line."""

from __future__ import annotations

import errno
import io
import os
import signal
import sys
import threading
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import wraps
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self, TextIO, cast

import click

from hddnn._util.dask_config import check_dask_config
from hddnn._util.interrupts import SIGNALS
from hddnn.errors import CertificateError, HddnnError, InputError, JobIncomplete, PassedOver, first_line

INCOMPLETE = JobIncomplete.exit_code
#: What is said to a signal that has to wait.
SHORTLY = "hddnn: stopping already, a few seconds more\n"


class _Usage(click.ClickException):
    """A usage error in one line, as all others are."""

    exit_code = InputError.exit_code

    def show(self, file: Any = None) -> None:
        click.echo(f"hddnn: {self.message}", file=file, err=True)


@contextmanager
def _one_line_usage() -> Iterator[None]:
    try:
        yield
    except click.exceptions.NoArgsIsHelpError:
        raise
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "hddnn"
        raise _Usage(f"{error.format_message().rstrip('.')} (see {path} --help)") from None


class Group(click.Group):
    """A group whose usage errors take one line, below `dask`, too."""

    def make_context(self, *args: Any, **kwargs: Any) -> click.Context:
        with _one_line_usage():
            return super().make_context(*args, **kwargs)

    def invoke(self, ctx: click.Context) -> Any:
        _steady_streams()
        with _one_line_usage():
            return super().invoke(ctx)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """List the commands with the first sentence of each, however many lines it takes: click would cut it."""
        commands = [(name, self.get_command(ctx, name)) for name in self.list_commands(ctx)]
        rows = [(name, _first_sentence(found)) for name, found in commands if found and not found.hidden]
        if rows:
            with formatter.section("Commands"):
                formatter.write_dl(rows)


def _first_sentence(command: click.Command) -> str:
    """Return what a command does, without the examples and details of its help."""
    paragraph = (command.help or "").partition("\n\n")[0]
    return " ".join(paragraph.split()).partition(". ")[0].rstrip(".")


class Interrupts:
    """Let the first Ctrl-C, SIGTERM or SIGHUP raise KeyboardInterrupt; later ones do not cut the ending short."""

    def __enter__(self) -> Self:
        self._came = False
        self._before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            for number in SIGNALS:
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._hear)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _hear(self, number: int, frame: FrameType | None) -> None:
        if self._came:
            with suppress(OSError):  # nobody may be there to read it
                os.write(2, SHORTLY.encode())
            return
        self._came = True
        for one in self._before:  # a hold (see `held`) has nothing more to hold back
            signal.signal(one, self._hear)
        raise KeyboardInterrupt


@contextmanager
def _one_line_warnings() -> Iterator[None]:
    """Say in one line what of a data folder is passed over; other warnings stay as they are."""
    shown = warnings.showwarning

    def show(message: Warning | str, category: type[Warning], *rest: Any, **more: Any) -> None:
        if issubclass(category, PassedOver):
            click.echo(f"hddnn: {message}", err=True)
        else:
            shown(message, category, *rest, **more)

    with warnings.catch_warnings():
        warnings.showwarning = show
        yield


def one_line_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Turn what hddnn raises on purpose into one line on standard error and its exit code."""

    @wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> None:
        try:
            with _one_line_warnings():
                check_dask_config()
                command(*args, **kwargs)
        except CertificateError as error:
            spec = kwargs.get("spec")  # the command's --topology
            fail(str(error.of(spec) if spec else error), error.exit_code)
        except HddnnError as error:
            fail(str(error), error.exit_code)
        except OSError as error:
            if error.errno != errno.ENAMETOOLONG:
                raise
            # Whatever was looked up by it, a user gave it.
            fail(
                f"{str(error.filename)[:100]}...: {error.strerror}; give a shorter one", InputError.exit_code
            )
        except KeyboardInterrupt:
            fail("stopped before any answer; nothing was written", INCOMPLETE)

    return guarded


def in_turn(*steps: Callable[[], object]) -> None:
    """Take every step, whatever became of those before; then raise HddnnError with all that went wrong.

    For what is done once results are there: what cannot be shown must not cost what can be kept. Output that
    nobody takes (a pager that was left) is no error to speak of.
    """
    wrong: list[str] = []
    for step in steps:
        try:
            step()
        except HddnnError as error:
            wrong.append(str(error))
        except Exception as error:  # a figure that cannot be drawn, a table that cannot be set
            wrong.append(f"{type(error).__name__}: {first_line(error)}")
    told = [text for text in wrong if text]
    if wrong:
        raise HddnnError("; ".join(told))


class OutputLost(HddnnError):
    """Nobody takes what is written to standard output. Its text is empty where a reader simply left."""


class _Stream:
    """One of the standard streams; lost: called with what went wrong in writing, and returns where that is all."""

    def __init__(self, stream: TextIO, lost: Callable[[OSError], None]) -> None:
        self.stream, self._lost = stream, lost

    def __getattr__(self, name: str) -> Any:
        return getattr(self.stream, name)

    def write(self, text: str) -> int:
        try:
            return self.stream.write(text)
        except OSError as error:
            self._lost(error)
            return len(text)

    def flush(self) -> None:
        try:
            self.stream.flush()
        except OSError as error:
            self._lost(error)


def _output_lost(error: OSError) -> None:
    with suppress(OSError):  # a test's output is no file
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())  # else what is in its buffer is tried again at the end
        os.close(nowhere)
    told = "" if error.errno == errno.EPIPE else f"cannot write to standard output: {error.strerror}"
    raise OutputLost(told) from None


def _steady_streams() -> None:
    """Let no letter be too much for the terminal, and no note for standard error cost what it is about."""
    if sys.stdout is not None and not isinstance(sys.stdout, _Stream):
        if isinstance(sys.stdout, io.TextIOWrapper):
            sys.stdout.reconfigure(errors="replace")
        sys.stdout = cast(TextIO, _Stream(sys.stdout, _output_lost))
    if sys.stderr is not None and not isinstance(sys.stderr, _Stream):
        sys.stderr = cast(TextIO, _Stream(sys.stderr, lambda error: None))


def fail(text: str, code: int) -> NoReturn:
    """Say why in one line on standard error, unless there is nothing to say, and exit."""
    if text:
        from hddnn._util.validation import printable

        click.echo(f"hddnn: {printable(' '.join(text.split()))}", err=True)
    raise SystemExit(code)
