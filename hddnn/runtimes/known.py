"""A known answer: what a network answered to one fixed image when its bundle was made."""

from __future__ import annotations

import numpy as np

from hddnn.errors import BundleError
from hddnn.runtimes.base import Runtime
from hddnn.zoo import Bundle, Card

#: Share of the largest logit: four times what bfloat16 changes, and far less than a wrong weight does.
TOLERANCE = 0.1
#: Of logits that are all but zero, as of a network that was never trained: no confidence changes by so little.
LEAST = 1e-4


def known_image(card: Card) -> np.ndarray:
    """Return the image, uint8 (1, H, W, 3): a colour gradient, made of whole numbers alone."""
    height, width, _ = card.input_shape
    y, x = np.indices((height, width))
    planes = (255 * x // max(width - 1, 1), 255 * y // max(height - 1, 1), 255 * (x + y) // (height + width))
    return np.stack(planes, axis=-1).astype(np.uint8)[None]


def known_answer(runtime: Runtime) -> tuple[float, ...]:
    """Return what a whole network answers to that image, for its card: logits (classes,), rounded."""
    return tuple(float(f"{logit:.6g}") for logit in runtime.run(known_image(runtime.bundle.card))[0])


def check_known_answer(bundle: Bundle, logits: np.ndarray) -> None:
    """Raise BundleError unless logits, float32 (1, classes), of the known image are those of the bundle's card.

    Of a bundle that was made without a known answer, they only have to be numbers.
    """
    known = bundle.card.known_answer
    if not np.isfinite(logits).all():
        raise BundleError(
            f"network {bundle.card.name} answers a plain image with NaN or infinity on this device"
        )
    if known is None:
        return
    wanted = np.asarray(known)
    apart, largest = np.abs(logits[0] - wanted).max(), np.abs(wanted).max()
    if apart > TOLERANCE * largest + LEAST:
        share = apart / max(largest, LEAST)
        raise BundleError(
            f"network {bundle.card.name} does not give its known answer on this device ({share:.0%} of the "
            "largest logit apart); get or export the bundle again, or try another runtime"
        )
