"""Heatmaps to joints: the peak of each map, refined below one cell, in frame pixels.

Two ways to refine besides the plain peak and the quarter offset of Xiao et al. (Simple Baselines,
ECCV 2018). Both smooth the map, take its logarithm, which for a Gaussian is a paraboloid, and go
to the top of that by one Newton step:

- "dark": derivatives over two cells each way, Zhang et al., Distribution-Aware Coordinate
  Representation for Human Pose Estimation, CVPR 2020, eq. 6-9.
- "udp": derivatives over the nearest cells, Huang et al., The Devil is in the Details, CVPR 2020.

Where theirs smooth over the border or give up there, the smoothing here shrinks to the room there
is, so that both stay unbiased up to the last cell.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from engines.base import Grid
from realtime import geometry
from realtime.records import Detections, Float, Poses

Method = Literal["argmax", "quarter", "dark", "udp"]
METHODS: tuple[Method, ...] = ("argmax", "quarter", "dark", "udp")
DEFAULT_METHOD: Method = "udp"
REACH = {"dark": 2, "udp": 1}
"""How many cells around the peak the derivatives look at."""

KERNEL_SIGMAS = 2.5  # radius of the smoothing kernel
FLOOR = 1e-3  # of the smoothed peak, under the logarithm
MAX_SHIFT = 2.0  # cells; a refined joint farther from the peak is noise

Int = NDArray[np.int64]


def decode(
    heatmaps: Float,
    method: Method,
    grid: Grid,
    crop_wh: tuple[int, int],
    sigma: float = 2.0,
) -> tuple[Float, Float]:
    """Joints (M, K, 2) in crop pixels and their scores (M, K) of heatmaps (M, K, h, w).

    grid: see engines.base.ModelSpec. sigma: of the training targets, in cells. A score is the
    height of the peak, cut to 0..1. A map with a value that is not finite gives NaN for joint
    and score. Joints may lie up to MAX_SHIFT cells outside the crop.
    """
    count, joints, height, width = heatmaps.shape
    maps = heatmaps.reshape(count * joints, height, width)
    flat = maps.reshape(len(maps), height * width)
    index = flat.argmax(1)
    peak = flat[np.arange(len(flat)), index]
    finite = np.isfinite(peak) & np.isfinite(flat.min(1))
    cells = np.stack([index % width, index // width], 1)
    points = np.full((len(maps), 2), np.nan, np.float32)
    some = maps if finite.all() else maps[finite]  # which copies
    points[finite] = cells[finite] + _shift(some, cells[finite], method, sigma)
    in_crop = _to_crop(points, grid, (width, height), crop_wh)
    scores = np.where(finite, np.clip(peak, 0, 1), np.nan).astype(np.float32)
    return in_crop.reshape(count, joints, 2), scores.reshape(count, joints)


def to_poses(
    points_xy: Float, joint_scores: Float, crop_to_frame: Float, detections: Sequence[Detections]
) -> tuple[list[Poses], list[int]]:
    """People of each frame, and how many of each frame had to be left out.

    points_xy (M, 17, 2) in crop pixels, joint_scores (M, 17) and crop_to_frame (M, 2, 3) belong to
    the people of detections, one of these per frame, in the same order. People with a value that
    is not finite are left out. The score of a person is the square root of the detection's times
    the mean of the joint scores, each weighted by itself: the expected similarity of a joint that
    is there, if a score is the chance of being there as well as of being right. The root makes the
    pose network's opinion count for more than the detector's: of as many people found, fewer are
    false and the AP is higher than with the plain product.
    """
    with np.errstate(invalid="ignore"):  # what is not finite is looked for below
        joints = geometry.apply(crop_to_frame, points_xy)
        mean = (joint_scores**2).sum(1) / np.maximum(joint_scores.sum(1), 1e-6)
    boxes = np.concatenate([np.zeros((0, 4), np.float32), *(d.boxes_xyxy for d in detections)])
    detected = all(found.wider_xyxy is None for found in detections)
    wider = None if detected else np.concatenate([d.search_xyxy for d in detections])
    box_scores = np.concatenate([np.zeros(0, np.float32), *(d.scores for d in detections)])
    scores = (np.sqrt(box_scores) * mean).astype(np.float32)
    usable = np.isfinite(joints).all((1, 2)) & np.isfinite(joint_scores).all(1)
    usable &= np.isfinite(boxes).all(1) & np.isfinite(box_scores)
    people = Poses(joints, joint_scores, boxes, scores, np.full(len(joints), -1, np.int64), wider)
    frame_of = np.repeat(np.arange(len(detections)), [len(found) for found in detections])
    of_frame = [frame_of == n for n in range(len(detections))]
    poses = [people[mine & usable] for mine in of_frame]
    return poses, [int((mine & ~usable).sum()) for mine in of_frame]


def cells_to_crop(grid: Grid, map_wh: tuple[int, int], crop_wh: tuple[int, int]) -> Float:
    """The affine (2, 3) from heatmap cells to crop pixels."""
    zero, one = _to_crop(np.array([[0, 0], [1, 1]], np.float32), grid, map_wh, crop_wh)
    return np.concatenate([np.diag(one - zero), zero[:, None]], 1)


def _to_crop(points: Float, grid: Grid, map_wh: tuple[int, int], crop_wh: tuple[int, int]) -> Float:
    """Heatmap cells (N, 2) as crop pixels, by the rule the network was trained with."""
    cells, pixels = np.array(map_wh, np.float32), np.array(crop_wh, np.float32)
    if grid == "corner":
        placed = points * (pixels / cells)
    elif grid == "udp":
        placed = points * ((pixels - 1) / np.maximum(cells - 1, 1))
    else:
        placed = (points + 0.5) * (pixels / cells) - 0.5
    return placed.astype(np.float32)


def _shift(maps: Float, cells: Int, method: Method, sigma: float) -> Float:
    """From the peak cells (N, 2) of maps (N, h, w) to the refined peaks, in cells."""
    reach = REACH.get(method, 1)
    if method == "argmax" or min(maps.shape[1:]) < 2 * reach + 1:
        return np.zeros((len(maps), 2), np.float32)
    if method == "quarter":
        return _quarter(maps, cells)
    return _newton(maps, cells, reach, sigma)


def _quarter(maps: Float, cells: Int) -> Float:
    """A quarter of a cell towards the higher neighbour, along each axis; none at the border."""
    last = np.array(maps.shape[:0:-1]) - 1
    inside = np.all((cells > 0) & (cells < last), axis=1)
    (x, y), n = np.clip(cells, 1, last - 1).T, np.arange(len(maps))
    right = np.sign(maps[n, y, x + 1] - maps[n, y, x - 1])
    down = np.sign(maps[n, y + 1, x] - maps[n, y - 1, x])
    return np.where(inside[:, None], np.stack([right, down], 1) / 4, 0).astype(np.float32)


def _newton(maps: Float, cells: Int, reach: int, sigma: float) -> Float:
    """From the peak cells to the top of the smoothed logarithm.

    The step starts from the nearest cell whose neighbours all lie inside the map: for a
    paraboloid it ends at the same point from anywhere.
    """
    last = np.array(maps.shape[:0:-1]) - 1
    start = np.clip(cells, reach, last - reach)
    around = _smoothed(maps, start, reach, sigma)
    top = around.max((1, 2), keepdims=True)
    log = np.log(np.maximum(around / np.where(top > 0, top, 1), FLOOR))
    x, y, curved = newton_step(log, reach)
    shift = np.where(curved[:, None], np.stack([x, y], 1) + (start - cells), 0)
    return np.clip(shift, -MAX_SHIFT, MAX_SHIFT).astype(np.float32)


def newton_step(log: Any, reach: int) -> tuple[Any, Any, Any]:
    """The step in x and y (N,) from the centres of patches (N, 2 * reach + 1, 2 * reach + 1) to the
    tops of the paraboloids there, and whether (N,) there is a top; of arrays or of tensors."""
    c = reach  # the centre; the first derivatives are over one cell in both papers
    dx = (log[:, c, c + 1] - log[:, c, c - 1]) / 2
    dy = (log[:, c + 1, c] - log[:, c - 1, c]) / 2
    dxx = (log[:, c, c + reach] - 2 * log[:, c, c] + log[:, c, c - reach]) / reach**2
    dyy = (log[:, c + reach, c] - 2 * log[:, c, c] + log[:, c - reach, c]) / reach**2
    corners = log[:, c - 1 : c + 2 : 2, c - 1 : c + 2 : 2]
    dxy = (corners[:, 1, 1] - corners[:, 1, 0] - corners[:, 0, 1] + corners[:, 0, 0]) / 4
    det = dxx * dyy - dxy**2
    curved = (det > 1e-9) & (dxx < 0)  # there is a top; never so on a constant map
    det = det * curved + ~curved  # 1 where there is none
    return (dxy * dy - dyy * dx) / det, (dxy * dx - dxx * dy) / det, curved


def _smoothed(maps: Float, cells: Int, reach: int, sigma: float) -> NDArray[np.float64]:
    """The Gaussian-smoothed values (N, 2 * reach + 1, 2 * reach + 1) around cells of maps.

    Only these are computed: a patch of each map between two small matrices, one for each axis.
    """
    matrices = kernels(reach, sigma)
    radius = len(matrices) - 1
    last = np.array(maps.shape[:0:-1]) - 1
    room = np.clip(np.minimum(cells, last - cells) - reach, 0, radius)
    near = np.arange(-radius - reach, radius + reach + 1)
    x = np.clip(cells[:, :1] + near, 0, last[0])  # clipped cells have weight 0
    y = np.clip(cells[:, 1:] + near, 0, last[1])
    patch = maps[np.arange(len(maps))[:, None, None], y[:, :, None], x[:, None, :]]
    result: NDArray[np.float64] = (
        matrices[room[:, 1]] @ patch.astype(np.float64) @ matrices[room[:, 0]].swapaxes(1, 2)
    )
    return result


@cache
def kernels(reach: int, sigma: float) -> NDArray[np.float64]:
    """Smoothing matrices (R + 1, 2 * reach + 1, 2 * (R + reach) + 1) of radius 0 to R."""
    full = int(np.ceil(KERNEL_SIGMAS * sigma))
    matrices = np.zeros((full + 1, 2 * reach + 1, 2 * (full + reach) + 1))
    for radius in range(full + 1):
        kernel = np.exp(-(np.arange(-radius, radius + 1) ** 2) / (2 * sigma**2))
        for row in range(2 * reach + 1):
            start = row + full - radius
            matrices[radius, row, start : start + 2 * radius + 1] = kernel / kernel.sum()
    return matrices
