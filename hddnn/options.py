"""Options that several commands have: what they mean is said once."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click
from click.core import ParameterSource

FOLDER = click.Path(path_type=Path, file_okay=False)

ADDRESS = click.option(
    "--address",
    metavar="tcp://HOST:PORT",
    help="Join the devices behind this Dask scheduler instead of starting them here; tls://HOST:PORT with --tls.",
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
        default=default,
        required=required,
        show_default=default is not None,
        metavar="paper|laptop|FILE",
        help=about + ("  [HDDNN_TOPOLOGY]" if envvar else ""),
    )


def from_environment(name: str) -> bool:
    """Tell whether an option of the command that runs was given by its variable."""
    return click.get_current_context().get_parameter_source(name) is ParameterSource.ENVIRONMENT
