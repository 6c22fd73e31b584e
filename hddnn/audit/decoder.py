"""A decoder learned from pairs of features and images: the attack of who may query the end device's part.

Images here are float (B, 3, H, W) in 0..1.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

#: Columns of the least-squares problem at most, rows of it, and products of its normal equations, unless four rows
#: a column are more.
_MOST_COLUMNS, _MOST_ROWS, _MOST_PRODUCTS = 2400, 40_000, 2e10
#: Values of features to learn from at most.
_MOST_VALUES = 150_000_000
_BATCH, _RATE = 32, 2e-3
Query = Callable[[Tensor], Tensor]


class Decoder(nn.Module):
    """Features (B, C, H', W') -> images (B, 3, H, W) in 0..1: a linear convolution, refined by a small network.

    The linear part is solved for, not trained: it makes patches of r x r pixels of the features around each
    position.
    """

    def __init__(
        self, channels: int, kernel: int, ratio: int, mean: Tensor, spread: Tensor, width: int = 48
    ) -> None:
        super().__init__()
        self.mean, self.spread = nn.Buffer(mean), nn.Buffer(spread)  # (3, H, W), (C, 1, 1)
        self.centre = nn.Buffer(torch.zeros(channels, 1, 1))
        self.ratio = ratio
        self.linear = nn.Conv2d(channels, 3 * ratio**2, kernel, 1, kernel // 2).requires_grad_(False)
        self.of_features = nn.Conv2d(channels, width, 1)
        self.of_image = nn.Conv2d(12, width, 3, 1, 1)
        self.middle = nn.ModuleList(nn.Conv2d(width, width, 3, 1, 1) for _ in range(3))
        self.last = nn.Conv2d(width, 12, 3, 1, 1)
        nn.init.zeros_(self.last.weight)
        nn.init.zeros_(self.last.bias)

    def guess(self, features: Tensor) -> Tensor:
        """Return the images of the linear part alone."""
        patches = self.linear((features - self.centre) / self.spread)  # (B, 3 r r, H', W')
        image = F.pixel_shuffle(patches, self.ratio)
        size = self.mean.shape[1:]
        if image.shape[2:] != size:
            image = F.interpolate(image, size, mode="bilinear")
        return image + self.mean

    def forward(self, features: Tensor) -> Tensor:
        guess = self.guess(features)
        height, width = guess.shape[2:]
        even = F.pad(guess - self.mean, (0, width % 2, 0, height % 2))
        halved = F.pixel_unshuffle(even, 2)  # (B, 12, H / 2, W / 2)
        y = self.of_features((features - self.centre) / self.spread)
        if y.shape[2:] != halved.shape[2:]:
            y = F.interpolate(y, halved.shape[2:], mode="bilinear")
        y = F.relu(y + self.of_image(halved))
        for conv in self.middle:
            y = y + F.relu(conv(y))
        return guess + F.pixel_shuffle(self.last(y), 2)[:, :, :height, :width]


def train(
    images: Tensor, query: Query, steps: int, seed: int, step: Callable[[], object] = lambda: None
) -> Decoder:
    """Train a decoder on images of the attacker's own and what the defended device makes of them.

    images: uint8 (N, H, W, 3), of which no more are taken than their features fit into memory; query: images
    uint8 -> features as received. Half of the pairs are of mirrored images. The loss is the squared error and 1 -
    SSIM, by which a reconstruction is judged (He et al. 2019, train on the squared error alone).
    """
    generator = torch.Generator().manual_seed(seed)
    most = max(1, _MOST_VALUES // (2 * query(images[:1]).numel()))
    both = torch.cat([images[:most], images[:most].flip(2)])
    pixels = both.permute(0, 3, 1, 2).float() / 255
    features = query(both)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        decoder = _blank(pixels, features)
    solve(decoder, features, pixels, generator)
    learned = [p for p in decoder.parameters() if p.requires_grad]
    optimizer = torch.optim.Adam(learned, _RATE)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, _RATE, total_steps=steps + 1, pct_start=0.1)
    rows = torch.cat(
        [torch.randperm(len(both), generator=generator) for _ in range(steps * _BATCH // len(both) + 1)]
    )
    for i in range(steps):
        chosen = rows[i * _BATCH : (i + 1) * _BATCH]
        made, wanted = decoder(features[chosen]), pixels[chosen]
        loss = 20 * F.mse_loss(made, wanted) + (1 - similarity(made, wanted)).mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()
        step()
    return decoder.eval().requires_grad_(False)


def _blank(pixels: Tensor, features: Tensor) -> Decoder:
    channels, height = features.shape[1:3]
    kernel = max(k for k in (1, 3, 5, 7) if k == 1 or channels * k**2 <= _MOST_COLUMNS)
    ratio = max(1, pixels.shape[2] // height)
    decoder = Decoder(
        channels, kernel, ratio, pixels.mean(0), features.std((0, 2, 3)).reshape(-1, 1, 1) + 1e-6
    )
    decoder.centre.copy_(features.mean((0, 2, 3)).reshape(-1, 1, 1))
    return decoder


def solve(decoder: Decoder, features: Tensor, pixels: Tensor, generator: torch.Generator) -> None:
    """Set the linear part to the ridge regression of the pixels on the features around them, in place.

    The ridge is the best of four on a tenth of the images, which the regression has not seen.
    """
    conv, ratio = decoder.linear, decoder.ratio
    columns = conv.in_channels * conv.kernel_size[0] ** 2
    most = int(max(4 * columns, min(_MOST_ROWS, _MOST_PRODUCTS / columns**2)))
    positions = features.shape[2] * features.shape[3]
    count = min(len(features), max(50, most // positions))
    chosen = torch.randperm(len(features), generator=generator)[:count]
    around = F.unfold(
        (features[chosen] - decoder.centre) / decoder.spread, conv.kernel_size, padding=conv.padding
    )
    wanted = pixels[chosen] - decoder.mean
    size = (features.shape[2] * ratio, features.shape[3] * ratio)
    if wanted.shape[2:] != size:
        wanted = F.interpolate(wanted, size, mode="bilinear")
    patches = F.unfold(wanted, ratio, stride=ratio)
    at = max(1, count // 10)
    a, b, test_a, test_b = (
        t.transpose(1, 2).reshape(-1, t.shape[1])  # (rows, columns)
        for t in (around[at:], patches[at:], around[:at], patches[:at])
    )
    rows = torch.randperm(len(a), generator=generator)[:most]
    a, b = a[rows], b[rows]
    gram, right = (a.T @ a).double(), (a.T @ b).double()
    best, least = torch.zeros_like(right), float("inf")
    for ridge in (1e-6, 1e-4, 1e-2, 1e-1):
        weight = torch.linalg.solve(gram + ridge * gram.diagonal().mean() * torch.eye(len(gram)), right)
        missed = float(F.mse_loss(test_a @ weight.float(), test_b))
        if missed < least:
            best, least = weight, missed
    conv.weight.copy_(best.T.float().reshape(conv.weight.shape))
    conv.bias.zero_()


def similarity(a: Tensor, b: Tensor) -> Tensor:
    """Return the structural similarity of images (B, 3, H, W) in 0..1, as quality.ssim does: (B,)."""
    window, shift = 7, 49 / 48  # of a sample's variance
    mean_a, mean_b = (F.avg_pool2d(t, window, 1) for t in (a, b))
    var_a, var_b, both = (
        shift * (F.avg_pool2d(s * t, window, 1) - m * n)
        for s, t, m, n in ((a, a, mean_a, mean_a), (b, b, mean_b, mean_b), (a, b, mean_a, mean_b))
    )
    c1, c2 = 0.01**2, 0.03**2
    top = (2 * mean_a * mean_b + c1) * (2 * both + c2)
    return (top / ((mean_a**2 + mean_b**2 + c1) * (var_a + var_b + c2))).mean((1, 2, 3))
