"""Options that name a class: a scheme, a policy or an engine, hddnn's own or a user's, with options of its own."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

from hddnn.errors import InputError

if TYPE_CHECKING:
    from hddnn._util.extensions import Extensions


class NamingOption(click.Option):
    """An option whose help lists the classes that there are, each with its caption.

    kind: where they are found, "module:name" of an `Extensions`; it is imported when help is asked for.
    """

    def __init__(self, *args: Any, kind: str, **attributes: Any) -> None:
        super().__init__(*args, **attributes)
        self.kind = kind

    def get_help_record(self, context: click.Context) -> tuple[str, str] | None:
        module, _, name = self.kind.partition(":")
        extensions = getattr(importlib.import_module(module), name)
        captions = [f"{each}: {_caption(extensions, each)}" for each in extensions]
        flags, text = super().get_help_record(context) or ("", "")
        begin, bracket, default = text.partition("  [")
        listed = f"{begin} {'; '.join(captions)}; or FILE.py:CLASS."
        return flags, listed + bracket + default


def _caption(extensions: Extensions[Any], name: str) -> str:
    try:
        return str(extensions.find(name).caption)
    except InputError:  # of an installed package; who asks for help is not to lose it for that
        return "cannot be loaded"


def naming_option(
    *flags: str, kind: str, **attributes: Any
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return an option that names a class; see NamingOption."""
    return click.option(*flags, cls=NamingOption, kind=kind, **attributes)


def schemes_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command --scheme and --schemes.

    It takes `scheme`, a tuple of texts, and `schemes`, a text or None.
    """
    for option in (
        click.option(
            "--schemes",
            metavar="A,B,...",
            help="Short for several schemes without options.  [default: those that there are devices for]",
        ),
        naming_option(
            "--scheme",
            kind="hddnn.schemes:SCHEMES",
            multiple=True,
            metavar="NAME[:OPTION=VALUE]",
            help="Where images go; several times for several schemes, each run in turn.",
        ),
    ):
        command = option(command)
    return command


def requests_scheme(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command that answers single requests its --scheme; it takes `scheme`, a text."""
    return naming_option(
        "--scheme",
        kind="hddnn.schemes:SCHEMES",
        metavar="NAME[:OPTION=VALUE]",
        default="end-edge",
        show_default=True,
        help="Who answers.",
    )(command)


def named_schemes(scheme: tuple[str, ...], schemes: str | None) -> list[str] | None:
    """Return the texts of the schemes that were asked for, in order; None for none."""
    listed = [] if schemes is None else [name.strip() for name in schemes.split(",")]
    return [*listed, *scheme] or None
