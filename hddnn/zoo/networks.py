"""Torch definitions of the networks, each split at its first convolution (needs the extra `torch`).

A network is a `stem` (preprocessing and the first convolution: the paper's encryption module) and a `body`
(all the rest). Devices run the exported bundles; these definitions train, export and serve as reference.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
from torch import Tensor, nn
from torchvision.models import resnet34

from hddnn.errors import BundleError

# Statistics of the CIFAR-100 training images scaled to 0..1, by channel (RGB).
MEAN = (0.5071, 0.4865, 0.4409)
STD = (0.2673, 0.2564, 0.2762)


class Stem(nn.Module):
    """Turn images as they come from a camera into the first convolution's features.

    forward: uint8 (B, H, W, 3) RGB -> float32 (B, channels, H', W').
    """

    def __init__(self, conv: nn.Conv2d, mean: tuple[float, ...] = MEAN, std: tuple[float, ...] = STD) -> None:
        super().__init__()
        self.conv = conv
        # Not part of the state dict: preprocessing is fixed by the definition, not learned.
        self.register_buffer("mean", torch.tensor(mean).reshape(3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).reshape(3, 1, 1), persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        x = images.permute(0, 3, 1, 2).to(torch.float32) / 255  # (B, 3, H, W)
        return self.conv((x - self.mean) / self.std)  # (B, channels, H', W')


class Network(nn.Module):
    """A stem and a body in sequence; forward: uint8 (B, 32, 32, 3) -> logits float32 (B, classes).

    renames: prefixes of keys in a plain (unsplit) state dict -> prefixes here; every other key is the body's.
    """

    def __init__(self, conv: nn.Conv2d, body: nn.Module, renames: Mapping[str, str]) -> None:
        super().__init__()
        self.stem = Stem(conv)
        self.body = body
        self.renames = dict(renames)

    def forward(self, images: Tensor) -> Tensor:
        return self.body(self.stem(images))

    def load_plain(self, state: Mapping[str, Tensor]) -> None:
        """Load an unsplit state dict of any float type; raises BundleError when keys or shapes do not fit."""
        split = {}
        for key, value in state.items():
            old = next((prefix for prefix in self.renames if key.startswith(prefix)), None)
            split["body." + key if old is None else self.renames[old] + key.removeprefix(old)] = value
        load_weights(self, split)


def load_weights(module: nn.Module, state: Mapping[str, Tensor]) -> None:
    """Load every weight of `module` by name, cast to float32; raises BundleError naming what does not fit."""
    # The count of batches seen in training has no meaning at inference and is not stored.
    wanted = {k: v.shape for k, v in module.state_dict().items() if not k.endswith("num_batches_tracked")}
    given = {k: v for k, v in state.items() if not k.endswith("num_batches_tracked")}
    wrong = sorted(wanted.keys() ^ given.keys())
    wrong = wrong or sorted(k for k in wanted if wanted[k] != given[k].shape)
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise BundleError(
            f"weights do not fit the network: {', '.join(wrong[:3])}{more} missing or of another shape"
        )
    module.load_state_dict({k: v.to(torch.float32) for k, v in given.items()}, strict=False)


class MobileNetBody(nn.Module):
    """MobileNet v1 behind its first convolution (Howard et al. 2017), for 32 x 32 images.

    The last blocks keep 4 x 4 positions, where the original's fifth stride would leave 2 x 2: little to look at
    for a 3 x 3 convolution. Parameters are the same.

    forward: features (B, 32 * width, 32, 32) -> logits (B, classes).
    """

    # (channels before the width factor, stride) of the depthwise separable blocks
    BLOCKS = (
        (64, 1),
        (128, 2),
        (128, 1),
        (256, 2),
        (256, 1),
        (512, 2),
        *[(512, 1)] * 5,
        (1024, 1),
        (1024, 1),
    )

    def __init__(self, classes: int, width: float) -> None:
        super().__init__()
        channels = int(32 * width)
        self.bn = nn.BatchNorm2d(channels)
        blocks = []
        for full, stride in self.BLOCKS:
            out = int(full * width)
            blocks.append(
                nn.Sequential(
                    nn.Conv2d(channels, channels, 3, stride, 1, groups=channels, bias=False),
                    nn.BatchNorm2d(channels),
                    nn.ReLU(inplace=True),
                    nn.Conv2d(channels, out, 1, bias=False),
                    nn.BatchNorm2d(out),
                    nn.ReLU(inplace=True),
                )
            )
            channels = out
        self.blocks = nn.Sequential(*blocks)
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = self.blocks(torch.relu(self.bn(x)))  # (B, 1024 * width, 4, 4)
        return self.fc(x.mean((2, 3)))


class WideBlock(nn.Module):
    """Pre-activation block of two 3 x 3 convolutions; the shortcut is one of 1 x 1 where channels change."""

    def __init__(self, channels: int, out: int, stride: int) -> None:
        super().__init__()
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv1 = nn.Conv2d(channels, out, 3, stride, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(out)
        self.conv2 = nn.Conv2d(out, out, 3, 1, 1, bias=False)
        self.shortcut = nn.Conv2d(channels, out, 1, stride, bias=False) if channels != out else None

    def forward(self, x: Tensor) -> Tensor:
        y = torch.relu(self.bn1(x))
        skip = x if self.shortcut is None else self.shortcut(y)
        return self.conv2(torch.relu(self.bn2(self.conv1(y)))) + skip


class WideResNetBody(nn.Module):
    """WRN-depth-width behind its first convolution (Zagoruyko and Komodakis 2016).

    forward: features (B, 16, 32, 32) -> logits (B, classes).
    """

    def __init__(self, classes: int, depth: int, width: int) -> None:
        super().__init__()
        blocks = (depth - 4) // 6
        channels = 16
        groups = []
        for out, stride in ((16 * width, 1), (32 * width, 2), (64 * width, 2)):
            group = [WideBlock(channels, out, stride)] + [WideBlock(out, out, 1) for _ in range(1, blocks)]
            groups.append(nn.Sequential(*group))
            channels = out
        self.groups = nn.Sequential(*groups)
        self.bn = nn.BatchNorm2d(channels)
        self.fc = nn.Linear(channels, classes)

    def forward(self, x: Tensor) -> Tensor:
        x = torch.relu(self.bn(self.groups(x)))  # (B, 64 * width, 8, 8)
        return self.fc(x.mean((2, 3)))


def mobilenet(classes: int) -> Network:
    """MobileNet v1 of width 0.5 with a first convolution of stride 1."""
    conv = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
    return Network(conv, MobileNetBody(classes, 0.5), {"stem.0.": "stem.conv.", "stem.1.": "body.bn."})


def resnet(classes: int) -> Network:
    """ResNet-34 (He et al. 2015) as torchvision builds it, with a bias on its 7 x 7 / 2 first convolution.

    The max-pool stands behind the first group, which so sees the stem's 16 x 16 positions; in the original, 8 x 8
    are left of 32 x 32 pixels. Parameters are the same.
    """
    body = resnet34(num_classes=classes)
    body.conv1, body.layer1 = nn.Identity(), nn.Sequential(*body.layer1, body.maxpool)
    body.maxpool = nn.Identity()
    return Network(nn.Conv2d(3, 64, 7, 2, 3), body, {"conv1.": "stem.conv."})


def wide_resnet(classes: int, depth: int, width: int) -> Network:
    """WRN-depth-width with a 3 x 3 first convolution of 16 channels."""
    conv = nn.Conv2d(3, 16, 3, 1, 1, bias=False)
    return Network(conv, WideResNetBody(classes, depth, width), {"conv1.": "stem.conv."})


# name -> builder of that network for a number of classes
NETWORKS: dict[str, Callable[[int], Network]] = {
    "mobilenet": mobilenet,
    "resnet34": resnet,
    "wrn16_4": lambda classes: wide_resnet(classes, 16, 4),
    "wrn28_10": lambda classes: wide_resnet(classes, 28, 10),
}


def build(architecture: str, classes: int) -> Network:
    """Build an untrained network in evaluation mode; raises BundleError listing the valid names."""
    if architecture not in NETWORKS:
        raise BundleError(f"no torch definition of network {architecture!r}; there are {', '.join(NETWORKS)}")
    return NETWORKS[architecture](classes).eval()
