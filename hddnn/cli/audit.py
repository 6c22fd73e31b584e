"""The part of the command line that inverts features: `hddnn audit`."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hddnn._util import terminal
from hddnn._util.interrupts import held, let_through
from hddnn._util.paths import claimed
from hddnn.cli.console import SHORTLY, Interrupts, one_line_errors
from hddnn.cli.ending import end_with
from hddnn.cli.options import FOLDER
from hddnn.errors import InputError

if TYPE_CHECKING:
    from hddnn.audit import Setting


@click.command("audit")
@click.argument("network", metavar="NETWORK")
@click.option(
    "--attack",
    default="white-box",
    show_default=True,
    metavar="white-box|black-box|query-free",
    help="What the attacker has: the weights; queries to the end device's part; only the rest of the network.",
)
@click.option(
    "--depth",
    default="stem",
    show_default=True,
    metavar="PART",
    help="The last part on the end device: stem; block1 ...; layer1 ...; group1 ...",
)
@click.option(
    "--noise",
    type=float,
    metavar="S",
    help="Gaussian noise, added before the codec: S times each channel's standard deviation.  [default: what the "
    "network has by `hddnn zoo split --noise`, or 0]",
)
@click.option("--codec", metavar="NAME", help="How features are written down.  [default: what devices use]")
@click.option(
    "--images",
    type=int,
    default=16,
    show_default=True,
    metavar="N",
    help="Attacked: the first N packaged ones.",
)
@click.option("--seed", type=click.IntRange(min=0), default=0, show_default=True, metavar="N")
@click.option("--threads", type=click.IntRange(min=1), metavar="N", help="Of the CPU.  [default: all cores]")
@click.option(
    "--out",
    type=FOLDER,
    default=Path("results/audit"),
    show_default=True,
    metavar="DIR",
    help="Where picture and cube go: NETWORK-PART-ATTACK[-noiseS][-CODEC].png and .nc; no part for a default.",
)
@one_line_errors
def audit(network: str, out: Path, threads: int | None, **options: Any) -> None:
    """Invert the features that an end device would send instead of images, and say how much they show.

    Victims and the attacker's own images are the 2,000 packaged ones, all of CIFAR-100's test set: none trained
    the network. The attacker never has a victim, only its features as they arrive. Accuracy is of all 2,000.

    Below an SSIM of 0.3 He et al. (2019) call images unrecognizable. No figure here proves that images are safe:
    it says what one attack sees of images that are each sent once. `hddnn zoo split` makes a network of a depth
    and noise, which runs then keep to.

    \b
    Examples:
      hddnn audit resnet34
      hddnn audit resnet34 --depth layer2 --noise 1 --attack black-box
    """
    with Interrupts():
        _audit(network, out, threads, **options)


def file_name(setting: Setting) -> str:
    """Return how an audit's files are called, which no other defence's overwrite."""
    from hddnn.privacy.codec import DEFAULT

    words = [setting.bundle.card.name, setting.depth, setting.attack]
    if setting.noise:
        words.append(f"noise{setting.noise:g}")
    if setting.codec != DEFAULT:
        words.append(setting.codec)
    return "-".join(words)


def _audit(
    network: str,
    out: Path,
    threads: int | None,
    *,
    noise: float | None,
    codec: str | None,
    **options: Any,
) -> None:
    import os

    from hddnn import zoo
    from hddnn.privacy.codec import DEFAULT
    from hddnn.results import cubes

    try:
        import torch

        from hddnn.audit import Auditor, Setting, report
        from hddnn.audit.picture import figure
        from hddnn.cli.audit_progress import AuditBar
    except ModuleNotFoundError as error:
        lacks = str(error.name).partition(".")[0].replace("skimage", "scikit-image")
        raise InputError(f"an audit needs {lacks}: pip install 'hddnn[torch]'") from error

    bundle = zoo.bundle(network)
    if noise is None:
        noise = 0.0 if bundle.card.noise is None else bundle.card.noise.times
    setting = Setting(bundle, noise=noise, codec=codec or DEFAULT, **options)
    cube_path = out / f"{file_name(setting)}.nc"
    cubes.check_path(cube_path)
    torch.set_num_threads(threads or len(os.sched_getaffinity(0)))
    text = f"{setting.attack} on {setting.bundle.card.name} after {setting.depth}"
    with claimed(cube_path), held(SHORTLY) as hold:  # what is found is written
        with let_through(), AuditBar(terminal.bars(), text) as bar:
            auditor = Auditor(setting.bundle, setting.depth)
            found = auditor.audit(setting, bar.began)
            defence = auditor.defence(setting.noise, setting.codec, setting.seed)
        picture = {cube_path.with_suffix(".png"): partial(figure, found)}
        lines = [*report.lines(found, defence), report.verdict(found)]
        end_with(report.cube(found, defence), cube_path, picture, lambda: click.echo("\n".join(lines)))
        hold.taken()
