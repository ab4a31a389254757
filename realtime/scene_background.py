"""What the people of the demo scene walk through: a place, its light, shadows and noise."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from realtime.records import Image
from realtime.scene_cast import Camera
from realtime.scene_paint import Light, fractal
from realtime.scene_people import Figure


@dataclass(frozen=True, slots=True)
class Set:
    """A place without people: image BGR uint8 (H, W, 3), the light on people, noise tiles."""

    image: Image
    light: Light
    noise: tuple[Image, Image]
    seed: int

    def noisy(self, image: Image, index: int) -> Image:
        """A copy of image with the sensor noise of this frame."""
        height, width = image.shape[:2]
        x, y = np.random.default_rng([self.seed, 15, index]).integers(0, 64, 2)
        more, less = (tile[y : y + height, x : x + width] for tile in self.noise)
        return np.asarray(cv2.subtract(cv2.add(image, more), less), np.uint8)

    def shadow(self, image: Image, figure: Figure) -> None:
        """Darken the ground where a person's shadow falls, in place."""


def build(seed: int, view: Camera) -> Set:
    """The place of a scene."""
    rng = np.random.default_rng([seed, 14])
    width, height = view.size_wh
    level = 130 + 25 * fractal(rng, view.size_wh, 4)
    image = np.repeat(np.clip(level, 0, 255).astype(np.uint8)[..., None], 3, 2)
    noise = rng.normal(0, 4, (height + 64, width + 64, 3))
    tiles = np.clip(noise, 0, 99).astype(np.uint8), np.clip(-noise, 0, 99).astype(np.uint8)
    light = Light(np.ones(3, np.float32), float(rng.uniform(-1, 1)), 0.45)
    return Set(image, light, tiles, seed)
