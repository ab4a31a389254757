"""Pictures whose pixels are no squares, as they are to be seen."""

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
    in one direction, so that nothing is lost; itself where they are squares."""
    if aspect == 1 or not 1 / FARTHEST <= aspect <= FARTHEST:
        return picture
    high, wide = picture.shape[:2]
    size = round(wide * max(aspect, 1)), round(high / min(aspect, 1))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_LINEAR), np.uint8)
