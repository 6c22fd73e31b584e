"""Audit one setting of a network: what an attack sees, and what the defence costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from hashlib import sha256

import numpy as np
import torch
from torch import Tensor

from hddnn._util.validation import unknown
from hddnn.audit import quality
from hddnn.audit.attacks import ATTACKS, steps
from hddnn.audit.case import Case
from hddnn.audit.channel import BATCH, Channel, in_batches
from hddnn.audit.depths import STEM, Split, answering, blank, seconds_per_image, split
from hddnn.audit.effort import Effort
from hddnn.bench.measure import images_of
from hddnn.data.datasets import load_dataset
from hddnn.errors import InputError
from hddnn.privacy.codec import DEFAULT, codec
from hddnn.zoo import Bundle
from hddnn.zoo.card import ONNX_ONLY
from hddnn.zoo.noise import check_times

#: At least so many images of the sample are left to the attacker.
LEAST_OWN = 500
#: Sets of images whose features are kept.
_MOST_KEPT = 6


@dataclass(frozen=True)
class Setting:
    """What is audited: a defence, and an attack on it.

    depth: the last part of the network on the end device; noise: in standard deviations of each channel; codec: of
    hddnn.privacy.codec; images: the victims. Raises InputError listing what is valid.
    """

    bundle: Bundle
    attack: str = "white-box"
    depth: str = STEM
    noise: float = 0.0
    codec: str = DEFAULT
    images: int = 16
    seed: int = 0
    effort: Effort = field(default_factory=Effort)

    def __post_init__(self) -> None:
        if self.attack not in ATTACKS:
            raise InputError(unknown("attack", self.attack, ATTACKS))
        codec(self.codec)
        check_times(self.noise)
        most = len(load_dataset()) - LEAST_OWN
        if not 1 <= self.images <= most:
            raise InputError(
                f"{self.images} images cannot be attacked; take 1 to {most} of the packaged ones"
            )
        card = self.bundle.card
        if card.architecture == ONNX_ONLY and self.attack != "black-box":
            raise InputError(
                f"{self.attack} needs a torch definition, which network {card.name} has none of; "
                "take --attack black-box"
            )


@dataclass(frozen=True, eq=False)
class Defence:
    """What a defence costs, whatever the attack: accuracy (NaN without labels), bytes and time.

    accuracy, undefended: share of the packaged images answered rightly with codec and noise, and without; bytes
    and end-device time are of an image, in batches of 50, one thread.
    """

    accuracy: float
    undefended: float
    payload_bytes: float
    raw_bytes: int
    end_device_s: float
    runtime: str

    @property
    def lost_points(self) -> float:
        """Return the accuracy lost, in percentage points."""
        return 100 * (self.undefended - self.accuracy)


@dataclass(frozen=True, eq=False)
class Found:
    """What a variant of an attack makes of the victims: images, float32 (N, H, W, 3), and their quality, (N,)."""

    images: np.ndarray
    psnr_db: np.ndarray
    ssim: np.ndarray


@dataclass(frozen=True, eq=False)
class Audit:
    """What an attack sees of the victims.

    originals: uint8 (N, H, W, 3); found: by variant of the attack; blind: a guess without any features, the mean
    image.
    """

    setting: Setting
    originals: np.ndarray
    found: dict[str, Found]
    blind: Found

    @property
    def variant(self) -> str:
        """Return the variant that shows most, by mean SSIM: an audit must not flatter."""
        return max(self.found, key=lambda name: float(self.found[name].ssim.mean()))

    @property
    def best(self) -> Found:
        """Return what that variant found."""
        return self.found[self.variant]


class Auditor:
    """A network split at a depth, and the packaged images; audits settings that differ in noise, codec and attack.

    The first `images` packaged images are the victims. Of the others, the attacker of a query-free audit has one
    half and, of the other half, features that arrived; other attackers have all.
    """

    def __init__(self, bundle: Bundle, depth: str = STEM) -> None:
        data = load_dataset()
        self.bundle, self.card = bundle, bundle.card
        self.split: Split = split(bundle, depth)
        self.pictures = torch.from_numpy(images_of(self.card.input_shape, len(data)).copy())
        self.features: Tensor = in_batches(self.split.prefix, self.pictures)
        level = self.card.task
        self.labels = None
        if data.labels.levels[level] == self.card.labels:
            self.labels = torch.from_numpy(getattr(data, level).copy())
        self._answers = answering(bundle, self.split)
        self._time: tuple[float, str] | None = None
        self._undefended: float | None = None
        self._kept: dict[bytes, Tensor] = {}

    def defence(self, noise: float, codec_name: str, seed: int) -> Defence:
        """Measure what a defence costs."""
        if self._undefended is None:
            self._undefended = self._accuracy(self.features)
        if self._time is None:
            self._time = seconds_per_image(self.bundle, self.split, self.pictures[:BATCH].numpy())
        channel = Channel.of(self.features, noise, codec(codec_name))
        generator = torch.Generator().manual_seed(seed)
        arrived = [channel.send(some, generator) for some in self.features.split(BATCH)]
        return Defence(
            self._accuracy(torch.cat(arrived)),
            self._undefended,
            self.payload_bytes(noise, codec_name, seed),
            self.card.raw_bytes,
            *self._time,
        )

    def payload_bytes(self, noise: float, codec_name: str, seed: int) -> float:
        """Return the bytes that an image takes as sent, in batches of 50."""
        channel = Channel.of(self.features, noise, codec(codec_name))
        generator = torch.Generator().manual_seed(seed)
        sent = sum(channel.payload_bytes(some, generator) for some in self.features.split(BATCH))
        return sent / len(self.features)

    def audit(
        self, setting: Setting, observer: Callable[[int], Callable[[], object]] = lambda steps: lambda: None
    ) -> Audit:
        """Attack a setting of this network and depth.

        observer: called with the number of steps to come, returns what is to be called after each.
        """
        case = self.case(setting)
        case = replace(case, step=observer(steps(setting.attack, case)))
        originals = self.pictures[: setting.images].numpy()
        found = {name: _found(originals, images) for name, images in ATTACKS[setting.attack](case).items()}
        blind = _found(originals, case.mean.expand(len(originals), *case.mean.shape))
        return Audit(setting, originals, found, blind)

    def case(self, setting: Setting) -> Case:
        """Return what the attacker of a setting has: of the victims, only features."""
        count = setting.images
        channel = Channel.of(self.features, setting.noise, codec(setting.codec))
        generator = torch.Generator().manual_seed(setting.seed)
        arrived = [channel.send(some, generator) for some in self.features[:count].split(BATCH)]
        free = setting.attack == "query-free"
        end = count + (len(self.pictures) - count) // 2 if free else len(self.pictures)
        traffic = [channel.send(some, generator) for some in self.features[end:].split(BATCH) if len(some)]
        return Case(
            received=torch.cat(arrived),
            own=self.pictures[count:end],
            labels=None if self.labels is None else self.labels[count:end],
            traffic=torch.cat([self.features[:0], *traffic]),
            prefix=self.split.prefix,
            suffix=self.split.suffix,
            blank=blank(self.bundle, self.split.depth, setting.seed) if free else None,
            affine=self.split.affine,
            channel=channel,
            effort=setting.effort,
            seed=setting.seed,
            known=self._known,
        )

    def _known(self, images: Tensor) -> Tensor:
        """Return the features of images, kept since the next setting asks for those of the same."""
        key = sha256(images.numpy().tobytes()).digest()
        if key not in self._kept:
            if len(self._kept) == _MOST_KEPT:
                del self._kept[next(iter(self._kept))]
            self._kept[key] = in_batches(self.split.prefix, images)
        return self._kept[key]

    def _accuracy(self, features: Tensor) -> float:
        if self.labels is None:
            return float("nan")
        answers = in_batches(self._answers, features).argmax(1)
        return float((answers == self.labels).float().mean())


def _found(originals: np.ndarray, images: Tensor) -> Found:
    """Return what was found, images (B, 3, H, W) in 0..1, and how near it is to the originals."""
    shown = (255 * images.clamp(0, 1)).permute(0, 2, 3, 1).contiguous().numpy()
    return Found(shown, quality.psnr_db(originals, shown), quality.ssim(originals, shown))
