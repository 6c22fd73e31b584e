"""Inversion with known weights: least squares where features are affine in the pixels, gradient descent elsewhere.

Images here are float (B, 3, H, W) in 0..1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

Features = Callable[[Tensor], Tensor]


def features_of(prefix: nn.Module) -> Features:
    """Return the function from images (B, 3, H, W) in 0..1 to features."""
    return lambda x: prefix(x.permute(0, 2, 3, 1) * 255)


def least_squares(
    features: Features,
    received: Tensor,
    error: Tensor,
    mean: Tensor,
    smooth: Tensor,
    steps: int = 400,
) -> Tensor:
    """Return the images whose features come closest to those received: the attack on an affine stem.

    Minimizes |(features(x) - received) / error|^2 + smooth |differences of x - mean|^2 by conjugate gradients on
    the normal equations, kept as two factors for accuracy (CGLS; Bjorck 1996, section 7.4).
    received: (B, C, H', W'); error: its standard deviation, (C, 1, 1); mean: (3, H, W), the mean image; smooth:
    the weight of the prior, one for each image, (B, 1, 1, 1). Returns (B, 3, H, W), in 0..1.
    """
    start = mean.expand(len(received), *mean.shape).clone()
    scale = error.mean()  # squares of what is divided by a tiny error would overflow
    error, root = error / scale, smooth.sqrt() * scale

    def forward(v: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        return ((features(v) - offset) / error, root * v.diff(dim=2), root * v.diff(dim=3))

    def backward(parts: tuple[Tensor, Tensor, Tensor]) -> Tensor:
        v = torch.zeros_like(start, requires_grad=True)
        with torch.enable_grad():
            (turned,) = torch.autograd.grad(forward(v), v, parts)
        return turned

    offset = features(torch.zeros_like(start[:1]))
    at = features(start)
    x = torch.zeros_like(start)  # what is added to the mean image
    rest = ((received - at) / error, torch.zeros_like(start.diff(dim=2)), torch.zeros_like(start.diff(dim=3)))
    gradient = backward(rest)
    direction, norm = gradient, _squared(gradient)
    enough = 1e-14 * norm  # further steps of an image that is there already would lead away from it
    for _ in range(steps):
        if not (norm > enough).any():
            break
        image = forward(direction)
        length = torch.where(norm > enough, norm / sum(_squared(part) for part in image), 0)
        x = x + length * direction
        rest = tuple(r - length * i for r, i in zip(rest, image, strict=True))
        gradient = backward(rest)
        before, norm = norm, _squared(gradient)
        direction = gradient + norm / before.clamp(min=1e-30) * direction
    return (start + x).clamp(0, 1)


def _squared(values: Tensor) -> Tensor:
    """Return the squared length of each image's values, (B, 1, 1, 1)."""
    return values.pow(2).sum((1, 2, 3), keepdim=True)


@dataclass(frozen=True)
class Prior:
    """What the attacker believes of images: weights, one for each image, (B,).

    variation: of the mean absolute difference of neighbouring pixels (total variation, isotropic); guess: of the
    mean squared distance to a first guess.
    """

    variation: Tensor
    guess: Tensor


def gradient_descent(
    features: Features,
    received: Tensor,
    error: Tensor,
    start: Tensor,
    prior: Prior,
    *,
    steps: int,
    rate: float = 0.02,
    step: Callable[[], object] = lambda: None,
) -> Tensor:
    """Return images whose features resemble those received, found from a first guess (He et al. 2019).

    Minimizes the mean of ((features(x) - received) / error)^2 plus the priors, by Adam with a rate that falls to
    0 as a cosine. start: (B, 3, H, W) in 0..1; as returned.
    """
    x = start.clone().requires_grad_(True)
    optimizer = torch.optim.Adam([x], rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        with torch.enable_grad():
            distance = ((features(x) - received) / error).pow(2).mean((1, 2, 3))
            guess = (x - start).pow(2).mean((1, 2, 3))
            loss = (distance + prior.variation * variation(x) + prior.guess * guess).sum()
        (x.grad,) = torch.autograd.grad(loss, x)
        optimizer.step()
        schedule.step()
        with torch.no_grad():
            x.clamp_(0, 1)
        step()
    return x.detach()


def variation(x: Tensor) -> Tensor:
    """Return the isotropic total variation of each image, a pixel: (B,)."""
    down, right = x.diff(dim=2)[..., :-1], x.diff(dim=3)[:, :, :-1]  # (B, 3, H-1, W-1)
    return (down.pow(2) + right.pow(2) + 1e-6).sqrt().mean((1, 2, 3))
