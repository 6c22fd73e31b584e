"""Measure what the README shows, and put it there: its tables and its picture.

Every block between `<!-- begin NAME -->` and `<!-- end NAME -->` is replaced by the output of a command run here
and now, so that no number there is typed in by hand. Takes three hours; nothing else should be running.

    python scenarios/readme.py            # all
    python scenarios/readme.py run        # one block
"""

from __future__ import annotations

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
    "pipelining", "overhead", "throughput", "start_up", "client_memory",
    "fault_tolerance", "hedging", "soak", "heartbeat_interval", "detection",
    "codec", "encryption_overhead", "privacy", "response", "serve",
)  # fmt: skip
#: Blocks that a command of hddnn's own fills, told where to put cube and picture.
COMMANDS = {
    "run": ["run", "--out", "{folder}/run.nc"],
    "bench": ["zoo", "bench", "--out", "{folder}/bench.nc"],
    "audit": ["audit", "resnet34", "--out", "{folder}/audit"],
}
NAMES = (*COMMANDS, *SCENARIOS, "machine")


def measured(name: str, folder: Path) -> str:
    """Return what the command of a block prints."""
    command = [sys.executable, str(ROOT / "scenarios" / f"{name}.py"), "--out", str(folder / f"{name}.nc")]
    if name in COMMANDS:
        words = [word.format(folder=folder) for word in COMMANDS[name]]
        command = children.command("hddnn", *words)
    done = subprocess.run(
        command, stdout=subprocess.PIPE, text=True, check=True, env={**os.environ, "COLUMNS": "110"}
    )
    lines = [line for line in done.stdout.splitlines() if not line.startswith("cube:")]
    return "\n".join(f"    {line}".rstrip() for line in lines)


def machine() -> str:
    """Return one line on what the figures were measured on."""
    return f"Measured with hddnn {__version__} on {description()}, Python {platform.python_version()}."


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(NAMES))
def main(names: tuple[str, ...]) -> None:
    """Fill the named blocks of the README, or all."""
    readme = ROOT / "README.md"
    with tempfile.TemporaryDirectory() as folder:
        for name in names or NAMES:
            print(name, flush=True)
            block = machine() if name == "machine" else measured(name, Path(folder))
            pattern = rf"(<!-- begin {name} -->\n).*?(<!-- end {name} -->)"
            text, count = re.subn(
                pattern,
                lambda m, block=block: f"{m[1]}\n{block}\n\n{m[2]}",
                readme.read_text(),
                flags=re.DOTALL,
            )
            if count != 1:
                raise click.ClickException(f"README.md has {count} blocks {name}; it needs one")
            readme.write_text(text)
            (ROOT / "docs" / "images").mkdir(parents=True, exist_ok=True)
            for picture in (*Path(folder).glob(f"{name}.png"), *Path(folder).glob(f"{name}/*.png")):
                (ROOT / "docs" / "images" / f"{name}.png").write_bytes(picture.read_bytes())


if __name__ == "__main__":
    main()
