"""Two pictures of the same frame beside each other, each under its caption."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from realtime.draw import LIGHT
from realtime.overlay import letter_height
from realtime.records import Image
from realtime.text import shortened, text_size, write

GROUND = (38, 33, 30)  # BGR, of the captions
GAP = 4  # pixels between the halves


def captioned_pair(pictures: Sequence[Image], captions: Sequence[str]) -> Image:
    """A new picture (H + strip, 2 W + GAP, 3) of two of the same size (H, W, 3) BGR."""
    tall, wide = pictures[0].shape[:2]
    height = letter_height(pictures[0], 1 / 42)
    strip = 2 * height + 2 * height % 4  # even, like the size of most pictures
    whole = np.empty((tall + strip, 2 * wide + GAP, 3), np.uint8)
    whole[:] = GROUND
    for n, (picture, caption) in enumerate(zip(pictures, captions, strict=True)):
        left = n * (wide + GAP)
        whole[strip:, left : left + wide] = picture
        text = shortened(caption, height, wide - height)
        across, high = text_size(text, height)
        write(whole, text, (left + (wide - across) // 2, (strip - high) // 2), height, LIGHT)
    return whole
