"""The one module that owns coordinates.

The pixel-centre rule: a point is (x, y) with pixel centres at integers, so the picture spans
-0.5 .. W - 0.5, and undoing a resize by s is ``(p + 0.5) / s - 0.5``. Boxes are (x0, y0, x1, y1)
in the same coordinates. Affines are float32 (..., 2, 3) matrices A with ``A[:, :2] @ p + A[:, 2]``.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from realtime.records import Float

CROP_PADDING = 1.25
"""How much larger than the person box the crop is, the value the networks are trained with."""

NARROW_STEP = 24
"""What the width of crops with narrow ones is a multiple of: what is left out at each side, a sixth
of it, must be whole cells of 4 pixels."""


def may_be_narrow(crop_wh: tuple[int, int]) -> bool:
    """Whether crops of crop_wh pixels have narrow ones, see NARROW_STEP."""
    return crop_wh[0] % NARROW_STEP == 0


def narrow_width(crop_wh: tuple[int, int]) -> int:
    """Of what is left of a crop of crop_wh pixels in a narrow one: two thirds."""
    return crop_wh[0] * 2 // 3


def narrow_columns(crop_wh: tuple[int, int]) -> slice:
    """Those columns of a crop of crop_wh pixels that are left in a narrow one: in the middle."""
    width = narrow_width(crop_wh)
    first = (crop_wh[0] - width) // 2
    return slice(first, first + width)


def crop_boxes(boxes_xyxy: Float, crop_wh: tuple[int, int], padding: float = CROP_PADDING) -> Float:
    """Person boxes (N, 4) grown to the crop's aspect ratio, then by padding; same centres.

    Boxes of no size come out one pixel large, so every later division is safe.
    """
    boxes = np.asarray(boxes_xyxy, np.float32).reshape(-1, 4)
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    size = np.maximum(boxes[:, 2:] - boxes[:, :2], 1.0)
    aspect = crop_wh[0] / crop_wh[1]
    width = np.maximum(size[:, 0], size[:, 1] * aspect) * padding
    half = np.stack([width, width / aspect], 1).astype(np.float32) / 2
    return np.concatenate([centre - half, centre + half], 1).astype(np.float32)


def boxes_to_crop(boxes_xyxy: Float, crop_wh: tuple[int, int]) -> Float:
    """Affines (N, 2, 3), frame to crop, that map each box (N, 4) onto the whole crop.

    The box must have the crop's aspect ratio (crop_boxes); its centre goes to the crop's centre
    ((W - 1) / 2, (H - 1) / 2).
    """
    boxes = np.asarray(boxes_xyxy, np.float32).reshape(-1, 4)
    scale = crop_wh[0] / (boxes[:, 2] - boxes[:, 0])
    centre = (boxes[:, :2] + boxes[:, 2:]) / 2
    middle = (np.array(crop_wh, np.float32) - 1) / 2
    affine = np.zeros((len(boxes), 2, 3), np.float32)
    affine[:, 0, 0] = affine[:, 1, 1] = scale
    affine[:, :, 2] = middle - scale[:, None] * centre
    return affine


def invert(affine: Float) -> Float:
    """The inverse of affines (..., 2, 3)."""
    linear = np.linalg.inv(np.asarray(affine[..., :2], np.float64))
    shift = -(linear @ np.asarray(affine[..., 2:], np.float64))
    return np.concatenate([linear, shift], -1).astype(np.float32)


def apply(affine: Float, points_xy: Float) -> Float:
    """Points (N, K, 2) moved by affines (N, 2, 3), each by its own; or (K, 2) by one (2, 3)."""
    moved = points_xy @ np.swapaxes(affine[..., :2], -1, -2) + affine[..., None, :, 2]
    return moved.astype(np.float32)


def letterbox_wh(frame_wh: tuple[int, int], input_wh: tuple[int, int]) -> tuple[int, int]:
    """The size, in whole pixels, of a frame scaled to fit a network input."""
    scale = min(input_wh[0] / frame_wh[0], input_wh[1] / frame_wh[1])
    width, height = (max(1, round(length * scale)) for length in frame_wh)
    return min(width, input_wh[0]), min(height, input_wh[1])


def letterbox(frame_wh: tuple[int, int], input_wh: tuple[int, int]) -> Float:
    """Affine (2, 3), frame to network input: resized to letterbox_wh, at the top left corner.

    The scales in x and y differ by less than one pixel of the input; the rest of the input is
    padding at the right or below.
    """
    small_wh = letterbox_wh(frame_wh, input_wh)
    x, y = (small / length for small, length in zip(small_wh, frame_wh))
    # pixel centres: (p + 0.5) * s - 0.5
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2]], np.float32)


def clip_boxes(boxes_xyxy: Float, size_wh: tuple[int, int]) -> Float:
    """Boxes (N, 4) cut at the picture's border (0 .. W - 1, 0 .. H - 1)."""
    limit = np.array([size_wh[0] - 1, size_wh[1] - 1] * 2, np.float32)
    return np.clip(boxes_xyxy, 0, limit).astype(np.float32)


def iou(a_xyxy: Float, b_xyxy: Float) -> Float:
    """Intersection over union of every box of a (N, 4) with every box of b (M, 4): (N, M)."""
    overlap = _overlap(a_xyxy, b_xyxy)
    union = areas(a_xyxy)[:, None] + areas(b_xyxy)[None] - overlap
    result: Float = (overlap / np.maximum(union, 1e-9)).astype(np.float32)
    return result


def within(a_xyxy: Float, b_xyxy: Float) -> Float:
    """Share of every box of a (N, 4) that lies in every box of b (M, 4): (N, M), 0 to 1."""
    share = _overlap(a_xyxy, b_xyxy) / np.maximum(areas(a_xyxy), 1e-9)[:, None]
    result: Float = share.astype(np.float32)
    return result


def _overlap(a_xyxy: Float, b_xyxy: Float) -> Float:
    """Square pixels (N, M) that boxes have in common."""
    low = np.maximum(a_xyxy[:, None, :2], b_xyxy[None, :, :2])
    high = np.minimum(a_xyxy[:, None, 2:], b_xyxy[None, :, 2:])
    sides = np.maximum(high - low, 0)
    result: Float = sides[..., 0] * sides[..., 1]
    return result


def areas(boxes_xyxy: Float) -> Float:
    """Area (N,) of boxes (N, 4) in square pixels; 0 for inverted ones."""
    sides = np.maximum(boxes_xyxy[:, 2:] - boxes_xyxy[:, :2], 0)
    result: Float = sides[:, 0] * sides[:, 1]
    return result.astype(np.float32)


def from_coco_boxes(boxes_xywh: Any) -> Float:
    """Boxes (..., 4) of COCO, (x, y, width, height) with the edge of the first pixel at 0, as
    (x0, y0, x1, y1) with pixel centres at integers: an edge e becomes e - 0.5."""
    boxes = np.asarray(boxes_xywh, np.float64)
    low = boxes[..., :2] - 0.5
    return np.concatenate([low, low + boxes[..., 2:]], -1).astype(np.float32)


def to_coco_boxes(boxes_xyxy: Any) -> NDArray[np.float64]:
    """The inverse of from_coco_boxes, so that results are in the convention of the labels."""
    boxes = np.asarray(boxes_xyxy, np.float64)
    return np.concatenate([boxes[..., :2] + 0.5, boxes[..., 2:] - boxes[..., :2]], -1)
