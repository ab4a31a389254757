"""Brushes of the demo scene: noise, shading and sprites. Colours are BGR, 0..255."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import ceil, floor, hypot
from typing import TypeVar

import cv2
import numpy as np
from numpy.typing import NDArray

from realtime.records import Float, Image

Colour = NDArray[np.float32]
Points = NDArray[np.float64]
Pixel = TypeVar("Pixel", bound=np.generic)
Other = TypeVar("Other", bound=np.generic)
Texture = Callable[[Float, Float], Float]
"""Colours (h, w, 3) for the share along (h, 1) and the position across -1..1 (h, w)."""


@dataclass(frozen=True, slots=True)
class Light:
    """How people are lit: the colour (3,) as factors, and where from: -1 left to 1 right."""

    colour: Colour
    side: float
    ambient: float

    def shade(self, across: Float) -> Float:
        """Factors for a round surface at positions across (-1..1) of its silhouette."""
        facing = np.sqrt(np.clip(1 - across * across, 0, 1))
        lit = np.clip(0.85 * facing + 0.55 * self.side * across, 0, None)
        shaded = self.ambient + (1.05 - self.ambient) * lit
        return np.asarray(shaded, np.float32)


def fractal(
    rng: np.random.Generator, size_wh: tuple[int, int], cells: float, octaves: int = 4
) -> Float:
    """Smooth noise (H, W), mean 0 and deviation about 1; cells across the width at first."""
    width, height = size_wh
    total = np.zeros((height, width), np.float32)
    for octave in range(octaves):
        columns = max(2, round(cells * 2**octave))
        rows = max(2, round(columns * height / width))
        grid = rng.standard_normal((rows, columns), np.float32)
        total += cv2.resize(grid, size_wh, interpolation=cv2.INTER_LINEAR) * 0.6**octave
    return total / max(float(total.std()), 1e-6)


@dataclass(frozen=True, slots=True)
class Sprite:
    """A picture of a tapered limb, premultiplied BGRA uint8 (H, W, 4), its axis downwards.

    before and after: metres the picture reaches beyond both ends of the axis; length and wide in
    metres: of the axis and of the whole width.
    """

    pixels: Image
    before: float
    length: float
    after: float
    wide: float

    def smaller(self, factor: float) -> Sprite:
        """The same with fewer pixels."""
        height, width = self.pixels.shape[:2]
        size = max(2, round(width * factor)), max(2, round(height * factor))
        pixels = np.asarray(cv2.resize(self.pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
        return Sprite(pixels, self.before, self.length, self.after, self.wide)

    def affine(self, start: Points, end: Points, scale: float) -> Points:
        """Sprite pixels to picture pixels (2, 3): the axis from start to end, scale in pixels
        per metre across. A limb seen end-on is still as long as its ends are round."""
        along_x, along_y = (end - start).tolist()
        seen = hypot(along_x, along_y)
        way_x, way_y = (along_x / seen, along_y / seen) if seen > 1e-3 else (0.0, 1.0)
        # The light stays on its side, and the sole below.
        turn = 1.0 if way_y - 0.5 * way_x >= 0 else -1.0
        height, width = self.pixels.shape[:2]
        across = turn * self.wide * scale / width
        down = (seen + (self.before + self.after) * scale) / height
        a, b, c, d = way_y * across, way_x * down, -way_x * across, way_y * down
        x = float(start[0]) - way_x * self.before * scale + 0.5 * (a * (1 - width) + b)
        y = float(start[1]) - way_y * self.before * scale + 0.5 * (c * (1 - width) + d)
        return np.array([[a, b, x], [c, d, y]])


def limb(
    length: float,
    radii: Sequence[tuple[float, float]],
    paint: Texture,
    density: float,
    light: Light,
    flat: bool = False,
) -> Sprite:
    """Paint a limb: radii are (share of the length, radius in metres); density is in pixels per
    metre. Both ends are round, or cut straight when flat."""
    shares, sizes = np.array(radii, np.float32).T
    before, after = (0.0, 0.0) if flat else (float(sizes[0]), float(sizes[-1]))
    wide = 2 * float(sizes.max()) + 4 / density
    rows = max(4, round((length + before + after) * density))
    columns = max(4, round(wide * density))
    y = (np.arange(rows, dtype=np.float32)[:, None] + 0.5) / rows
    y = y * (length + before + after) - before
    share = y / length
    radius = np.interp(share, shares, sizes).astype(np.float32)
    beyond = np.maximum(-y, y - length)
    tube = radius
    radius = radius * np.sqrt(np.clip(1 - np.clip(beyond / radius, 0, 1) ** 2, 0, 1))
    x = (np.arange(columns, dtype=np.float32) + 0.5) / columns * wide - wide / 2
    across = np.clip(x / tube, -1, 1).astype(np.float32)  # shaded like the middle
    alpha = np.clip((radius - np.abs(x)) * density + 0.5, 0, 1)
    colour = paint(np.clip(share, 0, 1), across) * (light.shade(across)[..., None] * light.colour)
    return Sprite(premultiplied(colour, alpha), before, length, after, wide)


def stroke(
    canvas: Image, sprite: Sprite, start: Points, end: Points, scale: float
) -> tuple[Image, int, int]:
    """Draw a sprite on a canvas between two points (x, y), scale in pixels per metre; the pixels
    laid there and the corner they were laid at."""
    pixels, x, y = warped(sprite.pixels, sprite.affine(start, end, scale))
    paste(canvas, pixels, x, y)
    return pixels, x, y


def warped(pixels: Image, affine: Points) -> tuple[Image, int, int]:
    """Premultiplied pixels moved by an affine (2, 3), and the corner of the result."""
    height, width = pixels.shape[:2]
    low, high = [], []
    for along, down, start in affine.tolist():
        steps = along * width, down * height
        low.append(floor(start + sum(min(step, 0) for step in steps)) - 1)
        high.append(ceil(start + sum(max(step, 0) for step in steps)) + 2)
    here = affine - np.array([[0, 0, low[0]], [0, 0, low[1]]])
    moved = cv2.warpAffine(pixels, here, (high[0] - low[0], high[1] - low[1]))
    return np.asarray(moved, np.uint8), low[0], low[1]


def premultiplied(colour: Float, alpha: Float) -> Image:
    """BGRA uint8 with the colour (H, W, 3) 0..255 times alpha (H, W) 0..1."""
    bgr = np.clip(colour, 0, 255) * alpha[..., None]
    pixels = np.concatenate([bgr, 255 * alpha[..., None]], 2)
    return np.asarray(pixels.round(), np.uint8)


def paste(canvas: Image, sprite: Image, x: int, y: int) -> None:
    """Lay premultiplied BGRA pixels over a BGRA or BGR canvas, cut at its border, in place."""
    under, over = overlap(canvas, sprite, (x, y))
    if not under.size:
        return
    channels = canvas.shape[2]
    clear = cv2.bitwise_not(cv2.extractChannel(over, 3))
    kept = cv2.multiply(under, cv2.merge([clear] * channels), scale=1 / 255)
    if channels == 3:
        over = np.asarray(cv2.cvtColor(over, cv2.COLOR_BGRA2BGR), np.uint8)
    cv2.add(kept, over, dst=under)


def overlap(
    below: NDArray[Pixel], above: NDArray[Other], corner_xy: tuple[int, int]
) -> tuple[NDArray[Pixel], NDArray[Other]]:
    """Views of both pictures where they meet when above lies at this corner of below."""
    (x, y), (height, width) = corner_xy, above.shape[:2]
    x0, y0 = max(x, 0), max(y, 0)
    x1, y1 = max(min(x + width, below.shape[1]), x0), max(min(y + height, below.shape[0]), y0)
    return below[y0:y1, x0:x1], above[y0 - y : y1 - y, x0 - x : x1 - x]


def plain(colour: Colour) -> Texture:
    """The same colour everywhere."""
    return lambda share, across: np.broadcast_to(colour, (*across.shape, 3))


def middles(count: int) -> Float:
    """The middles of count equal parts of 0..1."""
    return ((np.arange(count) + 0.5) / count).astype(np.float32)
