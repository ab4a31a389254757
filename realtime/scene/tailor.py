"""Paints the people of the demo scene: limbs as sprites, trunk and head as textures.

Everything is painted once per person, at the largest size it is seen at, and made smaller from
there. Lengths are metres, colours BGR 0..255.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

import cv2
import numpy as np

from realtime.records import Float, Image
from realtime.scene.body import Build
from realtime.scene.heads import face, hair
from realtime.scene.paint import Colour, Light, Sprite, Texture, fractal, limb, middles, plain
from realtime.scene.wardrobe import Style, draw_style

Radii = list[tuple[float, float]]


@dataclass(frozen=True, slots=True)
class Outfit:
    """A style, painted for a body. torso and head textures run once around: column 0 is the
    back, the middle column the front, the person's left in the right half; rows go down."""

    style: Style
    build: Build
    light: Light
    density: float  # pixels per metre
    limbs: dict[str, Sprite]
    torso: Image  # uint8 (H, W, 3), from the neck to the crotch
    skin: Image  # uint8 (H, W, 3) of the head
    hair: Image  # uint8 (H, W, 4), not premultiplied

    def smaller(self, factor: float) -> Outfit:
        """The same with fewer pixels, for somebody farther away."""

        def shrink(texture: Image) -> Image:
            height, width = texture.shape[:2]
            size = max(8, round(width * factor)), max(8, round(height * factor))
            return np.asarray(cv2.resize(texture, size, interpolation=cv2.INTER_AREA), np.uint8)

        return Outfit(
            self.style,
            self.build,
            self.light,
            self.density * factor,
            {name: sprite.smaller(factor) for name, sprite in self.limbs.items()},
            shrink(self.torso),
            shrink(self.skin),
            shrink(self.hair),
        )


def dress(rng: np.random.Generator, build: Build, light: Light, density: float) -> Outfit:
    """Draw a style and paint it for this body, with density pixels per metre."""
    tailor = _Tailor(rng, draw_style(rng), build, light, density)
    return Outfit(
        tailor.style,
        build,
        light,
        density,
        tailor.limbs(),
        tailor.torso(),
        face(tailor.style, build, light, density),
        hair(rng, tailor.style, build, light, density),
    )


@dataclass
class _Tailor:
    rng: np.random.Generator
    style: Style
    build: Build
    light: Light
    density: float

    # ---- limbs ----------------------------------------------------------------------------------

    def limbs(self) -> dict[str, Sprite]:
        sprites = {
            name: limb(length * self.build.height, radii, paint, self.density, self.light)
            for name, (length, radii, paint) in (self._covered_limbs() | self._bare_parts()).items()
        }
        if self.style.skirt:
            sprites["skirt"] = self._skirt()
        return sprites

    def _covered_limbs(self) -> dict[str, tuple[float, Radii, Texture]]:
        """Length as a share of the height, radii and paint of arms and legs."""
        style, wide = self.style, self.build.height * self.build.bulk
        arm = wide * (1.14 if style.sleeves > 0.2 else 1.0)
        fore = wide * (1.14 if style.sleeves > 0.6 else 1.0)
        leg = wide * (1.08 if style.trousers > 0.9 else 1.0)
        upper, lower = self._sleeve(0.0, 0.5), self._sleeve(0.5, 1.0)
        thigh, shin = self._trouser(0.0, 0.5), self._trouser(0.5, 1.0)
        return {
            "upper": (0.168, _times(arm, (0, 0.029), (0.3, 0.0295), (1, 0.024)), upper),
            "fore": (0.15, _times(fore, (0, 0.024), (0.25, 0.026), (1, 0.0165)), lower),
            "thigh": (0.245, _times(wide, (0, 0.054), (0.3, 0.052), (1, 0.037)), thigh),
            "shin": (0.24, _times(leg, (0, 0.036), (0.3, 0.038), (1, 0.0225)), shin),
        }

    def _bare_parts(self) -> dict[str, tuple[float, Radii, Texture]]:
        """The same for what does not depend on how much is covered."""
        style, tall = self.style, self.build.height
        face = tall * self.build.head
        strands = self._strands()
        return {
            "hand": (0.07, _times(tall, (0, 0.015), (0.5, 0.022), (1, 0.012)), plain(style.skin)),
            "shoe": (0.12, _times(tall, (0, 0.024), (0.6, 0.027), (1, 0.021)), self._shoe()),
            "neck": (0.09, _times(tall, (0, 0.035), (0.5, 0.031), (1, 0.031)), self._neck()),
            "nose": (0.02, _times(face, (0, 0.006), (1, 0.0085)), plain(style.skin * 1.02)),
            "ear": (0.016, _times(face, (0, 0.0105), (1, 0.008)), plain(style.skin * 0.92)),
            "pack": (0.2, _times(tall, (0, 0.07), (0.5, 0.085), (1, 0.08)), self._pack()),
            "bun": (0.01, _times(tall, (0, 0.028), (1, 0.028)), strands),
            "tail": (0.1, _times(tall, (0, 0.022), (0.6, 0.02), (1, 0.006)), strands),
            "mane": (0.1, _times(tall, (0, 0.052), (0.6, 0.052), (1, 0.036)), strands),
        }

    def _skirt(self) -> Sprite:
        share = self.style.skirt
        wide = self.build.height * self.build.bulk * self.build.hips**0.5
        radii = _times(wide, (0.0, 0.085), (0.25, 0.1), (1.0, 0.1 + 0.07 * share))
        long = 0.53 * share * self.build.height
        return limb(long, radii, self._cloth(self.style.bottom), self.density, self.light, True)

    def _folds(self, width: int, height: int, cells: float) -> Float:
        """Factors (height, width, 1): soft folds and a fine weave."""
        folds = np.clip(fractal(self.rng, (width, height), cells, 3), -2.2, 2.2)
        weave = self.rng.standard_normal((height, width), np.float32)
        return np.asarray(1 + 0.055 * folds + 0.02 * weave, np.float32)[..., None]

    def _cloth(self, colour: Colour) -> Texture:
        def paint(share: Float, across: Float) -> Float:
            rows, columns = across.shape
            return colour * self._folds(columns, rows, 3)

        return paint

    def _strands(self) -> Texture:
        def paint(share: Float, across: Float) -> Float:
            wave = 0.16 * np.sin(19 * across + 3 * np.sin(4 * share))
            return np.asarray(self.style.hair * (1 + wave)[..., None], np.float32)

        return paint

    def _neck(self) -> Texture:
        """Skin, in the shade of the chin towards the head."""
        return lambda share, across: (
            self.style.skin * (0.97 - 0.2 * share + 0 * across)[..., None].astype(np.float32)
        )

    def _pack(self) -> Texture:
        def paint(share: Float, across: Float) -> Float:
            pocket = (np.abs(share - 0.5) < 0.015) | (np.abs(share - 0.08) < 0.015)
            rows, columns = across.shape
            cloth = self.style.second * self._folds(columns, rows, 3)
            return np.where((pocket & (np.abs(across) < 2))[..., None], cloth * 0.6, cloth)

        return paint

    def _shoe(self) -> Texture:
        def paint(share: Float, across: Float) -> Float:
            sole = (across > 0.5)[..., None]
            return np.where(sole, self.style.shoes * 0.55, self.style.shoes).astype(np.float32)

        return paint

    def _sleeve(self, first: float, last: float) -> Texture:
        return self._covered(self.style.sleeves, first, last, self.style.top, self.style.pattern)

    def _trouser(self, first: float, last: float) -> Texture:
        return self._covered(self.style.trousers, first, last, self.style.bottom, "plain")

    def _covered(
        self, until: float, first: float, last: float, cloth: Colour, pattern: str
    ) -> Texture:
        """Cloth up to a share of the whole arm or leg, a hem, and skin beyond."""

        def paint(share: Float, across: Float) -> Float:
            rows, columns = across.shape
            whole = first + (last - first) * share + 0 * across
            colour = cloth * self._folds(columns, rows, 3)
            if pattern == "stripes":
                stripe = np.sin(whole * 46) > 0.35
                colour = np.where(stripe[..., None], self.style.second, colour)
            colour = np.where((np.abs(whole - until) < 0.012)[..., None], colour * 0.75, colour)
            bare = (whole > until)[..., None]
            return np.where(bare, self.style.skin, colour).astype(np.float32)

        return paint

    # ---- trunk ----------------------------------------------------------------------------------

    def torso(self) -> Image:
        """Texture from the neck (row 0) to the crotch, once around."""
        style, tall = self.style, self.build.height
        rows = max(16, round(0.33 * tall * self.density))
        columns = max(24, round(0.62 * tall * self.density))
        down, around = np.meshgrid(middles(rows), (middles(columns) * 2 - 1) * pi, indexing="ij")
        colour = self._pattern(np.ones((rows, columns, 3), np.float32) * style.top, down, around)
        if style.open_front:
            flap = np.abs(around) - 0.28 - 0.18 * down
            colour[flap < 0] = style.second
            colour[np.abs(flap) < 0.05] = style.top * 0.6
        colour[down < 0.05 + 0.07 * np.clip(np.cos(around), 0, 1) ** 3] = style.skin
        if style.backpack:
            colour[(np.abs(np.abs(around) - 0.75) < 0.16) & (down < 0.62)] = style.second * 0.7
        colour[down > 0.80] = style.bottom
        colour[np.abs(down - 0.80) < 0.012] = style.bottom * 0.5
        spine = 1 - 0.14 * np.exp(-((np.abs(around) - pi) ** 2) / 0.03) * (down < 0.75)
        chest = 1 + 0.06 * np.cos(around) * np.exp(-((down - 0.3) ** 2) / 0.03)
        colour = colour * (spine * chest)[..., None] * self._folds(columns, rows, 7)
        return np.asarray(np.clip(colour * self.light.colour, 0, 255), np.uint8)

    def _pattern(self, colour: Float, down: Float, around: Float) -> Float:
        style = self.style
        if style.pattern == "stripes":
            colour[np.sin(down * 52) > 0.35] = style.second
        elif style.pattern == "checks":
            colour[(np.sin(down * 60) > 0.5) ^ (np.sin(around * 12) > 0.5)] = style.second
        elif style.pattern == "blocks":
            colour[down < 0.36] = style.second
        elif style.pattern == "print":
            motif = (np.abs(around) < 0.5) & (np.abs(down - 0.36) < 0.11)
            colour[motif & (np.sin(around * 17 + 3 * np.sin(down * 31)) > -0.2)] = style.second
        return colour


def _times(factor: float, *radii: tuple[float, float]) -> Radii:
    return [(share, radius * factor) for share, radius in radii]
