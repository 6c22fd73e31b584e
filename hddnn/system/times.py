"""What batches take on a device: so much for each batch, and so much for each of its images."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Self


@dataclass(frozen=True)
class ServiceTime:
    """An affine time: a batch of n images takes seconds_per_batch + n * seconds_per_image.

    Attributes:
        seconds_per_image: What each image takes, s.
        seconds_per_batch: What a batch takes on top, however many images it has, s.

    Example:
        >>> ServiceTime(seconds_per_image=0.001, seconds_per_batch=0.025).total_s(50)
        0.075
    """

    seconds_per_image: float
    seconds_per_batch: float = 0.0

    @classmethod
    def through(cls, taken_s: Mapping[int, float]) -> Self:
        """Return the time on which the smallest and the largest of some batches lie, without a negative part.

        The largest always lies on it. Where the smallest would need a negative part, as when it took longer than
        the largest, it is missed by as little as can be. Of batches of one size all time counts as their images'.

        Args:
            taken_s: By the images in a batch: what it took, s.

        Example:
            >>> ServiceTime.through({1: 1.0, 10: 5.5})
            ServiceTime(seconds_per_image=0.5, seconds_per_batch=0.5)
        """
        (n_small, small_s), (n_full, full_s) = min(taken_s.items()), max(taken_s.items())
        if n_small == n_full:
            return cls(full_s / n_full)
        per_batch_s = (n_full * small_s - n_small * full_s) / (n_full - n_small)
        per_batch_s = min(max(per_batch_s, 0.0), full_s)
        return cls((full_s - per_batch_s) / n_full, per_batch_s)

    @classmethod
    def mean(cls, times: Sequence[ServiceTime]) -> Self:
        """Return the mean of several.

        Args:
            times: One or more.
        """
        return cls(
            fmean(time.seconds_per_image for time in times), fmean(time.seconds_per_batch for time in times)
        )

    def total_s(self, n_images: int, n_batches: int = 1) -> float:
        """Return what so many images take, s.

        Args:
            n_images: All of them together.
            n_batches: In so many batches.
        """
        return self.seconds_per_batch * n_batches + self.seconds_per_image * n_images

    def __mul__(self, factor: float) -> ServiceTime:
        """Return what a device takes that is slower by a factor."""
        return ServiceTime(self.seconds_per_image * factor, self.seconds_per_batch * factor)

    def __add__(self, other: ServiceTime) -> ServiceTime:
        """Return what one after the other takes, of the same batch."""
        return ServiceTime(
            self.seconds_per_image + other.seconds_per_image, self.seconds_per_batch + other.seconds_per_batch
        )

    def __str__(self) -> str:
        """Return "3.2 ms a batch and 0.165 ms an image", without what is 0 of it for a batch."""
        per_image = f"{self.seconds_per_image * 1e3:.3f} ms an image"
        return (
            f"{self.seconds_per_batch * 1e3:.3f} ms a batch and {per_image}"
            if self.seconds_per_batch
            else per_image
        )


def in_turn(taken_s: Callable[[int], float], batch_size: int, rounds: int) -> dict[int, list[float]]:
    """Measure batches of one image and full ones in turn, so that what slows the machine down slows both alike.

    Args:
        taken_s: Does a batch of so many images, and returns the seconds that it took.
        batch_size: Images in a full one.
        rounds: How many of either.

    Returns:
        By the images in a batch: the seconds of each round.
    """
    found: dict[int, list[float]] = {n: [] for n in (1, batch_size)}
    for number in range(rounds):
        # Each size goes first in every other round, so that a machine that becomes slower tilts nothing.
        for n in found if number % 2 == 0 else reversed(found):
            found[n].append(taken_s(n))
    return found
