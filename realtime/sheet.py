"""Pages with a title and tiles, for pictures that explain something."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from realtime.draw import LIGHT, YELLOW
from realtime.records import Image
from realtime.text import Colour, shortened, text_size, wrapped, write

WIDE = 1280  # pixels, of a page
GAP = 16
GROUND: Colour = (38, 33, 30)
DIM: Colour = (185, 180, 176)
TITLE, BODY, LABEL = 22, 14, 12  # heights in pixels of capital letters


@dataclass(frozen=True, slots=True)
class Tile:
    """A picture, uint8 (h, w, 3) BGR, and what is written under it."""

    picture: Image
    label: str = ""


def page(title: str, text: str, body: Image) -> Image:
    """A new page: title, what is to be seen, and below it the body (H, W, 3), in the middle."""
    wide = max(WIDE, body.shape[1])
    lines = wrapped(text, BODY, wide - 2 * GAP)
    line = round(1.9 * BODY)
    begin = GAP + text_size("Tg", TITLE)[1]
    top = begin + line * len(lines) + GAP
    canvas = np.empty((top + body.shape[0] + GAP, wide, 3), np.uint8)
    canvas[:] = GROUND
    write(canvas, shortened(title, TITLE, wide - 2 * GAP), (GAP, GAP), TITLE, YELLOW)
    for n, words in enumerate(lines):
        write(canvas, words, (GAP, begin + n * line), BODY, LIGHT)
    x = (wide - body.shape[1]) // 2
    canvas[top : top + body.shape[0], x : x + body.shape[1]] = body
    return canvas


def grid(tiles: Sequence[Tile], columns: int) -> Image:
    """Tiles of one size in rows, each with its label below."""
    tall, wide = tiles[0].picture.shape[:2]
    below = text_size("Tg", LABEL)[1] + 4 if any(tile.label for tile in tiles) else 0
    columns = min(columns, len(tiles))
    rows = -(-len(tiles) // columns)
    size = (rows * (tall + below + GAP) - GAP, columns * (wide + GAP) - GAP, 3)
    canvas = np.empty(size, np.uint8)
    canvas[:] = GROUND
    for n, tile in enumerate(tiles):
        y, x = (n // columns) * (tall + below + GAP), (n % columns) * (wide + GAP)
        canvas[y : y + tall, x : x + wide] = tile.picture
        text = shortened(tile.label, LABEL, wide)
        at = x + (wide - text_size(text, LABEL)[0]) // 2
        write(canvas, text, (at, y + tall + 2), LABEL, DIM)
    return canvas


def enlarged(picture: Image, scale: float) -> Image:
    """The picture (H, W, 3) scaled by a factor, smooth both ways."""
    size = max(1, round(picture.shape[1] * scale)), max(1, round(picture.shape[0] * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return np.asarray(cv2.resize(picture, size, interpolation=how), np.uint8)
