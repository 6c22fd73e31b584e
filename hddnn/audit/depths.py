"""Where a network may be split: what runs on the end device, and what runs behind the link."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from hddnn import runtimes
from hddnn._util.validation import unknown
from hddnn.errors import InputError
from hddnn.runtimes import Runtime
from hddnn.zoo import Bundle
from hddnn.zoo.card import ONNX_ONLY
from hddnn.zoo.networks import Network, build, load_weights
from hddnn.zoo.onnx_files import read_weights

STEM = "stem"
Stages = list[tuple[str, nn.Module]]


@dataclass(frozen=True)
class Split:
    """A network in two parts, in evaluation mode, whose weights take no gradients.

    prefix: images (B, H, W, 3), uint8 or float 0..255 -> features (B, C, H', W'); suffix: features -> logits.
    known: whether the parts can be differentiated; not those of a network that is defined by its ONNX files alone.
    """

    depth: str
    prefix: nn.Module
    suffix: nn.Module
    known: bool = True

    @property
    def affine(self) -> bool:
        """Return whether features are affine in the pixels: least squares then inverts them."""
        return self.known and self.depth == STEM


def split(bundle: Bundle, depth: str) -> Split:
    """Split a network behind a named part; raises InputError listing the depths that it has."""
    if bundle.card.architecture == ONNX_ONLY:
        if depth != STEM:
            raise InputError(
                f"{unknown('depth', depth, (STEM,))}, as {bundle.card.name} has no torch definition"
            )
        runtime = runtimes.load(bundle.card.runtime, bundle, parts=("stem", "body"))
        return Split(STEM, _Called(runtime.stem), _Called(runtime.body), known=False)
    stages, head = stages_of(bundle)
    names = [name for name, _ in stages]
    if depth not in names:
        raise InputError(unknown("depth", depth, names))
    at = names.index(depth) + 1
    prefix = nn.Sequential(*(module for _, module in stages[:at]))
    suffix = nn.Sequential(*(module for _, module in stages[at:]), head)
    return Split(depth, prefix, suffix)


def answering(bundle: Bundle, part: Split) -> nn.Module:
    """Return what answers many images: the suffix; behind the stem as devices run it, which is quicker."""
    if part.depth != STEM:
        return part.suffix
    threads = torch.get_num_threads()
    return _Called(runtimes.load(bundle.card.runtime, bundle, threads=threads, parts=("body",)).body)


def blank(bundle: Bundle, depth: str, seed: int) -> nn.Module:
    """Return a first part with random weights, as who does not have the true one would begin with."""
    card = bundle.card
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        network = build(card.architecture, len(card.labels))
    stages = [(STEM, network.stem), *_STAGES[card.architecture](network)[0]]
    names = [name for name, _ in stages]
    return nn.Sequential(*(module for _, module in stages[: names.index(depth) + 1]))


def depths(bundle: Bundle) -> tuple[str, ...]:
    """Return the depths that a network has, from its stem on."""
    if bundle.card.architecture == ONNX_ONLY:
        return (STEM,)
    return tuple(name for name, _ in stages_of(bundle)[0])


def stages_of(bundle: Bundle) -> tuple[Stages, nn.Module]:
    """Return a network's parts in order, by name, and its head; raises InputError where torch does not know it."""
    card = bundle.card
    if card.architecture not in _STAGES:
        raise InputError(
            f"{card.name} has no torch definition with named depths; audit one of {', '.join(_STAGES)}, "
            f"or take --attack black-box on its {STEM}"
        )
    network = build(card.architecture, len(card.labels))
    load_weights(network.stem, read_weights(bundle.stem_path))
    load_weights(network.body, read_weights(bundle.body_path))
    network.requires_grad_(False)
    stages, head = _STAGES[card.architecture](network)
    return [(STEM, network.stem), *stages], head


def _mobilenet(network: Network) -> tuple[Stages, nn.Module]:
    body = network.body
    first, *others = body.blocks
    blocks = [nn.Sequential(body.bn, nn.ReLU(), first), *others]
    return [(f"block{i}", block) for i, block in enumerate(blocks, 1)], _head(fc=body.fc)


def _resnet(network: Network) -> tuple[Stages, nn.Module]:
    body = network.body
    first = nn.Sequential(body.bn1, nn.ReLU(), body.layer1)
    layers = [(f"layer{i}", getattr(body, f"layer{i}")) for i in range(2, 5)]
    return [("layer1", first), *layers], _head(fc=body.fc)


def _wide_resnet(network: Network) -> tuple[Stages, nn.Module]:
    body = network.body
    groups = [(f"group{i}", group) for i, group in enumerate(body.groups, 1)]
    return list(groups), _head(body.bn, nn.ReLU(), fc=body.fc)


def _head(*before: nn.Module, fc: nn.Module) -> nn.Module:
    """Return what makes features (B, C, H', W') logits."""
    return nn.Sequential(*before, nn.AdaptiveAvgPool2d(1), nn.Flatten(), fc)


#: architecture -> its parts behind the stem, by name, and the head
_STAGES: dict[str, Callable[[Network], tuple[Stages, nn.Module]]] = {
    "mobilenet": _mobilenet,
    "resnet34": _resnet,
    "wrn16_4": _wide_resnet,
    "wrn28_10": _wide_resnet,
}


class _Called(nn.Module):
    """A part of a runtime in the place of a module; it has no gradients."""

    def __init__(self, call: Callable[[np.ndarray], np.ndarray]) -> None:
        super().__init__()
        self._call = call

    def forward(self, batch: Tensor) -> Tensor:
        return torch.from_numpy(self._call(batch.numpy()))


def seconds_per_image(bundle: Bundle, part: Split, images: np.ndarray, runs: int = 5) -> tuple[float, str]:
    """Return what an end device takes for an image, in s, and in which runtime; one thread, one batch of `images`.

    At the stem that is the card's, as devices run it; deeper parts are no ONNX file of their own and run in torch.
    """
    from hddnn.runtimes.base import seconds_per_image

    if part.depth == STEM:
        runtime: Runtime = runtimes.load(bundle.card.runtime, bundle, parts=("stem",))
        return seconds_per_image(runtime.stem, images, runs), bundle.card.runtime
    threads = torch.get_num_threads()
    batch = torch.from_numpy(images.copy())  # which torch could write to
    try:
        torch.set_num_threads(1)
        with torch.inference_mode():
            return seconds_per_image(part.prefix, batch, runs), "torch"
    finally:
        torch.set_num_threads(threads)
