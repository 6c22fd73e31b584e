"""What a trained network answers to the images that another one learns from."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from hddnn import runtimes
from hddnn.errors import InputError
from hddnn.runtimes import replay
from hddnn.training.images import Images
from hddnn.zoo import Bundle


def teacher_logits(
    bundle: Bundle, images: Images, progress: Callable[[int, int], object] | None = None
) -> np.ndarray:
    """Return a fine network's logits of each image, float32 (N, fine), in the order of the images' classes.

    One answer for an image, however it is cropped, flipped or mixed later: one pass instead of one an epoch. It is
    kept in the store of `replay`, so that the next training finds it. progress(done, total) counts images that the
    store lacks. Raises InputError when the teacher answers other classes.
    """
    card = bundle.card
    if card.task != "fine" or set(card.labels) != set(images.labels.fine):
        raise InputError(f"teacher {card.name} does not answer the fine classes of the images")
    replay.prepare(bundle, images.hwc, progress)
    logits: np.ndarray = runtimes.load("replay", bundle).run(images.hwc)
    return logits[:, images.labels.positions("fine", card.labels)]
