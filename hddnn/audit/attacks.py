"""The attacks, by name: each is given what its attacker has, and returns the victims in one variant or more.

After He et al. 2019 ("Model inversion attacks against collaborative inference", ACSAC).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch

from hddnn.audit import decoder, inverting, shadow
from hddnn.audit.case import Case, Images
from hddnn.errors import InputError

Attack = Callable[[Case], dict[str, Images]]
#: SSIM on the attacker's own images at which least squares leaves nothing for a decoder to add.
_ENOUGH = 0.98


def black_box(case: Case) -> dict[str, Images]:
    """Train a decoder on queries (He et al. 2019); needs no weights and no gradients."""
    return {"decoder": _trained(case)(case.received).clamp(0, 1)}


def white_box(case: Case) -> dict[str, Images]:
    """Invert with the weights known (He et al. 2019): whatever black box can do, and more.

    Features affine in the pixels are inverted by least squares with a smooth prior, others by gradient descent
    from the decoder's images.
    """
    if not case.affine:
        decode = _trained(case)
        guess = decode(case.received).clamp(0, 1)
        return {
            "gradient descent": inverting.by_descent(case, lambda features: decode(features).clamp(0, 1)),
            "decoder": guess,
        }
    images, shown = inverting.affine(case)
    made = {"least squares": images}
    return made if shown > _ENOUGH else made | black_box(case)


def query_free(case: Case) -> dict[str, Images]:
    """Invert through a shadow of the unknown part (He et al. 2019), made from the known rest.

    The shadow is then attacked in the place of the true part, as by who knows the weights. How strong a prior it
    takes, his own images do not tell: of them the shadow's features are exact. He tries several, and looks.
    """
    if case.blank is None or case.labels is None:
        raise InputError("a query-free attack needs images of the network's own classes")
    learned = shadow.train(
        case.blank,
        case.suffix,
        case.own,
        case.labels,
        torch.cat([case.received, case.traffic]),
        case.channel.noise * case.channel.spread,
        case.effort.shadow_steps,
        case.seed,
        case.step,
    )
    stolen = replace(case, prefix=learned, known=None)
    made = inverting.by_strength(stolen) if case.affine else white_box(stolen)
    return {f"shadow, {name}": images for name, images in made.items()}


def _trained(case: Case) -> decoder.Decoder:
    effort = case.effort
    # Not on the images that priors are chosen on: of those it would give a better first guess than of victims.
    images = case.own[effort.tuned :][: effort.learned]
    return decoder.train(images, case.query, effort.decoder_steps, case.seed, case.step)


#: name -> attack
ATTACKS: dict[str, Attack] = {"white-box": white_box, "black-box": black_box, "query-free": query_free}


def steps(attack: str, case: Case) -> int:
    """Return how many steps of work an attack takes at most."""
    effort = case.effort
    if attack == "black-box":
        return effort.decoder_steps
    if attack == "query-free" and case.affine:
        return effort.shadow_steps + len(inverting.STRENGTHS)
    white = effort.decoder_steps + (1 if case.affine else effort.gradient_steps // 3 + effort.gradient_steps)
    return white + (effort.shadow_steps if attack == "query-free" else 0)
