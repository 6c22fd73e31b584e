"""The part of the command line that is about networks of the user's own: `hddnn zoo add`, `hddnn zoo remove`."""

from __future__ import annotations

import math
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from hddnn.cli.console import Interrupts, one_line_errors
from hddnn.cli.options import FOLDER, PLACE, TEXT

if TYPE_CHECKING:
    from hddnn.zoo import Card


class Size(click.ParamType):
    """HEIGHTxWIDTH in pixels, as (height, width)."""

    name = "HxW"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[int, int]:
        parts = str(value).lower().split("x")
        if len(parts) != 2 or not all(part.isascii() and part.isdigit() and int(part) for part in parts):
            self.fail(f"'{value}' is no size; give height x width in pixels, such as 32x32", param, ctx)
        return int(parts[0]), int(parts[1])


class Channels(click.ParamType):
    """Three numbers with commas between, one for each of red, green and blue; one number stands for all three."""

    name = "R,G,B"

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> tuple[float, ...]:
        try:
            numbers = tuple(float(part) for part in str(value).split(","))
        except ValueError:
            numbers = ()
        if len(numbers) not in (1, 3):
            self.fail(f"'{value}' is not allowed; give three numbers, such as 0.5,0.5,0.5", param, ctx)
        return numbers if len(numbers) == 3 else numbers * 3


@click.command("add")
@click.argument("name")
@click.option(
    "--onnx", "file", type=PLACE, required=True, metavar="FILE", help="The network: images to scores."
)
@click.option(
    "--labels",
    type=PLACE,
    required=True,
    metavar="FILE",
    help="Its classes' names, one a line, in the order of its outputs.",
)
@click.option(
    "--stem-output",
    metavar="TENSOR",
    help="Where to split it: the tensor sent instead of images.  [default: the first convolution's output]",
)
@click.option(
    "--task",
    type=click.Choice(["fine", "coarse"]),
    default="fine",
    show_default=True,
    help="Which classes of a data set it answers: coarse for end devices, fine for edge devices and clouds.",
)
@click.option(
    "--image-size",
    type=Size(),
    help="Size of the images that arrive; data sets have 32x32.  [default: 32x32]",
)
@click.option(
    "--input-size", type=Size(), help="Size that they are resized to.  [default: what the network takes]"
)
@click.option(
    "--mean", type=Channels(), help="Taken from pixels that are scaled to 0..1.  [default: ImageNet's]"
)
@click.option("--std", type=Channels(), help="What they are then divided by.  [default: ImageNet's]")
@click.option(
    "--runtime",
    type=click.Choice(["openvino", "onnxruntime"]),
    default="openvino",
    show_default=True,
    help="What devices run it in; onnxruntime, of the extra bench, where OpenVINO answers otherwise.",
)
@click.option(
    "--data", type=TEXT, metavar="sample|cifar100|DIR", help="Measure the accuracy on these images."
)
@click.option(
    "--data-root",
    type=FOLDER,
    metavar="DIR",
    help="For cifar100: folder with cifar-100-python/.",
)
@click.option("--replace", is_flag=True, help="An own network of that name gives way.")
@one_line_errors
def add(name: str, file: Path, data: str | None, data_root: Path | None, **options: Any) -> None:
    """Add a network of your own from an ONNX file, to be used by NAME in topologies.

    It is checked, split in two, timed, and compared with what onnxruntime, or else ONNX's reference evaluator,
    makes of the file as it is. Needs: pip install 'hddnn[onnx]'.

    \b
    Example:
      hddnn zoo add gulls --onnx gulls.onnx --labels gulls.txt --mean 0.5 --std 0.5
    """
    with Interrupts():  # a SIGTERM, too, leaves nothing half in the store
        _add(name, file, data, data_root, **options)


def _add(name: str, file: Path, data: str | None, data_root: Path | None, **options: Any) -> None:
    from hddnn.data.datasets import load_dataset
    from hddnn.errors import InputError
    from hddnn.importing import from_onnx

    if data is None and data_root is not None:
        raise InputError("--data-root is for --data cifar100 only")
    size = options["image_size"] or (32, 32)
    measured = None if data is None else load_dataset(data, data_root, image_size=size)
    given = {option: value for option, value in options.items() if value is not None}
    bundle = from_onnx(file, name, data=measured, **given)
    card = bundle.card
    origin, shape = card.origin, "x".join(map(str, card.stem_shape))
    before, after = ("x".join(map(str, size)) for size in (card.input_shape[:2], origin["input_size"]))
    size = before if before == after else f"{before}, resized to {after}"
    accuracy = "".join(f", {level} accuracy {share:.3f} on {data}" for level, share in card.accuracy.items())
    click.echo(f"{name}: {len(card.labels)} {card.task} classes, {card.parameters:,} parameters{accuracy}")
    click.echo(f"images: {size}; mean {_listed(card.mean)}, std {_listed(card.std)}")
    click.echo(f"split at: {origin['stem_output']} ({origin['stem_op']}), {shape}")
    click.echo(sent(card))
    if "smaller_splits" in origin:
        _say_smaller(origin["smaller_splits"])
    if origin["ending"]:
        click.echo(f"logits: {origin['ending']}")
    click.echo(f"answers: as {origin['reference']} answers, run in {card.runtime}")
    click.echo(f"time: {card.service_time}, one thread")
    click.echo(f"kept in: {bundle.path}; use it in a topology as network: {name}")


def sent(card: Card) -> str:
    """Say what goes up of an image where its features are sent, beside the image itself."""
    values = math.prod(card.stem_shape)
    times = f"{values / card.raw_bytes:.2g} times the image's {card.raw_bytes:,}"
    return f"sent: up to {values:,} bytes an image (a byte a value, before it is compressed), {times}"


def _say_smaller(places: list[dict[str, Any]]) -> None:
    """Say where a network that sends more than the image itself can be split better, and how that is asked for."""
    if not places:
        click.echo("no place at which this network can be split sends less than the image")
        return
    click.echo("these places send less than the image; add it again with --replace and one of them:")
    for place in places:
        values = math.prod(map(int, place["shape"].split("x")))
        what = f"{place['shape']} of {place['op']}: {values:,} bytes"
        behind = f"behind {place['weights_before']:.1%} of the weights"
        click.echo(f"  --stem-output {shlex.quote(place['at'])}   {what}, {behind}")


@click.command("remove")
@click.argument("name")
@one_line_errors
def remove(name: str) -> None:
    """Delete a network of your own."""
    from hddnn import zoo

    zoo.remove(name)
    click.echo(f"removed {name}")


def _listed(values: tuple[float, ...]) -> str:
    return ", ".join(f"{value:g}" for value in values)
