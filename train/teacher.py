"""A heatmap network that is already good says where joints are, and where it is in doubt."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import grid_sample, interpolate

from engines.base import Network
from realtime import decode, geometry
from realtime.errors import UsageError
from realtime.skeleton import MIRROR
from train.targets import STRIDE


class Teacher:
    """A pose model file (see engines.load), or one of a published name, asked about training crops.

    input_wh: of the student's crops, which must have the shape of the teacher's. compute: where
    it runs. Raises UsageError, ModelError.
    """

    def __init__(self, path: Path, input_wh: tuple[int, int], compute: str = "cpu") -> None:
        from engines.choose import named
        from engines.load import load

        model = named("pose", path) or path
        self._network: Network = load(model, "pose", precision="f32", compute=compute)
        width, height = self._network.spec.input_wh
        if width * input_wh[1] != height * input_wh[0]:
            raise UsageError(
                f"--teacher {path}: looks at crops of {width}x{height}, which have another shape "
                f"than those of {input_wh[0]}x{input_wh[1]} (--input-wh)"
            )
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

    def maps(self, crops: Tensor) -> Tensor:
        """Heatmaps (B, 17, H / 4, W / 4) of crops uint8 (B, H, W, 3), on the student's grid: each
        the mean of what is seen in the crop and in its mirror image. On the device of the crops;
        what is not finite is 0."""
        map_wh = crops.shape[2] // STRIDE, crops.shape[1] // STRIDE
        pixels = _resized(crops, self._network.spec.input_wh)
        plain, mirrored = (self._on_grid(x, map_wh) for x in (pixels, pixels.flip(2)))
        both = (plain + mirrored[:, MIRROR].flip(3)) / 2
        return both.nan_to_num(0.0).to(crops.device)

    def _on_grid(self, pixels: Tensor, map_wh: tuple[int, int]) -> Tensor:
        """Heatmaps of the teacher's size of crop as maps of another size, whose cells lie on the
        grid "pixel_centre" (realtime.decode)."""
        heatmaps = torch.from_numpy(self._network(pixels.cpu().numpy())[0]).float()
        spec, own_wh = self._network.spec, (heatmaps.shape[3], heatmaps.shape[2])
        in_crop = decode.cells_to_crop("pixel_centre", map_wh, spec.input_wh)
        own_cells = geometry.invert(decode.cells_to_crop(spec.grid, own_wh, spec.input_wh))
        cells = np.stack(np.meshgrid(*map(np.arange, map_wh)), -1).reshape(-1, 2)
        there = geometry.apply(own_cells, geometry.apply(in_crop, cells.astype(np.float32)))
        share = 2 * there / (np.array(own_wh, np.float32) - 1) - 1  # -1 and 1: outermost cells
        grid = torch.from_numpy(share.reshape(1, map_wh[1], map_wh[0], 2))
        each = grid.expand(len(heatmaps), -1, -1, -1)
        return grid_sample(heatmaps, each, "bicubic", "border", align_corners=True)


def _resized(crops: Tensor, size_wh: tuple[int, int]) -> Tensor:
    """Pictures uint8 (B, H, W, 3) in another size."""
    width, height = size_wh
    if crops.shape[1:3] == (height, width):
        return crops
    floats = crops.permute(0, 3, 1, 2).float()
    resized = interpolate(
        floats, (height, width), mode="bilinear", align_corners=False, antialias=True
    )
    return resized.round().clamp(0, 255).byte().permute(0, 2, 3, 1).contiguous()
