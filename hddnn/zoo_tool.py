"""Make a bundle from trained weights, and measure it.

Every number of the card is measured or computed here; only how the weights were trained is told by the
caller. Needs the extra `torch`. Run as: python -m hddnn.zoo_tool NETWORK WEIGHTS.pt OUT --data-root DIR ...
"""

from __future__ import annotations

from pathlib import Path

import click
import numpy as np
import torch

from hddnn.data import Dataset, load_dataset
from hddnn.errors import BundleError, HddnnError
from hddnn.runtimes.openvino import OpenVINO
from hddnn.zoo import Bundle, PartPrecision
from hddnn.zoo.export import export
from hddnn.zoo.networks import Network, build

# Share of images whose top-1 answer must be the torch network's.
AGREEMENT_F32 = 0.999
AGREEMENT_DEFAULT = 0.995


def make_bundle(
    architecture: str,
    weights: Path,
    out: Path,
    data: Dataset,
    *,
    task: str,
    training: dict[str, object],
    threads: int = 2,
) -> Bundle:
    """Export weights (a plain state dict) to a bundle in `out`, measured on `data`; returns it.

    Raises BundleError when the weights do not fit or the exported files do not reproduce the network.
    """
    labels = data.labels.levels[task]
    network = build(architecture, len(labels))
    network.load_plain(torch.load(weights, weights_only=True, map_location="cpu"))
    facts = export(network, out)
    facts |= {"name": out.name, "architecture": architecture, "task": task, "labels": labels}
    draft = Bundle.create(out, **facts, seconds_per_image=1.0)  # measured below, when the precision is known

    torch.set_num_threads(threads)
    reference = _torch_answers(network, data.images).argmax(1)
    agreement, logits, chosen = {}, {}, PartPrecision()
    # The stem stays in float32: it is cheap, and what it loses nothing behind it can restore.
    for precision in (PartPrecision(body="f32"), PartPrecision(body="default")):
        runtime = OpenVINO(draft, threads=threads, precision=precision)
        logits[precision.body] = _in_batches(runtime, data.images)
        agreement[precision.body] = float(np.mean(logits[precision.body].argmax(1) == reference))
    if agreement["f32"] < AGREEMENT_F32:
        raise BundleError(f"{out} agrees with its torch network on {agreement['f32']:.2%} of the images only")
    if agreement["default"] >= AGREEMENT_DEFAULT:
        chosen = PartPrecision(body="default")
    return Bundle.create(
        out,
        **facts,
        precision=chosen,
        agreement=agreement,
        accuracy=accuracies(logits[chosen.body], data, task),
        seconds_per_image=round(OpenVINO(draft, threads=1, precision=chosen).warm_up(50), 7),
        training=training,
    )


def accuracies(logits: np.ndarray, data: Dataset, task: str) -> dict[str, float]:
    """Return top-1 accuracy by level; coarse answers of a fine network by summing its fine probabilities.

    logits: float32 (N, classes of the level `task`), in the order of data.labels.
    """
    if task == "coarse":
        return {"coarse": float(np.mean(logits.argmax(1) == data.coarse))}
    odds = np.exp(logits - logits.max(1, keepdims=True))  # (N, fine), proportional to the probabilities
    members = np.eye(len(data.labels.coarse))[data.labels.fine_to_coarse]  # (fine, coarse)
    return {
        "fine": float(np.mean(logits.argmax(1) == data.fine)),
        "coarse": float(np.mean((odds @ members).argmax(1) == data.coarse)),
    }


def _in_batches(runtime: OpenVINO, images: np.ndarray, size: int = 50) -> np.ndarray:
    return np.concatenate([runtime.run(images[i : i + size]) for i in range(0, len(images), size)])


def _torch_answers(network: Network, images: np.ndarray, size: int = 250) -> np.ndarray:
    with torch.inference_mode():
        parts = [network(torch.from_numpy(images[i : i + size].copy())) for i in range(0, len(images), size)]
    return torch.cat(parts).numpy()


@click.command(help=__doc__)
@click.argument("network")
@click.argument("weights", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@click.argument("out", type=click.Path(file_okay=False, path_type=Path))
@click.option(
    "--data-root", type=click.Path(path_type=Path), required=True, help="Folder of cifar-100-python/."
)
@click.option("--task", type=click.Choice(["coarse", "fine"]), default="fine", show_default=True)
@click.option("--epochs", type=int, required=True, help="How long the weights were trained.")
@click.option("--recipe", required=True, help="How the weights were trained, in a sentence.")
def main(
    network: str, weights: Path, out: Path, data_root: Path, task: str, epochs: int, recipe: str
) -> None:
    try:
        data = load_dataset("cifar100", data_root)
        training = {"data": "CIFAR-100 training set", "epochs": epochs, "recipe": recipe}
        made = make_bundle(network, weights, out, data, task=task, training=training)
    except HddnnError as error:
        raise click.ClickException(str(error)) from error
    card = made.card
    click.echo(
        f"{card.name}: {card.parameters:,} parameters, accuracy {card.accuracy}, agreement {card.agreement}, "
    )
    click.echo(f"precision {card.precision}, {card.seconds_per_image * 1e3:.3f} ms an image")


if __name__ == "__main__":
    main()
