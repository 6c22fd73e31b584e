"""The paper's whole evaluation: every table and figure measured again, and one report of it.

Runs the scenarios of the paper's tables and one job under all schemes, of sizes that fit into half an hour or as
long as is given; nothing else should be running. What was stopped goes on where it was when started again; --fresh
begins anew, which it takes after a change of the code or of the data.

    python scenarios/paper.py --data cifar100 --data-root DIR
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from pathlib import Path

import click

from hddnn._util import children
from hddnn.cli.console import INCOMPLETE, fail
from hddnn.errors import InputError

FOLDER = Path(__file__).parent
MINUTES = 30.0
#: Scenario -> its share of the minutes, none where there is nothing to size; those in WITH_DATA take images of the
#: data set.
SCENARIOS = {
    "encoder_spec": 0.0,
    "model_size": 0.0,
    "inference_time": 0.04,
    "overhead": 0.04,
    "system_latency": 0.12,
    "encryption_overhead": 0.2,
    "fault_tolerance": 0.2,
    "scaling": 0.35,
}
WITH_DATA = ("scaling", "run")
PUBLISHED = ("scaling.png", "scaling-trade_off.png")
RUN = ["--images", "10000", "--compute", "replay", "--time-scale", "0.1"]


def commands(
    folder: Path, data: list[str], smoke: bool, fresh: bool, minutes: float = MINUTES
) -> dict[str, list[str]]:
    """Return what is run, by name."""
    made = {}
    for name, share in SCENARIOS.items():
        options = ["--minutes", f"{share * minutes:.3g}"] if share else []
        words = ["--smoke"] if smoke else options if fresh else [*options, "--resume"]
        made[name] = [sys.executable, str(FOLDER / f"{name}.py"), *words]
    made["run"] = children.command("hddnn", "run", *(["--engine", "closed"] if smoke else RUN))
    for name, command in made.items():
        command += ["--out", str(folder / f"{name}.nc"), *(data if name in WITH_DATA else [])]
    return made


@click.command(context_settings={"show_default": True})
@click.option("--data", default="sample", metavar="sample|cifar100|DIR", help="The images.")
@click.option("--data-root", metavar="DIR", help="Of cifar100.")
@click.option(
    "--minutes",
    type=click.FloatRange(min=0, min_open=True),
    default=MINUTES,
    metavar="N",
    help="How long it may take, about; the job at the end takes a minute more.",
)
@click.option("--smoke", is_flag=True, help="Small: its numbers mean nothing.")
@click.option("--fresh", is_flag=True, help="Measure anew what is there.")
@click.option("--only", metavar="A,B,...", help="Some of it; the report is of all that is there.")
@click.option(
    "--folder",
    type=click.Path(path_type=Path),
    metavar="DIR",
    help="Of cubes and page.  [default: results/paper]",
)
@click.option(
    "--publish",
    type=click.Path(path_type=Path, exists=True),
    metavar="DIR",
    help="Copy page and figures there.",
)
def main(
    data: str,
    data_root: str | None,
    minutes: float,
    smoke: bool,
    fresh: bool,
    only: str | None,
    folder: Path | None,
    publish: Path | None,
) -> None:
    """Measure everything and write the report."""
    images = ["--data", data, *(["--data-root", data_root] if data_root else [])]
    folder = folder or Path("results/paper-smoke" if smoke else "results/paper")
    if smoke and publish:
        fail("what --smoke measures is not for publishing", InputError.exit_code)
    made = commands(folder, images, smoke, fresh, minutes)
    names = only.split(",") if only else list(made)
    if unknown := set(names) - set(made):
        there = ", ".join(made)
        fail(f"nothing here is called {', '.join(sorted(unknown))}; there are {there}", InputError.exit_code)
    for number, name in enumerate(names, 1):
        start_s = time.monotonic()
        click.echo(f"{name} ({number} of {len(names)})", err=True)
        try:
            code = subprocess.run(made[name], check=False).returncode
        except KeyboardInterrupt:  # the script has it from the terminal, too, and says so
            code = INCOMPLETE
        if code == InputError.exit_code:
            fail(f"{name} was refused, see above; --fresh begins anew, --folder DIR elsewhere", code)
        if code:
            fail(f"{name} did not finish; start the same command again to go on", INCOMPLETE)
        click.echo(f"{name}: {time.monotonic() - start_s:.0f} s\n", err=True)
    out = folder / "report.html"
    subprocess.run(children.command("hddnn", "report", str(folder), "--out", str(out)), check=True)
    if publish:
        for source in (out, *(folder / name for name in PUBLISHED)):
            shutil.copy(source, publish / source.name)


if __name__ == "__main__":
    main()
