"""`hddnn classify`: answer image files, or folders of them, on the devices of a topology."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hddnn._util import terminal
from hddnn._util.paths import claimed, replaced
from hddnn.cli.answers import Answers, ImagesBar, Stopped, check_table, table_at, why_stopped
from hddnn.cli.console import Interrupts, fail, one_line_errors
from hddnn.cli.extensions import requests_scheme
from hddnn.cli.options import ADDRESS, PLACE, TLS, WAIT, topology_option
from hddnn.errors import DataError, HddnnError, JobIncomplete

if TYPE_CHECKING:
    import numpy as np

    from hddnn.serving import Session

#: Images that are handed to the devices together: what they take is told from then on, so not too many.
AT_ONCE = 64


@click.command()
@click.argument("files", metavar="IMAGE|DIR...", nargs=-1, required=True, type=PLACE)
@topology_option("The devices; they run at their own speed, with no emulated links.", default="laptop")
@requests_scheme
@ADDRESS
@WAIT
@TLS
@click.option(
    "--deadline",
    "deadline_s",
    type=float,
    metavar="S",
    help="Seconds after which an answer that is not there does not come any more.",
)
@click.option(
    "--out",
    type=PLACE,
    metavar="FILE.csv",
    help="Write a table instead of lines: file, stage, class, confidence, ms, device, why there is no answer.",
)
@click.option(
    "--json",
    "as_json",
    is_flag=True,
    help="One JSON object a line instead of columns; with --out, beside the table.",
)
@one_line_errors
def classify(
    files: tuple[Path, ...],
    spec: str,
    as_json: bool,
    deadline_s: float | None,
    out: Path | None,
    wait_s: float | None,
    **options: Any,
) -> None:
    """Answer image files of any size and format: a line for each coarse answer, and one for the fine one after it.

    Of a folder, all images in it and in the folders below it are taken. Times are from when an image is handed to
    the devices, with up to 63 others.

    Exit code 0: all answered; 1: some answers did not come, or some image of a folder could not be read; 2: wrong
    usage or input, nothing was run.

    \b
    Examples:
      hddnn classify cat.png dog.jpg
      hddnn classify photos/ --out answers.csv
      hddnn classify photos/*.jpg --address tcp://10.0.0.1:8786 --topology site.yaml --json
    """
    from hddnn.serving import Session

    with Interrupts(), nullcontext() if out is None else claimed(out):
        if out is not None:
            check_table(out)
        found, named = _found(files)
        session = Session(
            spec,
            queue=max(256, AT_ONCE),
            deadline_s=deadline_s,
            wait_s=wait_s or 0.0,
            awaiting=lambda missing: click.echo(f"waiting for {', '.join(missing)}", err=True),
            **options,
        )
        first = _read(found[:AT_ONCE], session)
        for file, (_, why) in zip(found, first, strict=False):
            # What is named has to be one, and so has some image of a folder.
            if why and (file in named or (len(found) <= AT_ONCE and all(one[1] for one in first))):
                raise DataError(why)
        before = "" if out is None else replaced(out)
        form = "json" if as_json else "" if out else "lines"
        stopped = ""
        try:
            with table_at(out) as table:
                answers = Answers(found, [device.name for device in session.topology.devices], form, table)
                _answer(session, found, first, answers)
        except Stopped as error:
            stopped = f"{why_stopped(error.why)}; {answers.through} of {len(found)} images are through"
    click.echo(f"median response: {answers.medians()}", err=True)
    if out is not None:
        click.echo(f"answers: {out}{before}   images: {len(found)}")
    if stopped:
        fail(stopped, JobIncomplete.exit_code)
    if answers.missing:
        where = "above" if out is None else str(out)
        fail(
            f"{len(answers.missing)} of {len(found)} images lack an answer; see {where}",
            JobIncomplete.exit_code,
        )


def _found(given: Sequence[Path]) -> tuple[list[Path], set[Path]]:
    """Return the files to answer, each once, and which of them were named themselves."""
    from hddnn.data import folders

    found: dict[Path, None] = {}
    named = {path for path in given if not path.is_dir()}
    for path in given:
        found |= dict.fromkeys([path] if path in named else folders.pictures(path))
    return list(found), named


def _read(files: Sequence[Path], session: Session) -> list[tuple[np.ndarray | None, str]]:
    """Return each image as the session takes it, or None and why it cannot be read."""
    from hddnn.data import images

    height, width, _ = session.image_shape
    read: list[tuple[np.ndarray | None, str]] = []
    for file in files:
        try:
            read.append((images.read(file, height, width), ""))
        except DataError as error:
            read.append((None, str(error)))
    return read


def _answer(
    session: Session,
    files: Sequence[Path],
    read: list[tuple[np.ndarray | None, str]],
    answers: Answers,
) -> None:
    """Let the devices answer all files; read: the first AT_ONCE of them. Raises Stopped once some are through."""
    import numpy as np

    # A bar and lines do not go into one terminal.
    quiet = answers.prints and sys.stdout.isatty()
    try:
        with (
            session,
            ImagesBar(terminal.bars(quiet=quiet), len(files)) as bar,
            ThreadPoolExecutor(1) as reader,  # reads on while the devices compute
        ):
            for begin in range(0, len(files), AT_ONCE):
                ahead = reader.submit(_read, files[begin + AT_ONCE : begin + 2 * AT_ONCE], session)
                for index, (_, why) in enumerate(read, begin):
                    if why:
                        answers.unread(index, why)
                        bar.advance()
                rows = [index for index, (pixels, _) in enumerate(read, begin) if pixels is not None]
                if rows:
                    pixels = np.stack([one for one, _ in read if one is not None])
                    for reply in session.classify(pixels):
                        answers.take(rows[reply.image], reply)
                        if reply.final:
                            bar.advance()
                read = ahead.result()
    except (KeyboardInterrupt, HddnnError) as error:
        if not answers.through:
            raise
        raise Stopped(error) from error
