"""Measure what README and docs show, and put it there: tables and pictures.

Every block between `<!-- begin NAME -->` and `<!-- end NAME -->`, in README.md or in a page under docs/, is
replaced by the output of a command run here and now, so that no number there is typed in by hand; its last line
says when it was measured, with which version, on what. A block that stands on several pages is measured once and
filled in on each. Takes three hours; nothing else should be running.

    python scenarios/readme.py            # all
    python scenarios/readme.py run        # one block
"""

from __future__ import annotations

import datetime
import os
import platform
import re
import subprocess
import sys
import tempfile
from pathlib import Path

import click

from hddnn import __version__
from hddnn._util import children
from hddnn._util.host import description

ROOT = Path(__file__).parent.parent
SCENARIOS = (
    "pipelining", "laptop", "overhead", "throughput", "start_up", "client_memory",
    "fault_tolerance", "hedging", "soak", "heartbeat_interval", "detection",
    "false_alarms", "codec", "encryption_overhead", "privacy", "response", "serve",
)  # fmt: skip
#: Blocks that a command of hddnn's own fills, told where to put cube and picture.
COMMANDS = {
    "run": ["run", "--out", "{folder}/run.nc"],
    "bench": ["zoo", "bench", "--out", "{folder}/bench.nc"],
    "audit": ["audit", "resnet34", "--out", "{folder}/audit"],
}
NAMES = (*COMMANDS, *SCENARIOS)


def pages(root: Path) -> list[Path]:
    """Return the files that may hold blocks: the README and every page of the docs."""
    return [root / "README.md", *sorted((root / "docs").rglob("*.md"))]


def measured(name: str, folder: Path) -> str:
    """Return what the command of a block prints."""
    command = [sys.executable, str(ROOT / "scenarios" / f"{name}.py"), "--out", str(folder / f"{name}.nc")]
    if name in COMMANDS:
        words = [word.format(folder=folder) for word in COMMANDS[name]]
        command = children.command("hddnn", *words)
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, "COLUMNS": "110"}
    )
    return "\n".join(line for line in done.stdout.splitlines() if not line.startswith("cube:"))


def origin(day: datetime.date) -> str:
    """Return one line on when, with what and where figures were measured."""
    version = platform.python_version()
    return f"Measured on {day} with hddnn {__version__} on {description()}, Python {version}."


def fill(root: Path, name: str, output: str, origin: str) -> int:
    """Write a block anew wherever it stands.

    Args:
        root: the folder of README.md and docs/.
        name: the block's.
        output: what its command printed.
        origin: the line on when and where.

    Returns:
        The number of places that hold the block.
    """
    table = "\n".join(f"    {line}".rstrip() for line in output.splitlines())
    pattern = re.compile(rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)", re.DOTALL)
    places = 0
    for page in pages(root):
        text, count = pattern.subn(lambda m: f"{m[1]}\n{table}\n\n*{origin}*\n\n{m[2]}", page.read_text())
        if count:
            page.write_text(text)
        places += count
    return places


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(NAMES))
def main(names: tuple[str, ...]) -> None:
    """Fill the named blocks of README and docs, or all."""
    held = "".join(page.read_text() for page in pages(ROOT))
    for name in names or NAMES:
        if f"<!-- begin {name} -->" not in held:
            raise click.ClickException(
                f"no page holds {name}: write <!-- begin {name} --> and its end in one"
            )
    with tempfile.TemporaryDirectory() as folder:
        for name in names or NAMES:
            print(name, flush=True)
            fill(ROOT, name, measured(name, Path(folder)), origin(datetime.date.today()))
            (ROOT / "docs" / "images").mkdir(parents=True, exist_ok=True)
            for picture in (*Path(folder).glob(f"{name}.png"), *Path(folder).glob(f"{name}/*.png")):
                (ROOT / "docs" / "images" / f"{name}.png").write_bytes(picture.read_bytes())


if __name__ == "__main__":
    main()
