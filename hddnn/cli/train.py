"""The part of the command line that trains: `hddnn train`."""

from __future__ import annotations

from pathlib import Path
from time import monotonic
from typing import Any

import click

from hddnn._util import terminal
from hddnn._util.interrupts import held, let_through
from hddnn._util.paths import claimed
from hddnn.cli.console import SHORTLY, Interrupts, fail, one_line_errors
from hddnn.cli.options import FOLDER
from hddnn.errors import InputError, JobIncomplete


@click.command("train")
@click.argument("network", metavar="NETWORK")
@click.option(
    "--data-root",
    type=FOLDER,
    default=Path("data"),
    show_default=True,
    metavar="DIR",
    help="Folder with cifar-100-python/.",
)
@click.option("--download", is_flag=True, help="Get CIFAR-100 (169 MB) when it is not in --data-root.")
@click.option(
    "--recipe",
    "way",
    default="default",
    show_default=True,
    metavar="default|short|refine|paper",
    help="How: short for an afternoon on two cores, refine to go on from --start, paper as in its section 4.3.",
)
@click.option(
    "--epochs",
    type=click.IntRange(min=0),
    metavar="N",
    help="How long; 0: bundle what --start gives.  [default: the recipe's]",
)
@click.option(
    "--batch", type=click.IntRange(min=2), metavar="N", help="Images a step.  [default: the recipe's]"
)
@click.option(
    "--teacher",
    "teachers",
    multiple=True,
    metavar="NAME|DIR|none",
    help="A fine network whose answers are learned beside the labels; of several, the mean.  "
    "[default: the recipe's]",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="FIELD=VALUE",
    help="Another value of a recipe's field, as peak_rate=0.05; an unknown one lists them all.",
)
@click.option(
    "--start", metavar="NAME|DIR|FILE", help="Weights to begin with: a network, or .safetensors, or .pt."
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="N")
@click.option(
    "--device",
    type=click.Choice(["auto", "cpu", "cuda"]),
    default="auto",
    show_default=True,
    help="auto: CUDA where there is one.",
)
@click.option(
    "--threads", type=click.IntRange(min=1), metavar="N", help="Threads of the CPU.  [default: all cores]"
)
@click.option(
    "--workers",
    type=click.IntRange(min=0),
    metavar="N",
    help="Processes that crop and flip images.  [default: 0 on the CPU, 4 with CUDA]",
)
@click.option(
    "--precision",
    type=click.Choice(["auto", "f32", "bf16"]),
    default="auto",
    show_default=True,
    help="auto: bf16 where the device has it. On a CPU without AMX, f32 is quicker for mobilenet.",
)
@click.option("--resume", is_flag=True, help="Go on where a stopped training ended its last epoch.")
@click.option("--out", type=FOLDER, metavar="DIR", help="The bundle to write.  [default: networks/NETWORK]")
@one_line_errors
def train(
    network: str, out: Path | None, data_root: Path, resume: bool, download: bool, **options: Any
) -> None:
    """Train NETWORK on CIFAR-100 and write a bundle, measured on the test images.

    NETWORK is mobilenet, resnet34, wrn16_4 or wrn28_10. The bundle's folder can stand in a topology as the
    network of a device. 2,500 of the training images are held out: a temperature is fitted on them.

    Ctrl-C ends the training; --resume goes on after the last whole epoch, on a CPU to the very same weights.

    \b
    Examples:
      hddnn train mobilenet --data-root data --download
      hddnn train wrn28_10 --recipe paper --device cuda
      hddnn train resnet34 --start resnet34 --epochs 20 --set peak_rate=0.03
    """
    out = out or Path("networks") / network
    with Interrupts(), claimed(out):
        _train(network, out, data_root, resume=resume, download=download, **options)


def _read(settings: tuple[str, ...]) -> dict[str, Any]:
    """Return what --set gives, by field; lists as YAML writes them: steps=[0.5,0.8]."""
    import yaml

    from hddnn._util import yaml12

    changes: dict[str, Any] = {}
    for setting in settings:
        field, equals, text = setting.partition("=")
        try:
            value = yaml12.load(text)
        except (yaml.YAMLError, RecursionError):
            value = None
        if not equals or value is None:
            raise InputError(f"--set {setting}: write FIELD=VALUE, as peak_rate=0.05 or steps=[0.5,0.8]")
        if field in changes:
            raise InputError(f"--set gives {field} twice")
        changes[field] = value
    return changes


def _train(
    network: str,
    out: Path,
    data_root: Path,
    *,
    way: str,
    epochs: int | None,
    batch: int | None,
    teachers: tuple[str, ...],
    settings: tuple[str, ...],
    start: str | None,
    seed: int,
    device: str,
    threads: int | None,
    workers: int | None,
    precision: str,
    resume: bool,
    download: bool,
) -> None:
    import os

    from hddnn.results import tables
    from hddnn.training.recipes import recipe

    if "none" in teachers and len(teachers) > 1:
        raise InputError("--teacher none goes with no other --teacher")
    given: dict[str, Any] = {"epochs": epochs, "batch_size": batch, "teachers": teachers or None}
    if teachers == ("none",):
        given["teachers"] = ()
    changes = _read(settings)
    for field, value in given.items():
        if value is not None and field in changes:
            raise InputError(f"{field} is given by an option and by --set; give one of them")
    chosen = recipe(network, way).changed(
        changes | {field: value for field, value in given.items() if value is not None}
    )
    if chosen.epochs == 0 and start is None:
        raise InputError("--epochs 0 trains nothing; give --start the weights to make a bundle of")
    try:
        from hddnn.cli.train_progress import TrainingBars
        from hddnn.training.train import TrainingRun, checkpoint_path, chosen_device, train
    except ModuleNotFoundError as error:
        raise InputError(f"training needs {error.name}: pip install 'hddnn[torch]'") from error

    device = chosen_device(device)
    workers = workers if workers is not None else 4 if device == "cuda" else 0
    threads = threads or len(os.sched_getaffinity(0))
    run = TrainingRun(network, chosen, seed, start, device, threads, workers, precision)
    began = monotonic()
    with held(SHORTLY) as hold:  # what is trained is said to be
        try:
            with let_through(), TrainingBars(terminal.bars()) as bars:
                made = train(run, out, data_root, resume=resume, download=download, observer=bars)
        except KeyboardInterrupt:
            if not checkpoint_path(out).exists():
                raise
            after = f" after epoch {bars.done}" if bars.done else ""
            fail(f"stopped{after}; go on with the same command and --resume", JobIncomplete.exit_code)
        terminal.tables().print(tables.networks([made]))
        click.echo(f"bundle: {out}   ({(monotonic() - began) / 60:.1f} min)")
        hold.taken()
