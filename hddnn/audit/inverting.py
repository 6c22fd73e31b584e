"""Inversion with known weights, its priors tuned on the attacker's own images.

After He et al. 2019 ("Model inversion attacks against collaborative inference", ACSAC), who use total
variation as the prior and one weight for all.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from hddnn.audit.case import Case, Images, pixels
from hddnn.audit.decoder import similarity
from hddnn.audit.whitebox import Prior, features_of, gradient_descent, least_squares

#: Weights of the prior of least squares; about 1 / the variance of neighbouring pixels' differences is the middle.
SMOOTH = (0.0, 1.0, 10.0, 100.0, 300.0, 1e3, 3e3, 1e4)
#: The same where features do not fit the weights: shares of what they tell.
STRENGTHS = (3.0, 10.0, 30.0, 100.0, 300.0)
#: Weights of gradient descent: of total variation, and of the distance to the decoder's images.
PRIORS = ((1.0, 0.0), (5.0, 0.0), (20.0, 0.0), (80.0, 0.0), (20.0, 300.0))
#: An error of features below this share of their spread is taken for that much: gradient descent gets no closer.
_LEAST_ERROR = 0.1
#: Steps of least squares while its prior is chosen.
_TUNING_STEPS = 100


def affine(case: Case) -> tuple[Images, float]:
    """Return the victims by least squares, and the SSIM that it reaches on the attacker's own images."""
    features, error, mean = features_of(case.prefix), case.error, case.mean
    own = case.own[: case.effort.tuned]
    received = case.query(own)
    count = len(SMOOTH)
    weights = torch.tensor(SMOOTH).repeat_interleave(len(own)).reshape(-1, 1, 1, 1)
    made = least_squares(features, received.repeat(count, 1, 1, 1), error, mean, weights, _TUNING_STEPS)
    shown = similarity(made, pixels(own).repeat(count, 1, 1, 1)).reshape(count, -1).mean(1)
    case.step()
    best = int(shown.argmax())
    weight = torch.full((len(case.received), 1, 1, 1), SMOOTH[best])
    return least_squares(features, case.received, error, mean, weight), float(shown[best])


def by_strength(case: Case) -> dict[str, Images]:
    """Return the victims by least squares, by the weight of its prior."""
    features, error, mean = features_of(case.prefix), case.error, case.mean
    made = {}
    for strength in STRENGTHS:
        # Relative to the features, since what is wrong with them is not what the channel does.
        weight = (
            torch.full((len(case.received), 1, 1, 1), strength) / (error / case.channel.spread).mean() ** 2
        )
        made[f"least squares, prior {strength:g}"] = least_squares(
            features, case.received, error, mean, weight
        )
        case.step()
    return made


def by_descent(case: Case, guess: Callable[[Tensor], Images]) -> Images:
    """Return the victims by gradient descent from a first guess at them.

    The priors are those by which the attacker's own images come out best after a third of the steps.
    """
    features = features_of(case.prefix)
    error = torch.maximum(case.error, _LEAST_ERROR * case.channel.spread)
    own = case.own[: case.effort.tuned]
    received = case.query(own)
    count = len(PRIORS)
    prior = Prior(*torch.tensor(PRIORS).repeat_interleave(len(own), dim=0).T)
    made = gradient_descent(
        features,
        received.repeat(count, 1, 1, 1),
        error,
        guess(received).repeat(count, 1, 1, 1),
        prior,
        steps=max(1, case.effort.gradient_steps // 3),
        step=case.step,
    )
    shown = similarity(made, pixels(own).repeat(count, 1, 1, 1)).reshape(count, -1).mean(1)
    best = torch.tensor(PRIORS[int(shown.argmax())])
    return gradient_descent(
        features,
        case.received,
        error,
        guess(case.received),
        Prior(*best.expand(len(case.received), 2).T),
        steps=case.effort.gradient_steps,
        step=case.step,
    )
