"""Pictures in another shape: pixels that are no squares, a size that is given."""

from __future__ import annotations

import cv2
import numpy as np

from realtime.records import Image, PosedFrame

FARTHEST = 4.0
"""Times as wide as high, or as high as wide; what claims to be more is a mistake."""


def seen(item: PosedFrame) -> Image:
    """The picture of a frame that has been drawn, in its true shape: for people. Recordings and
    data keep the pixels of the source."""
    assert item.picture is not None
    return true_shape(item.picture, item.frame.aspect)


def true_shape(picture: Image, aspect: float) -> Image:
    """A picture (H, W, 3) whose pixels are aspect times as wide as high, with square ones: larger
    in one direction, so that nothing is lost; itself where they are squares, but for what an
    encoder rounds: a pixel of the whole width."""
    if not 1 / FARTHEST <= aspect <= FARTHEST:
        return picture
    high, wide = picture.shape[:2]
    size = round(wide * max(aspect, 1)), round(high / min(aspect, 1))
    if size[0] - wide <= 1 and size[1] - high <= 1:
        return picture
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR), np.uint8)


def fitted(picture: Image, size_wh: tuple[int, int]) -> Image:
    """The picture scaled to fit size_wh, in the middle of black."""
    height, width = picture.shape[:2]
    if (width, height) == size_wh:
        return picture
    scale = min(size_wh[0] / width, size_wh[1] / height)
    small_wh = max(1, round(width * scale)), max(1, round(height * scale))
    canvas = np.zeros((size_wh[1], size_wh[0], 3), np.uint8)
    x, y = (size_wh[0] - small_wh[0]) // 2, (size_wh[1] - small_wh[1]) // 2
    small = cv2.resize(picture, small_wh, interpolation=cv2.INTER_AREA)
    canvas[y : y + small_wh[1], x : x + small_wh[0]] = small
    return canvas
