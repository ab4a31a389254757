"""A heatmap network that is already good says where joints are that nobody has labelled."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from engines.base import Network
from realtime import decode


class Teacher:
    """A pose model file (see engines.load) asked about training crops.

    input_wh: of the student's crops, which must have the shape of the teacher's. Raises
    UsageError, ModelError.
    """

    def __init__(self, path: Path, input_wh: tuple[int, int]) -> None:
        from engines.load import load

        self._network: Network = load(path, "pose", precision="f32")
        self._student_wh = input_wh

    def __call__(self, crops: Tensor) -> tuple[Tensor, Tensor]:
        """Joints (B, 17, 2) in pixels of the crops uint8 (B, H, W, 3), and scores (B, 17) in 0..1,
        on the device of the crops; a joint that is not finite has score 0."""
        spec = self._network.spec
        pixels = _resized(crops, spec.input_wh)
        heatmaps = self._network(pixels.cpu().numpy())[0]
        joints, scores = decode.decode(heatmaps, "udp", spec.grid, spec.input_wh, spec.sigma)
        scale = torch.tensor(self._student_wh) / torch.tensor(spec.input_wh)
        moved = (torch.from_numpy(joints) + 0.5) * scale - 0.5
        known = torch.from_numpy(scores).nan_to_num(0.0)
        return moved.nan_to_num(0.0).to(crops.device), known.to(crops.device)


def _resized(crops: Tensor, size_wh: tuple[int, int]) -> Tensor:
    """Pictures uint8 (B, H, W, 3) in another size."""
    width, height = size_wh
    if crops.shape[1:3] == (height, width):
        return crops
    floats = crops.permute(0, 3, 1, 2).float()
    resized = torch.nn.functional.interpolate(
        floats, (height, width), mode="bilinear", align_corners=False, antialias=True
    )
    return resized.round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous()
