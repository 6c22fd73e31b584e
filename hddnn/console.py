"""How a command of the command line ends: usage errors, what hddnn raises, Ctrl-C, each in one line."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from types import FrameType, TracebackType
from typing import Any, NoReturn, Self

import click

from hddnn.errors import HddnnError, InputError, JobIncomplete

INCOMPLETE = JobIncomplete.exit_code


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
        with _one_line_usage():
            return super().invoke(ctx)


class Interrupts:
    """Let the first Ctrl-C or SIGTERM raise KeyboardInterrupt; later ones do not cut the ending short."""

    def __enter__(self) -> Self:
        self._before: dict[int, Any] = {}
        if threading.current_thread() is threading.main_thread():
            for number in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(number) is not signal.SIG_IGN:
                    self._before[number] = signal.signal(number, self._first)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def hold(self) -> None:
        """From now on, raise no KeyboardInterrupt: what is left to do is short."""
        for number in self._before:
            signal.signal(number, self._again)

    def _first(self, number: int, frame: FrameType | None) -> None:
        self.hold()
        raise KeyboardInterrupt

    def _again(self, number: int, frame: FrameType | None) -> None:
        os.write(2, b"hddnn: stopping already, a few seconds more\n")


def one_line_errors(command: Callable[..., None]) -> Callable[..., None]:
    """Turn what hddnn raises on purpose into one line on standard error and its exit code."""

    @wraps(command)
    def guarded(*args: Any, **kwargs: Any) -> None:
        try:
            command(*args, **kwargs)
        except HddnnError as error:
            fail(str(error), error.exit_code)
        except KeyboardInterrupt:
            fail("stopped before any answer; nothing was written", INCOMPLETE)

    return guarded


def fail(text: str, code: int) -> NoReturn:
    """Say why in one line on standard error, and exit."""
    click.echo(f"hddnn: {' '.join(text.split())}", err=True)
    raise SystemExit(code)
