"""How much work an attack may take."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Effort:
    """Steps of each part of an attack: training a decoder, gradient descent on the images, training a shadow.

    tuned: how many images of the attacker's own the priors' weights are chosen on; learned: how many a decoder
    learns from at most.
    """

    decoder_steps: int = 600
    gradient_steps: int = 300
    shadow_steps: int = 600
    tuned: int = 8
    learned: int = 2000
