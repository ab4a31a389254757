"""What the pose network has to say: a Gaussian on the heatmap of each joint."""

from __future__ import annotations

import torch
from torch import Tensor

STRIDE = 4
"""Crop pixels of one heatmap cell."""


def heatmaps(
    joints: Tensor, input_wh: tuple[int, int], sigma: float, visible: Tensor | None = None
) -> Tensor:
    """Gaussians float32 (..., K, h, w), peak 1, of joints (..., K, 2) in crop pixels.

    input_wh: of the crop; h, w are a quarter of it. sigma: in cells. visible (..., K): where it is
    0 the map is 0. The centre is not rounded to a cell: crop pixel p is at (p + 0.5) / 4 - 0.5,
    the grid "pixel_centre" of realtime.decode, so decoding is unbiased (Zhang et al., CVPR 2020,
    section 3.2).
    """
    joints = joints.float()
    if visible is not None:  # whatever stands in the place of an unknown joint, NaN too
        joints = torch.where((visible > 0)[..., None], joints, 0)
    centre = (joints + 0.5) / STRIDE - 0.5
    width, height = input_wh[0] // STRIDE, input_wh[1] // STRIDE
    x = torch.arange(width, device=joints.device, dtype=torch.float32)
    y = torch.arange(height, device=joints.device, dtype=torch.float32)
    across = torch.exp((x - centre[..., :1]) ** 2 / (-2 * sigma**2))
    down = torch.exp((y - centre[..., 1:]) ** 2 / (-2 * sigma**2))
    if visible is not None:
        down = down * (visible > 0)[..., None]
    return down[..., :, None] * across[..., None, :]
