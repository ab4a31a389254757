"""The person detector: a centre heatmap and box edges at stride 4, in plain convolutions."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from realtime.skeleton import JOINT_COUNT
from train.tiny_nets import PRIOR, Residual, conv

GREY = 114
"""The grey of the letterbox padding; it becomes 0 inside the network."""

STRIDE = 4
"""Input pixels of one cell of every output."""

WIDTHS = (24, 40, 72, 128, 192)
"""Channels at strides 2, 4, 8, 16, 32."""
BLOCKS = (0, 0, 1, 3, 2)
"""Residual blocks at each of them; at the large maps, the dear ones, there are none."""
NECK = (40, 64, 64, 64)
"""Channels of the way back at strides 4, 8, 16, 32."""


class PersonFeatures(nn.Module):
    """Images uint8 (B, H, W, 3) BGR to features (B, 40, H / 4, W / 4); H, W multiples of 32.

    A U-Net whose lateral connections are added, not concatenated.
    """

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, WIDTHS[0], stride=2)
        self.down = nn.ModuleList(
            nn.Sequential(conv(narrow, wide, stride=2), *[Residual(wide) for _ in range(blocks)])
            for narrow, wide, blocks in zip(WIDTHS, WIDTHS[1:], BLOCKS[1:])
        )
        self.lateral = nn.ModuleList(conv(wide, neck, 1) for wide, neck in zip(WIDTHS[1:], NECK))
        self.narrow = conv(NECK[1], NECK[0], 1)
        self.merge = nn.ModuleList(conv(neck, neck) for neck in NECK[:-1])
        self.larger = nn.Upsample(scale_factor=2.0, mode="nearest")

    def forward(self, images: Tensor) -> Tensor:
        return self.levels(images)[0]

    def levels(self, images: Tensor) -> list[Tensor]:
        """The maps of the way back at strides 4, 8, 16 and 32, with NECK channels."""
        x = (images.float() - GREY) * (1 / 64)
        x = self.stem(x.permute(0, 3, 1, 2))
        levels = []
        for down, lateral in zip(self.down, self.lateral):
            x = down(x)
            levels.append(lateral(x))
        levels[2] = self.merge[2](levels[2] + self.larger(levels[3]))
        levels[1] = self.merge[1](levels[1] + self.larger(levels[2]))
        levels[0] = self.merge[0](levels[0] + self.larger(self.narrow(levels[1])))
        return levels


class PersonDetector(nn.Module):
    """Images uint8 (B, H, W, 3) BGR to ``centers`` (B, 1, H / 4, W / 4) and ``sizes`` (B, 4, ...).

    centers: probability that the centre of a person's box lies in the cell. sizes: distances in
    input pixels from the cell's centre ((j + 0.5) * 4 - 0.5, (i + 0.5) * 4 - 0.5) to the left,
    top, right and bottom edge of that person's box.
    """

    def __init__(self) -> None:
        super().__init__()
        self.features = PersonFeatures()
        self.head = nn.Conv2d(NECK[0], 5, 1)
        nn.init.normal_(self.head.weight, std=0.01)
        self.head.bias = nn.Parameter(torch.tensor([PRIOR, 0.7, 0.7, 0.7, 0.7]))

    def split(self, out: Tensor) -> tuple[Tensor, Tensor]:
        """Centre logits and sizes in pixels of what the head gives."""
        # exp keeps sizes positive and their relative error even; the clamp keeps it finite.
        return out[:, :1], 16 * torch.exp(out[:, 1:].float().clamp(-4.0, 4.0))

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        centres, sizes = self.split(self.head(self.features(images)))
        return torch.sigmoid(centres), sizes


class DetectorTrainer(nn.Module):
    """A PersonDetector with heads that are only there to learn from: for joints and, with a
    teacher, for its maps at strides 8, 16 and 32, with so many channels each.

    forward: images to centre logits (B, 1, h, w), sizes (B, 4, h, w), joint logits (B, 17, h, w)
    and the list of what the teacher is expected to see.
    """

    may_be_new = "joints.", "hints."
    """Names of weights that a file to start from need not have."""

    def __init__(self, teacher_channels: Sequence[int] = ()) -> None:
        super().__init__()
        self.detector = PersonDetector()
        self.joints = nn.Conv2d(NECK[0], JOINT_COUNT, 1)
        nn.init.normal_(self.joints.weight, std=0.01)
        nn.init.constant_(self.joints.bias, PRIOR)  # type: ignore[arg-type]
        pairs = zip(NECK[1:], teacher_channels)
        self.hints = nn.ModuleList(nn.Conv2d(wide, channels, 1) for wide, channels in pairs)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor, Tensor, list[Tensor]]:
        levels = self.detector.features.levels(images)
        centres, sizes = self.detector.split(self.detector.head(levels[0]))
        hints = [hint(level) for hint, level in zip(self.hints, levels[1:])]
        return centres, sizes, self.joints(levels[0]), hints
