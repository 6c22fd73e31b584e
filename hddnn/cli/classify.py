"""`hddnn classify`: answer some image files on the devices of a topology."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import click

from hddnn.cli.console import Interrupts, fail, one_line_errors
from hddnn.cli.options import ADDRESS, TLS, topology_option
from hddnn.errors import JobIncomplete

if TYPE_CHECKING:
    from hddnn.serving import Reply


@click.command()
@click.argument("files", metavar="IMAGE...", nargs=-1, required=True, type=click.Path(path_type=Path))
@topology_option("The devices; they run at their own speed, with no emulated links.", default="laptop")
@click.option("--scheme", default="end-edge", show_default=True, metavar="NAME", help="Which devices answer.")
@ADDRESS
@TLS
@click.option(
    "--deadline",
    "deadline_s",
    type=float,
    metavar="S",
    help="Seconds after which an answer that is not there does not come any more.",
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line instead of columns.")
@one_line_errors
def classify(
    files: tuple[Path, ...], spec: str, as_json: bool, deadline_s: float | None, **options: Any
) -> None:
    """Answer image files of any size and format: a line for each coarse answer, and one for the fine one after it.

    Exit code 0: all answered; 1: some answers did not come; 2: wrong usage or input, nothing was run.

    \b
    Examples:
      hddnn classify cat.png dog.jpg
      hddnn classify photos/*.jpg --address tcp://10.0.0.1:8786 --topology site.yaml --json
    """
    import numpy as np

    from hddnn.data import images
    from hddnn.serving import Session

    with Interrupts():
        session = Session(spec, queue=max(256, len(files)), **options)
        height, width, _ = session.image_shape
        pixels = np.stack([images.read(file, height, width) for file in files])
        widths = max(len(str(file)) for file in files), max(len(d.name) for d in session.topology.devices)
        times_s: dict[str, list[float]] = {"coarse": [], "fine": []}
        missing = 0
        with session:
            for reply in session.classify(pixels, deadline_s=deadline_s):
                name = str(files[reply.image])
                click.echo(_json(name, reply) if as_json else _line(name, reply, widths))
                if reply.label is None:
                    missing += 1
                else:
                    times_s[reply.stage].append(reply.response_s)
    told = [f"{stage} {median(times) * 1e3:.1f} ms" for stage, times in times_s.items() if times]
    click.echo(f"median response: {', '.join(told) or 'none'}", err=True)
    if missing:
        fail(f"{missing} of {len(files)} images lack an answer; see above", JobIncomplete.exit_code)


def _json(name: str, reply: Reply) -> str:
    fields = {"file": name, **asdict(reply)}
    # NaN is no JSON.
    return json.dumps(fields | {"confidence": None if reply.label is None else reply.confidence})


def _line(name: str, reply: Reply, widths: tuple[int, int]) -> str:
    start = f"{name:{widths[0]}}  {reply.stage:6}  "
    if reply.label is None:
        return f"{start}no answer: {reply.why}"
    took = f"{reply.response_s * 1e3:6.1f} ms"
    return f"{start}{took}  {reply.device:{widths[1]}}  {reply.confidence:4.2f}  {reply.label}"
