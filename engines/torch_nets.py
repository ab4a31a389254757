"""The pose network of Xiao et al., Simple Baselines for Human Pose Estimation (ECCV 2018)."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import torchvision
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from realtime.skeleton import JOINT_COUNT

Widths = tuple[int, int, int]
WIDTHS: Widths = 256, 256, 256
"""Channels of the three deconvolutions in the paper; slimmed networks have fewer (train.slim)."""


DEPTHS: dict[tuple[int, tuple[int, ...]], int] = {
    (2, (2, 2, 2, 2)): 18,
    (2, (3, 4, 6, 3)): 34,
    (3, (3, 4, 6, 3)): 50,
    (3, (3, 4, 23, 3)): 101,
    (3, (3, 8, 36, 3)): 152,
}
"""Convolutions in a block and blocks in each stage of the ResNets (He et al., 2016, table 1)."""


class PoseResNet(nn.Module):
    """A ResNet to stride 32, three deconvolutions back to stride 4, one 1x1 to the heatmaps.

    forward: normalised RGB float (B, 3, H, W) to heatmaps (B, 17, H / 4, W / 4); H and W are
    multiples of 32. depth: 18, 34, 50, 101 or 152. widths: channels of the deconvolutions.
    Parameter names: torchvision's under "backbone.", then "deconv.", "final.".
    """

    def __init__(self, depth: int = 18, widths: Widths = WIDTHS) -> None:
        super().__init__()
        self.backbone = torchvision.models.get_model(f"resnet{depth}", weights=None)
        channels = self.backbone.fc.in_features
        del self.backbone.avgpool, self.backbone.fc
        layers: list[nn.Module] = []
        for inputs, outputs in zip((channels, *widths), widths):
            layers += [
                nn.ConvTranspose2d(inputs, outputs, 4, 2, 1, bias=False),
                nn.BatchNorm2d(outputs),
                nn.ReLU(inplace=True),
            ]
        self.deconv = nn.Sequential(*layers)
        self.final = nn.Conv2d(widths[-1], JOINT_COUNT, 1)

    def forward(self, images: Tensor) -> Tensor:
        heatmaps: Tensor = self.final(self.levels(images)[-1])
        return heatmaps

    def levels(self, images: Tensor) -> list[Tensor]:
        """The backbone's maps at stride 32, then those of the deconvolutions at 16, 8 and 4."""
        net = self.backbone
        x = net.maxpool(net.relu(net.bn1(net.conv1(images))))
        x = net.layer4(net.layer3(net.layer2(net.layer1(x))))
        levels = [x]
        for layer in self.deconv:
            x = layer(x)
            if isinstance(layer, nn.ReLU):
                levels.append(x)
        return levels


def widths_of(weights: Mapping[str, Tensor]) -> Widths:
    """The widths of the PoseResNet whose weights these are; WIDTHS where they are not told."""
    found = [weights.get(f"deconv.{layer}.weight") for layer in (0, 3, 6)]
    first, second, third = (
        wide if kernel is None or kernel.ndim != 4 else int(kernel.shape[1])
        for wide, kernel in zip(WIDTHS, found)
    )
    return first, second, third


def depth_of(names: Collection[str]) -> int | None:
    """The depth of the ResNet under "backbone.", None where there is none of a known depth."""
    blocks = tuple(
        len({n.split(".")[2] for n in names if n.startswith(f"backbone.layer{stage}.")})
        for stage in range(1, 5)
    )
    return DEPTHS.get((3 if "backbone.layer1.0.conv3.weight" in names else 2, blocks))


def folded(net: PoseResNet) -> PoseResNet:
    """net in eval mode with every batch normalisation inside the convolution before it; the same
    object, changed. Inference only: the names of its parameters are no longer those of files."""
    for module in [net.backbone, net.deconv, *net.backbone.modules()]:
        parts = list(module.named_children())
        for (before, conv), (name, norm) in zip(parts, parts[1:]):
            pair = isinstance(conv, nn.Conv2d | nn.ConvTranspose2d)
            if pair and isinstance(norm, nn.BatchNorm2d):
                transpose = isinstance(conv, nn.ConvTranspose2d)
                setattr(module, before, fuse_conv_bn_eval(conv, norm, transpose))
                setattr(module, name, nn.Identity())
    return net
