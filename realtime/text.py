"""Readable text on a picture, in place.

Letters are made by cv2.putText as a grey mask, in whatever font this OpenCV has (strokes up to
version 4, outlines from version 5), then given a dark rim and blended into the picture: readable
on any background, and the same call works in both.

Only ASCII is drawn, since the older font has nothing else: accents are dropped, common signs
replaced, and each run of anything else becomes "...", so that one sees that something is missing.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

import cv2
import numpy as np

from realtime.records import Image

Colour = tuple[int, int, int]
RIM: Colour = (24, 20, 20)

_FONT = cv2.FONT_HERSHEY_SIMPLEX
_CAPITAL = 21  # height in pixels of a capital letter at font scale 1
_KEPT_LENGTH = 8  # longer texts are made anew each time: they change often and are large
_SIGNS = {
    "\u00df": "ss", "\u00e6": "ae", "\u00c6": "AE", "\u00f8": "o", "\u00d8": "O", "\u0142": "l",
    "\u0141": "L", "\u0111": "d", "\u0110": "D", "\u0131": "i", "\u2013": "-", "\u2014": "-",
    "\u2018": "'", "\u2019": "'", "\u201c": '"', "\u201d": '"', "\u00d7": "x", "\u2212": "-",
    "\u00b5": "u", "\u03bc": "u", "\u2192": "->", "\u00ab": '"', "\u00bb": '"', "\u00b0": " deg",
}  # fmt: skip


@lru_cache(maxsize=256)
def ascii_text(text: str) -> str:
    """text in printable ASCII: accents dropped, white space single, unknown runs as "..."."""
    replaced = "".join(_SIGNS.get(letter, letter) for letter in text)
    split = unicodedata.normalize("NFKD", replaced)
    plain = "".join(letter for letter in split if not unicodedata.combining(letter))
    return re.sub(r"[^ -~]+", "...", re.sub(r"\s+", " ", plain)).strip()


@lru_cache(maxsize=1024)
def text_size(text: str, height: int) -> tuple[int, int]:
    """Width and height in pixels of what write() draws with capitals of height pixels."""
    (wide, high), below = cv2.getTextSize(ascii_text(text), _FONT, height / _CAPITAL, _pen(height))
    room = 2 * _room(height)
    return wide + room, high + below + room + height // 4  # brackets rise above capitals


def write(picture: Image, text: str, xy: tuple[int, int], height: int, colour: Colour) -> None:
    """Draw text, its top left corner (rim included) at xy; what is outside is cut off.

    height: of a capital letter, in pixels; colour: BGR.
    """
    text = ascii_text(text)
    make = _kept_stamp if len(text) <= _KEPT_LENGTH else _stamp
    keep, ink = make(text, height, colour)
    (x, y), (tall, wide) = xy, keep.shape[:2]
    x0, y0 = max(x, 0), max(y, 0)
    x1, y1 = min(x + wide, picture.shape[1]), min(y + tall, picture.shape[0])
    if x0 >= x1 or y0 >= y1:
        return
    part = (slice(y0 - y, y1 - y), slice(x0 - x, x1 - x))
    behind = cv2.multiply(picture[y0:y1, x0:x1], keep[part], scale=1 / 255)
    picture[y0:y1, x0:x1] = cv2.add(behind, ink[part])


def shortened(text: str, height: int, room: int) -> str:
    """text, cut with "..." at its end where it is wider than room pixels; "" if nothing fits."""
    text = ascii_text(text)
    if text_size(text, height)[0] <= room:
        return text
    fits = (
        n for n in range(len(text) - 1, 0, -1) if text_size(text[:n] + "...", height)[0] <= room
    )
    kept = next(fits, 0)
    return text[:kept] + "..." if kept else ""


def wrapped(text: str, height: int, room: int) -> list[str]:
    """text in lines of at most room pixels, broken at spaces; longer words are shortened."""
    lines: list[str] = []
    for word in ascii_text(text).split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and text_size(longer, height)[0] <= room:
            lines[-1] = longer
        else:
            lines.append(shortened(word, height, room))
    return [line for line in lines if line]


def _pen(height: int) -> int:
    return max(1, round(height / 7.5))


def _rim(height: int) -> int:
    return max(1, round(height / 8))


def _room(height: int) -> int:
    return _rim(height) + _pen(height) + 1


def _stamp(text: str, height: int, colour: Colour) -> tuple[Image, Image]:
    """How much of the picture stays (h, w, 3, 255 = all) and what is added to it (h, w, 3)."""
    wide, tall = text_size(text, height)
    letters = np.zeros((tall, wide), np.uint8)
    room, pen = _room(height), _pen(height)
    below = cv2.getTextSize(text, _FONT, height / _CAPITAL, pen)[1]
    at = (room, tall - room - below)
    cv2.putText(letters, text, at, _FONT, height / _CAPITAL, (255,), pen, cv2.LINE_AA)
    tip = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * _rim(height) + 1,) * 2)
    rim = cv2.dilate(letters, tip)
    ink = letters[..., None] / 255 * np.array(colour) + (rim - letters)[..., None] / 255 * np.array(
        RIM
    )
    return np.repeat(255 - rim[..., None], 3, 2), np.rint(ink).astype(np.uint8)


_kept_stamp = lru_cache(maxsize=256)(_stamp)
