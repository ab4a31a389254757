"""BGR to YUV 4:2:0, the colours of video files."""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np

from realtime.records import Image

# Cb and Cr from B, G, R, 8 bit limited range (ITU-R BT.601-7, section 2.5). The row of zeros makes
# it three channels to three, for which cv2.transform is ten times as fast.
_CHROMA = np.array(
    [[0.439216, -0.290993, -0.148223, 128], [-0.071427, -0.367788, 0.439216, 128], [0, 0, 0, 0]],
    np.float32,
)


def to_yuv420(picture: Image) -> Image:
    """BGR uint8 (H, W, 3) to planar Y, U, V stacked in uint8 (H' * 3 / 2, W'), BT.601 limited.

    Odd sizes grow by a copy of the last column or row, so H' and W' are even. Chroma is the mean
    of four pixels; cv2's own conversion would take one of them, which frays thin coloured lines.
    """
    height, width = picture.shape[:2]
    if height % 2 or width % 2:
        edge = cv2.BORDER_REPLICATE
        grown: Any = cv2.copyMakeBorder(picture, 0, height % 2, 0, width % 2, edge)
        return to_yuv420(grown)
    planes: Any = cv2.cvtColor(picture, cv2.COLOR_BGR2YUV_I420)
    half = cv2.resize(picture, (width // 2, height // 2), interpolation=cv2.INTER_LINEAR)
    both = cv2.transform(half, _CHROMA)
    chroma = planes[height:].reshape(2, height // 2, width // 2)
    for channel in range(2):
        cv2.extractChannel(both, channel, chroma[channel])
    result: Image = planes
    return result
