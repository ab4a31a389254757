"""Heatmaps over the picture: where the network sees joints, and how sure it is of them."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from engines.base import Grid
from realtime.crop import Cuts
from realtime.decode import cells_to_crop
from realtime.records import Detections, Float, Heat, Image, Poses

LEAST = 0.06
"""Heights of a map up to which nothing is drawn: noise, which would show the crops' borders."""
DIMMED = 0.6
"""Brightness of the picture under the maps."""
MOST = 0.92
"""How much of the picture the highest peak covers."""

_HEIGHTS = np.clip((np.arange(256) / 255 - LEAST) / (1 - LEAST), 0, 1)
_COVER: Float = np.minimum(1.6 * _HEIGHTS, MOST).astype(np.float32)
"""How much of the picture each of the 256 heights covers, 0 to 1."""


def heights_of(heatmaps: Float) -> Image:
    """What is drawn of heatmaps (M, 17, h, w): of each person the highest of the 17 maps (M, h, w),
    0 to 1 as 0 to 255; what is not finite counts as 0."""
    highest = np.nan_to_num(heatmaps, nan=0, posinf=0, neginf=0).max(1)
    heights: Image = np.rint(255 * np.clip(highest, 0, 1)).astype(np.uint8)
    return heights


def heat_of(maps: Image, cuts: Cuts, detections: Sequence[Detections], grid: Grid) -> list[Heat]:
    """Heights (M, h, w), of people who were cut out, for each of the frames."""
    cells = cells_to_crop(grid, maps.shape[:0:-1], cuts.crop_wh)
    to_frame = _after(cuts.crop_to_frame, cells)
    found = []
    for number, people in enumerate(detections):
        mine = cuts.frame_of == number
        found.append(Heat(maps[mine], to_frame[mine], people.boxes_xyxy))
    return found


def of_people(heat: Heat, poses: Poses) -> Heat:
    """The maps of those who are in poses, known by their boxes as detected."""
    same = (heat.boxes_xyxy[:, None] == poses.boxes_xyxy[None]).all(2)
    return heat[same.any(1)]


def draw_heat(picture: Image, heat: Heat, mirror: bool) -> None:
    """Darken the picture (H, W, 3), in place, and lay the maps over it, where several overlap the
    highest one. mirror: the picture is flipped left to right, the maps are not yet."""
    picture[:] = cv2.convertScaleAbs(picture, alpha=DIMMED)
    whole = np.zeros(picture.shape[:2], np.uint8)
    for one, to_frame in zip(heat.maps, heat.map_to_frame):
        if mirror:
            flip = np.array([[-1, 0, picture.shape[1] - 1], [0, 1, 0]], np.float32)
            to_frame = _after(flip, to_frame)
        _lay(whole, one, to_frame)
    rows, columns = np.flatnonzero(whole.any(1)), np.flatnonzero(whole.any(0))
    if not len(rows):
        return
    here = np.s_[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1]
    heights = whole[here]
    cover = np.asarray(cv2.LUT(heights, _COVER), np.float32)
    warm = cv2.applyColorMap(heights, cv2.COLORMAP_INFERNO)
    picture[here] = cv2.blendLinear(picture[here], warm, 1 - cover, cover)


def _lay(whole: Image, one: Image, to_frame: Float) -> None:
    """The higher one of what is there and of a map (h, w), put where it belongs."""
    tall, wide = one.shape
    corners = np.array([[-0.5, -0.5], [wide - 0.5, tall - 0.5]]) @ to_frame[:, :2].T
    ends = np.sort(corners + to_frame[:, 2], 0)
    low = np.clip(np.floor(ends[0]), 0, [whole.shape[1], whole.shape[0]]).astype(int)
    high = np.clip(np.ceil(ends[1]) + 1, 0, [whole.shape[1], whole.shape[0]]).astype(int)
    size = high - low
    if (size <= 0).any():
        return
    moved = to_frame.copy()
    moved[:, 2] -= low
    there = whole[low[1] : high[1], low[0] : high[0]]
    np.maximum(there, cv2.warpAffine(one, moved, size.tolist()), out=there)


def _after(second: Float, first: Float) -> Float:
    """The affine (..., 2, 3) that does first, then second."""
    linear = second[..., :2] @ first[..., :2]
    shift = second[..., :2] @ first[..., 2:] + second[..., 2:]
    return np.concatenate([linear, shift], -1).astype(np.float32)
