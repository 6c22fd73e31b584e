"""Options that several commands have: what they mean is said once."""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import click
from click.core import ParameterSource

from hddnn.errors import InputError


class GivenPath(click.Path):
    """A file or folder of a user's: "" is refused, which as a path would be the current folder."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(path_type=Path, **attributes)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":  # as a script has it whose variable is not set
            _refuse_empty(param, ctx)
        return super().convert(value, param, ctx)


class GivenText(click.ParamType):
    """Text that is not empty."""

    name = "text"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if value == "":
            _refuse_empty(param, ctx)
        return value


def _refuse_empty(param: click.Parameter | None, ctx: click.Context | None) -> NoReturn:
    if isinstance(param, click.Option):
        raise click.UsageError(f"{param.opts[0]} is empty; give it a name, or leave it out", ctx)
    raise click.UsageError("an argument is empty; give the name of a file or folder", ctx)


PLACE = GivenPath()
FOLDER = GivenPath(file_okay=False)
TEXT = GivenText()

ADDRESS = click.option(
    "--address",
    metavar="tcp://HOST:PORT",
    help="Join the devices behind this Dask scheduler instead of starting them here; tls://HOST:PORT with --tls.",
)
WAIT = click.option(
    "--wait",
    "wait_s",
    type=click.FloatRange(min=0),
    metavar="S",
    help="Wait at most so many seconds until all devices behind the address are live.  [default: 0]",
)
ALLOW_MISSING = click.option(
    "--allow-missing",
    is_flag=True,
    default=None,
    help="Begin without devices behind the address that are not there: each takes part from when it comes.",
)
TLS = click.option(
    "--tls",
    envvar="HDDNN_TLS",
    type=FOLDER,
    metavar="DIR",
    help="Encrypt every connection, and let only those take part who have a certificate; see `hddnn certs`.  "
    "[HDDNN_TLS]",
)


def topology_option(
    about: str, *, default: str | None = None, required: bool = False, envvar: bool = False
) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Return the option --topology, which a command takes as `spec`.

    about: what the command does with it. envvar: the variable HDDNN_TOPOLOGY gives it, too.
    """
    return click.option(
        "--topology",
        "spec",
        envvar="HDDNN_TOPOLOGY" if envvar else None,
        type=TEXT,
        default=default,
        required=required,
        show_default=default is not None,
        metavar="paper|laptop|FILE",
        help=about + ("  [HDDNN_TOPOLOGY]" if envvar else ""),
    )


def from_environment(name: str) -> bool:
    """Tell whether an option of the command that runs was given by its variable."""
    return click.get_current_context().get_parameter_source(name) is ParameterSource.ENVIRONMENT


def bracketed(host: str) -> str:
    """Return a host as it stands before a port, as in [::1]:8786, and as Dask wants it; ::1 and [::1] are one."""
    bare = unbracketed(host)
    try:
        return f"[{bare}]" if ipaddress.ip_address(bare).version == 6 else bare
    except ValueError:
        return host  # a name


def unbracketed(host: str) -> str:
    """Return a host as the system wants it: ::1 for [::1]."""
    return host[1:-1] if host.startswith("[") and host.endswith("]") else host


def own_host(host: str) -> str:
    """Return a host to listen at in Dask's form; raises InputError for one that is none of this machine's."""
    bare = unbracketed(host)
    if not bare:
        raise InputError("--host is empty; give an address of this machine, or 0.0.0.0 for all")
    fault: Exception | None = None
    try:
        for family, kind, protocol, _, address in socket.getaddrinfo(bare, 0, type=socket.SOCK_STREAM):
            try:
                with socket.socket(family, kind, protocol) as tried:
                    tried.bind(address)
                return bracketed(bare)
            except OSError as error:
                fault = error
    except (OSError, UnicodeError) as error:
        fault = error
    raise InputError(
        f"cannot listen at {host}: {fault}; give --host an address of this machine, or 0.0.0.0 for all"
    )


def own_hosts(words: Sequence[str]) -> Iterator[str]:
    """Yield the words of one of Dask's commands, with the host after --host in Dask's form; raises InputError."""
    follows = False
    for word in words:
        option, given, host = word.partition("=")
        if follows:
            word = word if "://" in word else own_host(word)
        elif option == "--host" and given:
            word = word if "://" in host else f"--host={own_host(host)}"
        yield word
        follows = word == "--host"
