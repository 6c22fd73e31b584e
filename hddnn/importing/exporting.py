"""Turn a torch module into an ONNX network (needs the extra `torch`)."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import onnx
import torch
from torch import Tensor, nn

from hddnn.errors import BundleError
from hddnn.importing import weights
from hddnn.importing.reading import reason
from hddnn.importing.references import TORCH, Reference, bounded
from hddnn.zoo.onnx_files import OPSET


@dataclass(frozen=True)
class Exported:
    """An exported module; stem: the tensor to split it at, None when none was asked for."""

    model: onnx.ModelProto
    stem: str | None


class _Tapped(nn.Module):
    """A module that returns, behind its own answers, what one of its parts makes."""

    def __init__(self, module: nn.Module, part: str) -> None:
        super().__init__()
        self.module, self.part = module, part

    def forward(self, images: Tensor) -> tuple[object, Tensor]:
        seen: list[Tensor] = []
        # A copy: what follows may write into the tensor, as activations in place do.
        hook = self.module.get_submodule(self.part).register_forward_hook(
            lambda part, given, made: seen.append(made.clone())
        )
        try:
            answers = self.module(images)
        finally:
            hook.remove()
        return answers, seen[0]


def export(module: nn.Module, size: tuple[int, int], stem: str | None) -> Exported:
    """Export a module for batches of images (B, 3, *size), in its own float type.

    stem: the name of a part whose output to split at, such as "features.0", or a tensor of the ONNX graph.
    Raises BundleError when torch cannot run or export it.
    """
    where = type(module).__name__
    if not isinstance(module, nn.Module):
        raise BundleError(f"{where} is no torch module; build the network, and load its weights into it")
    held = (*module.parameters(), *module.buffers())
    weights.check_size(sum(tensor.numel() * tensor.element_size() for tensor in held), where)
    images = _images(module, np.zeros((2, 3, *size), np.float32))
    with _evaluating(module):
        _try(module, images, stem, where)
        is_part = stem is not None and stem in dict(module.named_modules())
        whole = _Tapped(module, stem).eval() if stem is not None and is_part else module
        try:
            program = torch.onnx.export(
                whole,
                (images,),
                dynamic_shapes=({0: torch.export.Dim("batch")},),
                opset_version=OPSET,
                dynamo=True,
                verbose=False,
            )
        except torch.onnx.errors.OnnxExporterError as error:
            raise BundleError(
                f"torch cannot export {where} for batches of any size: {reason(error.__cause__ or error)}"
            ) from error
    model = program.model_proto
    if is_part:
        stem = _untapped(model.graph)
    return Exported(model, stem)


def original(module: nn.Module) -> Reference:
    """Return the module itself as what its network is held against."""

    def answer(images: np.ndarray) -> list[np.ndarray]:
        # TF32, which a GPU takes for convolutions by default, is no float32.
        exact = torch.backends.cudnn.flags(enabled=True, allow_tf32=False)
        with _evaluating(module), torch.inference_mode(), exact:
            return [leaf.float().cpu().numpy() for leaf in _leaves(module(_images(module, images)))]

    return Reference(TORCH, lambda images: bounded(answer, images, None))


def _try(module: nn.Module, images: Tensor, stem: str | None, where: str) -> None:
    """Run a module and count how often the part to split at runs; raises BundleError."""
    made: list[object] = []
    part = dict(module.named_modules()).get(stem) if stem is not None else None
    hook = part and part.register_forward_hook(lambda part, given, out: made.append(out))
    try:
        with torch.inference_mode():
            module(images)
    except Exception as error:  # a foreign forward may raise anything
        raise BundleError(f"{where} cannot take images {tuple(images.shape)}: {reason(error)}") from error
    finally:
        if hook is not None:
            hook.remove()
    if part is not None and (len(made) != 1 or not isinstance(made[0], Tensor)):
        raise BundleError(
            f"{where} cannot be split at part '{stem}': name one that runs once and makes one tensor"
        )


def _untapped(graph: onnx.GraphProto) -> str:
    """Take the tapped tensor off the outputs and return the name that it has inside the network."""
    name = graph.output.pop().name
    made_by = {made: node for node in graph.node for made in node.output}
    while name in made_by and made_by[name].op_type == "Identity":
        name = made_by[name].input[0]
    return name


def _images(module: nn.Module, images: np.ndarray) -> Tensor:
    """Return images where a module's weights are, and in their type."""
    weight = next((p for p in module.parameters() if p.is_floating_point()), torch.zeros(1))
    return torch.from_numpy(np.array(images)).to(weight.device, weight.dtype)


def _leaves(answers: object) -> list[Tensor]:
    """Return the tensors in what a module returns, in the order of the exported outputs."""
    if isinstance(answers, Tensor):
        return [answers]
    if isinstance(answers, Mapping):
        answers = tuple(answers.values())
    return [leaf for part in answers for leaf in _leaves(part)] if isinstance(answers, tuple | list) else []


@contextmanager
def _evaluating(module: nn.Module) -> Iterator[None]:
    """Put a module into evaluation mode for a while, each part back into its own afterwards."""
    modes = {part: part.training for part in module.modules()}
    module.eval()
    try:
        yield
    finally:
        for part, training in modes.items():
            part.training = training
