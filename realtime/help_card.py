"""What the window shows over the picture: the help and short notes. Never recorded."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np

from realtime.controls import Key
from realtime.draw import LIGHT, YELLOW
from realtime.overlay import letter_height
from realtime.records import Image
from realtime.text import shortened, text_size, write

LEAST_SIDE = 400  # of the shorter side of a picture, in pixels, for the help to be read
MOST_SIDE = 8192  # of the longer side of one that is enlarged for that
DARKER = 0.25  # brightness of the picture behind the help
LINE = 2.0  # height of a line, in heights of a capital letter
NOTE = 3.2  # height of the place of a note, in heights of its letters
TITLE = "keys"


def with_help(picture: Image, keys: Sequence[Key]) -> Image:
    """A new picture with the table of keys, above where a note is written; a small one is enlarged
    for it."""
    canvas = _readable(picture)
    height = _letters(canvas, keys)
    gap, line = 2 * height, round(LINE * height)
    left, right = _columns(keys, height)
    wide = min(left + gap + right + 2 * gap, canvas.shape[1])
    tall = line * (len(keys) + 1) + gap
    x, y = (canvas.shape[1] - wide) // 2, max(0, (_room(canvas) - tall) // 2)
    behind = canvas[y : y + tall, x : x + wide]
    behind[:] = cv2.convertScaleAbs(behind, alpha=DARKER)
    write(canvas, TITLE, (x + gap, y + gap // 4), height, LIGHT)
    for n, key in enumerate(keys, 1):
        at = y + gap // 4 + n * line
        write(canvas, key.shown, (x + gap, at), height, YELLOW)
        room = x + wide - gap // 2 - (x + gap + left + gap)
        write(
            canvas,
            shortened(key.text, height, room),
            (x + gap + left + gap, at),
            height,
            LIGHT,
        )
    return canvas


def _readable(picture: Image) -> Image:
    """A copy that is large enough to be written on."""
    shorter, longer = sorted(picture.shape[:2])
    scale = max(1, min(-(-LEAST_SIDE // shorter), MOST_SIDE // longer))
    large = cv2.resize(picture, None, fx=scale, fy=scale, interpolation=cv2.INTER_NEAREST)
    return np.asarray(large, np.uint8)


def _letters(canvas: Image, keys: Sequence[Key]) -> int:
    """The largest height of letters with which the table fits, within limits."""
    largest: int = letter_height(canvas, 1 / 36)
    for height in range(largest, 7, -1):
        left, right = _columns(keys, height)
        tall = round(LINE * height) * (len(keys) + 1) + 4 * height
        if left + right + 6 * height <= canvas.shape[1] and tall <= _room(canvas):
            return height
    return 7


def _room(canvas: Image) -> int:
    """Height in pixels above the place of a note."""
    return int(canvas.shape[0]) - round(NOTE * letter_height(canvas, 1 / 30))


def _columns(keys: Sequence[Key], height: int) -> tuple[int, int]:
    """Widths of the column of keys and of that of what they do."""
    return (
        max(text_size(key.shown, height)[0] for key in keys),
        max(text_size(key.text, height)[0] for key in keys),
    )


def with_note(picture: Image, note: str) -> Image:
    """A new picture with one line at the bottom, in the middle; a small one is enlarged where the
    line is too long for it. Without it where none fits."""
    canvas: Image = picture.copy()
    height = letter_height(canvas, 1 / 30)
    if text_size(note, height)[0] > canvas.shape[1] - 2 * height:
        canvas = _readable(picture)
        height = letter_height(canvas, 1 / 30)
    text = shortened(note, height, canvas.shape[1] - 2 * height)
    if not text or canvas.shape[0] < 4 * height:
        return canvas
    wide, tall = text_size(text, height)
    x, y = (canvas.shape[1] - wide) // 2, canvas.shape[0] - tall - height
    behind = canvas[max(0, y - height // 2) : y + tall + height // 2, max(0, x - height) :]
    behind = behind[:, : wide + 2 * height]
    behind[:] = cv2.convertScaleAbs(behind, alpha=DARKER)
    write(canvas, text, (x, y), height, LIGHT)
    return canvas
