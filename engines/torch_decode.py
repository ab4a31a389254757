"""What realtime.decode does, on the device of the heatmaps: only joints have to leave it.

Every step has a fixed shape and asks the device nothing, so that a CUDA graph can hold it.
"""

from __future__ import annotations

import torch
from torch import Tensor

from realtime import decode
from realtime.decode import Method


class Peaks:
    """Reads heatmaps by one method. sigma: of the training targets, in cells."""

    def __init__(self, method: Method, sigma: float, place: torch.device) -> None:
        self._method = method
        self._reach = decode.REACH.get(method, 1)
        self._kernels = torch.from_numpy(decode.kernels(self._reach, sigma)).to(place)

    def __call__(self, heatmaps: Tensor) -> tuple[Tensor, Tensor]:
        """Joints (M, K, 2) in cells and their scores (M, K), float32, of heatmaps float32
        (M, K, h, w); NaN where a map is not finite. See realtime.decode.decode."""
        count, joints, height, width = heatmaps.shape
        maps = heatmaps.reshape(count * joints, height, width)
        flat = maps.flatten(1)
        index = flat.argmax(1)
        peak = flat.gather(1, index[:, None])[:, 0]
        finite = torch.isfinite(peak) & torch.isfinite(flat.amin(1))
        cells = torch.stack([index % width, index // width], 1)
        points = torch.where(finite[:, None], cells + self._shift(maps, cells), torch.nan)
        scores = torch.where(finite, peak.clamp(0, 1), torch.nan)
        return points.float().reshape(count, joints, 2), scores.reshape(count, joints)

    def _shift(self, maps: Tensor, cells: Tensor) -> Tensor:
        if self._method == "argmax" or min(maps.shape[1:]) < 2 * self._reach + 1:
            return torch.zeros_like(cells)
        return _quarter(maps, cells) if self._method == "quarter" else self._newton(maps, cells)

    def _newton(self, maps: Tensor, cells: Tensor) -> Tensor:
        """See realtime.decode._newton."""
        reach = self._reach
        start = torch.stack(
            [cells[:, axis].clamp(reach, maps.shape[2 - axis] - 1 - reach) for axis in (0, 1)], 1
        )
        around = self._smoothed(maps, start)
        top = around.amax((1, 2), keepdim=True)
        log = (around / torch.where(top > 0, top, 1)).clamp(min=decode.FLOOR).log()
        x, y, curved = decode.newton_step(log, reach)
        shift = torch.where(curved[:, None], torch.stack([x, y], 1) + (start - cells), 0)
        return shift.clamp(-decode.MAX_SHIFT, decode.MAX_SHIFT)

    def _smoothed(self, maps: Tensor, cells: Tensor) -> Tensor:
        """See realtime.decode._smoothed."""
        radius, reach = len(self._kernels) - 1, self._reach
        last = [maps.shape[2] - 1, maps.shape[1] - 1]
        x, y = cells.unbind(1)
        room = [
            (torch.minimum(at, end - at) - reach).clamp(0, radius)
            for at, end in zip((x, y), last, strict=True)
        ]
        near = torch.arange(-radius - reach, radius + reach + 1, device=maps.device)
        columns = (x[:, None] + near).clamp(0, last[0])
        rows = (y[:, None] + near).clamp(0, last[1])
        which = torch.arange(len(maps), device=maps.device)[:, None, None]
        patch = maps[which, rows[:, :, None], columns[:, None, :]].double()
        return self._kernels[room[1]] @ patch @ self._kernels[room[0]].transpose(1, 2)


def _quarter(maps: Tensor, cells: Tensor) -> Tensor:
    """See realtime.decode._quarter."""
    height, width = maps.shape[1:]
    x, y = cells.unbind(1)
    inside = (x > 0) & (y > 0) & (x < width - 1) & (y < height - 1)
    n = torch.arange(len(maps), device=maps.device)
    x, y = x.clamp(1, width - 2), y.clamp(1, height - 2)
    right = (maps[n, y, x + 1] - maps[n, y, x - 1]).sign()
    down = (maps[n, y + 1, x] - maps[n, y - 1, x]).sign()
    return torch.where(inside[:, None], torch.stack([right, down], 1) / 4, 0)
