"""`hddnn serve`: classify images over HTTP."""

from __future__ import annotations

import asyncio
import re
import warnings
from collections.abc import Sequence
from typing import Any

import click

from hddnn.cli.console import INCOMPLETE, fail, one_line_errors
from hddnn.cli.extensions import requests_scheme
from hddnn.cli.options import ADDRESS, ALLOW_MISSING, TLS, WAIT, bracketed, topology_option, unbracketed
from hddnn.errors import InputError

POSITIVE = click.IntRange(min=1)


@click.command()
@topology_option(
    "The devices; without --address they are started here, at their own speed.", default="laptop"
)
@ADDRESS
@WAIT
@ALLOW_MISSING
@TLS
@requests_scheme
@click.option("--host", default="127.0.0.1", show_default=True, metavar="HOST", help="Where to listen.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8000,
    show_default=True,
    metavar="N",
    help="Where to listen; 0: any free one.",
)
@click.option(
    "--max-batch",
    type=POSITIVE,
    default=32,
    show_default=True,
    metavar="N",
    help="Images that go to a device together, of whatever requests.",
)
@click.option(
    "--max-wait-ms",
    type=click.FloatRange(min=0),
    default=2.0,
    show_default=True,
    metavar="MS",
    help="How long an image waits for others to go with; longer under load.",
)
@click.option(
    "--queue",
    type=POSITIVE,
    default=256,
    show_default=True,
    metavar="N",
    help="Images that may be under way; more are refused at once (503).",
)
@click.option(
    "--deadline",
    "deadline_s",
    type=click.FloatRange(min=0, min_open=True),
    metavar="S",
    help="Seconds after which no answer is waited for, where a request gives none.  [default: none]",
)
@click.option(
    "--max-bytes",
    type=POSITIVE,
    default=10_000_000,
    show_default=True,
    metavar="N",
    help="Bytes that a request may bring; more are refused unread (413).",
)
@click.option(
    "--root-path",
    default="",
    metavar="/PATH",
    help="What a proxy before the service takes off the paths of requests.",
)
@click.option(
    "--dashboard/--no-dashboard", default=False, help="Serve live pages of the devices that are started here."
)
@one_line_errors
def serve(host: str, port: int, max_bytes: int, root_path: str, **options: Any) -> None:
    """Classify images over HTTP: POST one to /classify, and get a coarse and a fine answer as they come.

    / is a page to drop pictures on, /docs describes the interface, /healthz tells whether devices are live. Who
    can reach the port can ask, unencrypted: put a proxy before it to let others in.

    Ctrl-C answers what was accepted, and stops every process that was started.

    \b
    Examples:
      hddnn serve
      curl --data-binary @photo.jpg -H 'Content-Type: image/jpeg' http://127.0.0.1:8000/classify
    """
    try:
        _serve(unbracketed(host), port, max_bytes, _prefix(root_path), **options)
    except (KeyboardInterrupt, asyncio.CancelledError):
        fail("stopped before it was ready", INCOMPLETE)


def _prefix(root_path: str) -> str:
    """Return a prefix of paths as /a/b, or nothing."""
    parts = [part for part in root_path.split("/") if part]
    if not all(re.fullmatch(r"[\w.~-]+", part, re.ASCII) for part in parts):
        raise InputError(f"--root-path is {root_path!r}; give the path of an URL, such as /hddnn")
    return "".join(f"/{part}" for part in parts)


def _serve(
    host: str,
    port: int,
    max_bytes: int,
    root_path: str,
    spec: str,
    wait_s: float | None,
    allow_missing: bool | None,
    **options: Any,
) -> None:
    try:
        from hddnn.serving.http import server
        from hddnn.serving.http.requests import Limits
    except ModuleNotFoundError as error:
        raise InputError(f"serving needs {error.name}: pip install 'hddnn[serve]'") from error
    from hddnn import zoo
    from hddnn.serving import AsyncSession
    from hddnn.system.topology import Topology

    # Pillow warns of what is odd about an image: that is its sender's business.
    warnings.filterwarnings("ignore", module="PIL")
    system = Topology.load(spec, networks=zoo.names())

    def waiting(missing: Sequence[str]) -> None:
        click.echo(f"waiting for {', '.join(missing)}", err=True)

    session = AsyncSession(
        system,
        wait_s=wait_s or 0.0,
        allow_missing=bool(allow_missing),
        awaiting=waiting,
        noted=lambda line: click.echo(line, err=True),
        **options,
    )
    with server.bound(host, port) as listener:
        at = f"http://{bracketed(host)}:{listener.getsockname()[1]}"

        def ready() -> None:
            pages = f"   dashboard: {session.dashboard_link}" if session.dashboard_link else ""
            click.echo(f"{system.name} answers at {at}; Ctrl-C stops it{pages}")

        begins = "starting" if options["address"] is None else "joining"
        click.echo(f"{begins} the devices of {system.name}", err=True)
        limits = Limits(max_bytes, options["deadline_s"])
        asyncio.run(server.serve(session, listener, limits, ready, root_path))
