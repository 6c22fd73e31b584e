"""Options that several commands have: what they mean is said once."""

from __future__ import annotations

from pathlib import Path

import click

FOLDER = click.Path(path_type=Path, file_okay=False)

ADDRESS = click.option(
    "--address",
    metavar="tcp://HOST:PORT",
    help="Join the devices behind this Dask scheduler instead of starting them here; tls://HOST:PORT with --tls.",
)
TLS = click.option(
    "--tls",
    type=FOLDER,
    metavar="DIR",
    help="Encrypt every connection, and let only those take part who have a certificate; see `hddnn certs`.",
)
