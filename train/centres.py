"""Targets of detectors that find people by the centres of their boxes.

Grids (h, w) are those of the outputs: a cell covers STRIDE pixels of the input, and cell (i, j) has
its centre at pixel ((j + 0.5) * STRIDE - 0.5, (i + 0.5) * STRIDE - 0.5).
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from realtime import geometry
from realtime.records import Float

Reals = NDArray[np.floating[Any]]

STRIDE = 4
SPREAD = 0.1
"""Sigma of the centre's Gaussian as a share of the box, about that of TTFNet (Liu et al. 2020)."""
LEAST_SIGMA = 0.8  # cells
NEAR = 0.35
"""Height of the Gaussian from which on a cell says where the edges of the box are."""


def moved(boxes_xyxy: Float, affine: Float) -> Float:
    """Boxes (N, 4) after an affine (2, 3) without rotation; mirrored ones have their corners in
    order."""
    corners = geometry.apply(affine, boxes_xyxy.reshape(-1, 2)).reshape(-1, 2, 2)
    return np.concatenate([corners.min(1), corners.max(1)], 1).astype(np.float32)


def gaussians(cells_xy: Reals, sigmas_xy: Reals | float, size_wh: tuple[int, int]) -> Float:
    """exp(-d^2 / 2 sigma^2) (N, h, w) around points (N, 2) on the grid of an input size_wh; points
    and sigmas, of x and y or of both, are in cells."""
    x, y = (np.arange(length // STRIDE, dtype=np.float32) for length in size_wh)
    centre, width = cells_xy[:, :, None], np.broadcast_to(sigmas_xy, cells_xy.shape)[:, :, None]
    across = np.exp(-((x - centre[:, 0]) ** 2) / (2 * width[:, 0] ** 2))
    down = np.exp(-((y - centre[:, 1]) ** 2) / (2 * width[:, 1] ** 2))
    maps: Float = down[:, :, None] * across[:, None]
    return maps.astype(np.float32, copy=False)


def bumps(boxes_xyxy: Float, size_wh: tuple[int, int]) -> Float:
    """Maps (N, h, w) of boxes (N, 4) in pixels: 1 at the cell of the centre, falling off around."""
    size = np.maximum(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 1)
    cells = np.round(((boxes_xyxy[:, :2] + boxes_xyxy[:, 2:]) / 2 + 0.5) / STRIDE - 0.5)
    return gaussians(cells, np.maximum(SPREAD * size / STRIDE, LEAST_SIGMA), size_wh)


def box_maps(boxes_xyxy: Float, bumps: Float, size_wh: tuple[int, int]) -> tuple[Float, Float]:
    """edges (4, h, w): distances in pixels to the left, top, right and bottom edge, around the
    centre of each box; share (h, w): how much a cell counts, in all 1 for each box, 0 where edges
    means nothing. Boxes (N, 4) with their bumps; where they meet, later ones replace earlier."""
    width, height = size_wh[0] // STRIDE, size_wh[1] // STRIDE
    x, y = (np.arange(n, dtype=np.float32) * STRIDE + (STRIDE - 1) / 2 for n in (width, height))
    edges, share = np.zeros((4, height, width), np.float32), np.zeros((height, width), np.float32)
    for (left, top, right, bottom), bump in zip(boxes_xyxy, bumps, strict=True):
        inside = ((y > top) & (y < bottom))[:, None] & (x > left) & (x < right)
        i, j = np.nonzero((bump > NEAR) & inside)
        edges[:, i, j] = x[j] - left, y[i] - top, right - x[j], bottom - y[i]
        share[i, j] = bump[i, j] / max(float(bump[i, j].sum()), 1e-6)
    return edges, share
