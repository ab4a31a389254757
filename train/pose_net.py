"""The pose network as it is trained and exported: pictures in, normalisation inside."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from engines.registry import IMAGENET_MEAN, IMAGENET_STD
from engines.torch_nets import PoseResNet

Triple = tuple[float, float, float]


class PoseNet(nn.Module):
    """Crops uint8 (B, H, W, 3) BGR to heatmaps float (B, 17, H / 4, W / 4), any B.

    H and W are multiples of 32. depth: 18, 34, 50, 101 or 152 layers of the backbone. rgb, mean,
    std: what the weights were trained with, as in engines.base.ModelSpec; constants, not learned.
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
    ) -> None:
        super().__init__()
        self.net = PoseResNet(depth)
        self.rgb = rgb
        self.register_buffer("mean", torch.tensor(mean), persistent=False)
        self.register_buffer("scale", 1 / torch.tensor(std), persistent=False)

    def forward(self, crops: Tensor) -> Tensor:
        # The flip moves bytes, not floats; the permute is a view in channels_last layout.
        pixels = crops.flip(3) if self.rgb else crops
        images = (pixels.float() - self.mean) * self.scale
        heatmaps: Tensor = self.net(images.permute(0, 3, 1, 2))
        return heatmaps
