"""Two tiny networks in plain convolutions: a person detector and a heatmap pose network.

Both take uint8 (B, H, W, 3) BGR, any B; the normalisation and the layout change are part of the
network. Both share one backbone: a U-Net whose lateral connections are added, not concatenated.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from realtime.skeleton import JOINT_COUNT

STRIDE = 4
"""Input pixels for one cell of every output map."""

GREY = 114.0
"""The grey of the letterbox padding; it becomes 0 inside the networks."""

PRIOR = -4.0
"""Logit of an empty map at the start: almost all cells are background (Lin et al. 2017)."""


def conv(inputs: int, outputs: int, kernel: int = 3, stride: int = 1) -> nn.Sequential:
    """Convolution, batch normalisation, ReLU; the size changes by the stride only."""
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, kernel, stride, kernel // 2, bias=False),
        nn.BatchNorm2d(outputs, momentum=0.05),
        nn.ReLU(inplace=True),
    )


class Residual(nn.Module):
    """x + two 3x3 convolutions of x."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.body = nn.Sequential(conv(channels, channels), conv(channels, channels))

    def forward(self, x: Tensor) -> Tensor:
        return x + self.body(x)  # type: ignore[no-any-return]


class Pyramid(nn.Module):
    """Images uint8 (B, H, W, 3) to features (B, neck, H / 4, W / 4).

    widths: channels at strides 2, 4, 8, ...; H and W must be multiples of the last stride. The
    first two levels, the dear ones, have no residual block.
    """

    def __init__(self, widths: tuple[int, ...], neck: int) -> None:
        super().__init__()
        self.stem = conv(3, widths[0], stride=2)
        self.down = nn.ModuleList(
            nn.Sequential(conv(narrow, wide, stride=2), *[Residual(wide)] * (level > 0))
            for level, (narrow, wide) in enumerate(zip(widths[:-1], widths[1:]))
        )
        self.lateral = nn.ModuleList(conv(wide, neck, 1) for wide in widths[1:])
        self.merge = nn.ModuleList(conv(neck, neck) for _ in widths[2:])

    def forward(self, images: Tensor) -> Tensor:
        x = (images.float() - GREY) * (1 / 64)
        x = self.stem(x.permute(0, 3, 1, 2))
        levels = []
        for down, lateral in zip(self.down, self.lateral):
            x = down(x)
            levels.append(lateral(x))
        top: Tensor = levels.pop()
        for merge, level in zip(self.merge, reversed(levels)):
            top = merge(level + functional.interpolate(top, scale_factor=2.0, mode="nearest"))
        return top


class TinyDetector(nn.Module):
    """Images uint8 (B, 192, 320, 3) to ``centers`` (B, 1, 48, 80) and ``sizes`` (B, 4, 48, 80).

    centers: probability that a person's box centre lies in the cell. sizes: distances in input
    pixels from the cell's centre ((j + 0.5) * 4 - 0.5, (i + 0.5) * 4 - 0.5) to the left, top,
    right and bottom edge of that person's box.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = Pyramid((12, 24, 48, 72, 76, 56), 32)
        self.head = nn.Conv2d(32, 5, 1)
        nn.init.normal_(self.head.weight, std=0.01)
        self.head.bias = nn.Parameter(torch.tensor([PRIOR, 0.0, 0.0, 0.0, 0.0]))

    def logits(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Centre logits and sizes in pixels, for training."""
        out = self.head(self.features(images))
        # exp keeps sizes positive and their relative error even; the clamp keeps it finite.
        return out[:, :1], 16 * torch.exp(out[:, 1:].clamp(-4.0, 4.0))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        centres, sizes = self.logits(images)
        return torch.sigmoid(centres), sizes


class TinyPose(nn.Module):
    """Crops uint8 (B, 256, 192, 3) to heatmaps (B, 17, 64, 48): Gaussians of sigma 2, peak 1."""

    def __init__(self) -> None:
        super().__init__()
        self.features = Pyramid((16, 32, 64, 80, 72), 48)
        self.head = nn.Conv2d(48, JOINT_COUNT, 1)
        nn.init.normal_(self.head.weight, std=0.01)
        nn.init.constant_(self.head.bias, PRIOR)  # type: ignore[arg-type]

    def logits(self, crops: Tensor) -> Tensor:
        """Heatmap logits, for training."""
        out: Tensor = self.head(self.features(crops))
        return out

    def forward(self, crops: Tensor) -> Tensor:
        return torch.sigmoid(self.logits(crops))
