"""The pose network as it is trained and exported: pictures in, normalisation inside."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from engines.registry import IMAGENET_MEAN, IMAGENET_STD
from engines.torch_nets import WIDTHS, PoseResNet, Widths

Triple = tuple[float, float, float]

STRIDES = 32, 16, 8, 4
"""Of the maps of PoseNet.levels."""


class PoseNet(nn.Module):
    """Crops uint8 (B, H, W, 3) BGR to heatmaps float (B, 17, H / 4, W / 4), any B.

    H and W are multiples of 32. depth: 18, 34, 50, 101 or 152 layers of the backbone. rgb, mean,
    std: what the weights were trained with, as in engines.base.ModelSpec; constants, not learned.
    widths: channels of the deconvolutions.
    All that a checkpoint holds are the parameters and buffers of engines.torch_nets.PoseResNet,
    which is the attribute net.
    """

    mean: Tensor
    scale: Tensor

    def __init__(
        self,
        depth: int = 18,
        rgb: bool = True,
        mean: Triple = IMAGENET_MEAN,
        std: Triple = IMAGENET_STD,
        widths: Widths = WIDTHS,
    ) -> None:
        super().__init__()
        self.net = PoseResNet(depth, widths)
        self.widths = widths
        self.rgb = rgb
        self._frozen = 0
        self.register_buffer("mean", torch.tensor(mean), persistent=False)
        self.register_buffer("scale", 1 / torch.tensor(std), persistent=False)

    def forward(self, crops: Tensor) -> Tensor:
        heatmaps: Tensor = self.net(self._images(crops))
        return heatmaps

    def freeze(self, parts: int) -> None:
        """Nothing learns any more in so many parts of the backbone: what is before the first block,
        then stages of blocks."""
        self._frozen = parts
        for module in self._still():
            module.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> PoseNet:
        """As ever, but for batch normalisations that are frozen: their statistics stay."""
        super().train(mode)
        for module in self._still():
            module.eval()
        return self

    def _still(self) -> list[nn.Module]:
        net = self.net.backbone
        parts = [[net.conv1, net.bn1], *([getattr(net, f"layer{n}")] for n in range(1, 5))]
        return [module for part in parts[: self._frozen] for module in part]

    def levels(self, crops: Tensor) -> list[Tensor]:
        """See engines.torch_nets.PoseResNet.levels."""
        return self.net.levels(self._images(crops))

    def _images(self, crops: Tensor) -> Tensor:
        # The flip moves bytes, not floats; the permute is a view in channels_last layout.
        pixels = crops.flip(3) if self.rgb else crops
        images = (pixels.float() - self.mean) * self.scale
        return images.permute(0, 3, 1, 2)


class PoseTrainer(nn.Module):
    """A PoseNet with heads that are only there to learn what a teacher sees at some of STRIDES,
    with so many channels each.

    forward: crops to heatmaps and the list of what the teacher is expected to see.
    """

    may_be_new = "hints.", "final."
    """Names of weights that a file to start from need not have."""

    def __init__(
        self, pose: PoseNet, strides: Sequence[int], teacher_channels: Sequence[int]
    ) -> None:
        super().__init__()
        self.pose = pose
        self._levels = [STRIDES.index(stride) for stride in strides]
        deep = int(pose.net.deconv[0].in_channels)  # type: ignore[arg-type]
        widths = [(deep, *pose.widths)[level] for level in self._levels]
        pairs = zip(widths, teacher_channels, strict=True)
        self.hints = nn.ModuleList(nn.Conv2d(wide, channels, 1) for wide, channels in pairs)

    def forward(self, crops: Tensor) -> tuple[Tensor, list[Tensor]]:
        levels = self.pose.levels(crops)
        hints = [hint(levels[n]) for hint, n in zip(self.hints, self._levels, strict=True)]
        return self.pose.net.final(levels[-1]), hints
