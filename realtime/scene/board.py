"""The board that a thing of the demo scene is drawn on, in metres, from sprites."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from realtime.records import Float, Image
from realtime.scene.paint import Colour, Light, fractal, limb, paste, premultiplied, stroke

Place = tuple[float, float]
"""Metres right of the foot and above the ground."""


@dataclass(frozen=True, slots=True)
class Thing:
    """pixels: premultiplied BGRA uint8 (H, W, 4). foot_xy: pixel that stands on the ground.
    width: metres of its foot, for the shadow under it."""

    pixels: Image
    foot_xy: tuple[int, int]
    width: float

    def larger(self, factor: float) -> Thing:
        """The same with more pixels."""
        size = tuple(round(n * factor) for n in self.pixels.shape[1::-1])
        pixels = np.asarray(cv2.resize(self.pixels, size), np.uint8)
        foot = round(self.foot_xy[0] * factor), round(self.foot_xy[1] * factor)
        return Thing(pixels, foot, self.width)


class Board:
    """A transparent canvas of half_width to each side and this height, in metres."""

    def __init__(
        self,
        rng: np.random.Generator,
        light: Light,
        density: float,
        half_width: float,
        height: float,
    ) -> None:
        self.rng, self.light, self.density = rng, light, density
        self._foot = round(half_width * density), round(height * density)
        size = (self._foot[1] + round(0.3 * density) + 2, 2 * self._foot[0] + 2, 4)
        self.pixels: Image = np.zeros(size, np.uint8)

    def at(self, place: Place) -> Float:
        """Pixel (x, y) of a place."""
        x, y = place[0] * self.density + self._foot[0], self._foot[1] - place[1] * self.density
        return np.array([x, y], np.float32)

    def bar(
        self, start: Place, end: Place, radii: list[tuple[float, float]], colour: Colour,
        flat: bool = False, rough: float = 0.06,
    ) -> None:  # fmt: skip
        """A round bar; radii as for realtime.scene.paint.limb."""
        length = max(float(np.hypot(end[0] - start[0], end[1] - start[1])), 0.01)

        def paint(share: Float, across: Float) -> Float:
            rows, columns = across.shape
            grain = fractal(self.rng, (columns, rows), 3, 3)
            return np.asarray(colour * (1 + rough * grain)[..., None], np.float32)

        sprite = limb(length, radii, paint, self.density, self.light, flat)
        ends = self.at(start).astype(float), self.at(end).astype(float)
        stroke(self.pixels, sprite, *ends, self.density)

    def slab(self, low: Place, high: Place, colour: Colour, rough: float = 0.05) -> None:
        """A flat rectangle, lighter above, between its lower left and upper right corner."""
        x0, y1 = np.rint(self.at(low)).astype(int)
        x1, y0 = np.rint(self.at(high)).astype(int)
        width, height = max(x1 - x0, 1), max(y1 - y0, 1)
        fall = np.linspace(1.06, 0.86, height, dtype=np.float32)[:, None]
        grain = fall + rough * fractal(self.rng, (int(width), int(height)), 4, 3)
        shade = self.light.ambient + 0.9 * (1 - self.light.ambient)
        pixels = grain[..., None] * colour * self.light.colour * shade
        paste(self.pixels, premultiplied(pixels, np.ones_like(grain)), int(x0), int(y0))

    def done(self, width: float) -> Thing:
        return Thing(self.pixels, self._foot, width)


def grey(level: float) -> Colour:
    return np.full(3, level, np.float32)


def bright(rng: np.random.Generator) -> Colour:
    """Any paint."""
    hsv = np.array([[[rng.integers(180), rng.integers(60, 230), rng.integers(70, 230)]]], np.uint8)
    bgr = np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)[0, 0], np.float32)
    return np.asarray(bgr + rng.uniform(0, 0.6) * (bgr.mean() - bgr), np.float32)


def wood(rng: np.random.Generator) -> Colour:
    return np.asarray(np.array([60, 95, 135]) * rng.uniform(0.5, 1.3), np.float32)
