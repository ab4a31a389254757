"""What the people of the demo scene look like: skin, hair, clothes, as sprites and textures.

Everything is painted once per person, at the largest size it is seen at, and made smaller from
there. Lengths are metres, colours BGR 0..255.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi
from typing import Any

import cv2
import numpy as np

from realtime.records import Float, Image
from realtime.scene_motion import Build
from realtime.scene_paint import Colour, Light, Sprite, Texture, fractal, limb, plain

_SKINS = (
    (180, 205, 240), (150, 180, 225), (125, 160, 212), (105, 140, 195), (75, 110, 165),
    (55, 85, 135), (40, 62, 100), (32, 48, 80),
)  # fmt: skip
_HAIRS = (
    (20, 20, 24), (28, 34, 46), (35, 52, 80), (60, 95, 140), (95, 150, 200), (40, 60, 130),
    (150, 150, 150), (205, 208, 210), (30, 28, 30),
)  # fmt: skip
_CLOTHES = (
    (45, 40, 38), (70, 66, 62), (120, 116, 112), (200, 200, 198), (232, 232, 230), (110, 62, 30),
    (150, 95, 45), (190, 150, 100), (40, 40, 165), (50, 70, 200), (60, 130, 215), (80, 190, 225),
    (60, 120, 60), (70, 95, 45), (120, 160, 90), (110, 60, 110), (150, 110, 190), (60, 85, 120),
    (110, 150, 180), (80, 40, 20),
)  # fmt: skip
_BOTTOMS = (
    (95, 62, 40), (120, 85, 60), (60, 45, 38), (42, 40, 40), (70, 70, 72), (90, 120, 145),
    (120, 150, 175), (60, 80, 70), (150, 150, 150), (28, 28, 30),
)  # fmt: skip
_SHOES = ((235, 235, 235), (35, 32, 32), (50, 70, 105), (60, 60, 170), (150, 120, 60))


@dataclass(frozen=True, slots=True)
class Style:
    """Choices for one person; see dress."""

    skin: Colour
    hair: Colour
    top: Colour
    second: Colour
    bottom: Colour
    shoes: Colour
    haircut: str  # short, long, bun, bald, cap, beanie, tail
    sleeves: float  # share of the whole arm that is covered
    trousers: float  # share of the whole leg that is covered
    skirt: float  # share of the leg; 0 for none
    pattern: str  # plain, stripes, checks, blocks, print
    open_front: bool
    backpack: bool
    glasses: bool
    beard: bool


@dataclass(frozen=True, slots=True)
class Outfit:
    """A style, painted. torso and head textures run once around: column 0 is the back, the
    middle column the front, the person's left in the right half; rows go down."""

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
            size = (
                max(8, round(texture.shape[1] * factor)),
                max(8, round(texture.shape[0] * factor)),
            )
            return np.asarray(cv2.resize(texture, size, interpolation=cv2.INTER_AREA), np.uint8)

        limbs = {name: sprite.smaller(factor) for name, sprite in self.limbs.items()}
        return Outfit(
            self.style, self.build, self.light, self.density * factor, limbs,
            shrink(self.torso), shrink(self.skin), shrink(self.hair),
        )  # fmt: skip


def _pick(rng: np.random.Generator, colours: tuple[tuple[int, int, int], ...]) -> Colour:
    colour = np.array(colours[rng.integers(len(colours))], np.float32)
    return np.clip(colour * rng.uniform(0.82, 1.15) + rng.normal(0, 7, 3), 8, 248).astype(
        np.float32
    )


def style(rng: np.random.Generator) -> Style:
    """Draw the choices for one person."""
    skirt = float(rng.choice((0.0, 0.32, 0.5), p=(0.82, 0.08, 0.1)))
    trousers = float(rng.choice((1.0, 0.78, 0.45, 0.36), p=(0.68, 0.05, 0.15, 0.12)))
    haircut = rng.choice(
        ("short", "long", "bun", "bald", "cap", "beanie", "tail"),
        p=(0.38, 0.18, 0.08, 0.06, 0.12, 0.06, 0.12),
    )
    bottom = _pick(rng, _BOTTOMS) if rng.random() < 0.8 else _pick(rng, _CLOTHES)
    return Style(
        skin=_pick(rng, _SKINS),
        hair=_pick(rng, _HAIRS),
        top=_pick(rng, _CLOTHES),
        second=_pick(rng, _CLOTHES),
        bottom=bottom,
        shoes=_pick(rng, _SHOES),
        haircut=str(haircut),
        sleeves=float(rng.choice((0.95, 0.36, 0.28, 0.7, 0.0), p=(0.45, 0.28, 0.12, 0.07, 0.08))),
        trousers=0.0 if skirt else trousers,
        skirt=skirt,
        pattern=str(rng.choice(("plain", "stripes", "checks", "blocks", "print"),
                               p=(0.42, 0.15, 0.1, 0.13, 0.2))),
        open_front=bool(rng.random() < 0.3),
        backpack=bool(rng.random() < 0.16),
        glasses=bool(rng.random() < 0.15),
        beard=bool(rng.random() < 0.15),
    )  # fmt: skip


def dress(rng: np.random.Generator, build: Build, light: Light, density: float) -> Outfit:
    """Draw a style and paint it for this body, with density pixels per metre."""
    chosen = style(rng)
    painter = _Painter(rng, chosen, build, light, density)
    return Outfit(
        chosen, build, light, density, painter.limbs(), painter.torso(), painter.skin(),
        painter.hair(),
    )  # fmt: skip


@dataclass
class _Painter:
    rng: np.random.Generator
    style: Style
    build: Build
    light: Light
    density: float

    def limbs(self) -> dict[str, Sprite]:
        style, tall, bulk = self.style, self.build.height, self.build.bulk
        wide = tall * bulk
        loose = 1.1 + 0.12 * (style.pattern != "plain")
        upper, lower = self._sleeve(0.0, 0.5), self._sleeve(0.5, 1.0)
        thigh, shin = self._trouser(0.0, 0.5), self._trouser(0.5, 1.0)
        arm = loose if style.sleeves > 0.2 else 1.0
        fore = loose if style.sleeves > 0.6 else 1.0
        leg = 1.08 if style.trousers > 0.9 else 1.0
        plans: dict[str, tuple[float, list[tuple[float, float]], Texture]] = {
            "upper": (0.168 * tall, _wider([(0, 0.034), (0.3, 0.030), (1, 0.024)], wide * arm), upper),
            "fore": (0.15 * tall, _wider([(0, 0.024), (0.25, 0.026), (1, 0.017)], wide * fore), lower),
            "hand": (0.07 * tall, _wider([(0, 0.015), (0.5, 0.023), (1, 0.013)], tall), plain(style.skin)),
            "thigh": (0.245 * tall, _wider([(0, 0.056), (0.3, 0.052), (1, 0.036)], wide * leg), thigh),
            "shin": (0.24 * tall, _wider([(0, 0.035), (0.3, 0.037), (1, 0.022)], wide * leg * leg), shin),
            "shoe": (0.12 * tall, _wider([(0, 0.025), (0.6, 0.027), (1, 0.022)], tall), self._shoe()),
            "neck": (0.09 * tall, _wider([(0, 0.034), (1, 0.030)], wide ** 0.5 * tall ** 0.5), self._neck()),
            "nose": (0.018 * tall, _wider([(0, 0.009), (1, 0.010)], tall * self.build.head), plain(style.skin * 0.97)),
            "ear": (0.016 * tall, _wider([(0, 0.010), (1, 0.008)], tall * self.build.head), plain(style.skin * 0.9)),
            "pack": (0.2 * tall, _wider([(0, 0.07), (0.5, 0.085), (1, 0.08)], tall), self._cloth(style.second)),
            "bun": (0.01 * tall, _wider([(0, 0.03), (1, 0.03)], tall), plain(style.hair)),
            "tail": (0.1 * tall, _wider([(0, 0.022), (0.6, 0.02), (1, 0.006)], tall), self._strands()),
            "mane": (0.1 * tall, _wider([(0, 0.05), (0.6, 0.05), (1, 0.036)], tall), self._strands()),
        }  # fmt: skip
        sprites = {
            name: limb(length, radii, paint, self.density, self.light)
            for name, (length, radii, paint) in plans.items()
        }
        if style.skirt:
            hem = [(0.0, 0.085), (0.25, 0.1), (1.0, 0.1 + 0.07 * style.skirt)]
            radii = _wider(hem, wide * self.build.hips**0.5)
            sprites["skirt"] = limb(
                0.53 * style.skirt * tall, radii, self._cloth(style.bottom), self.density,
                self.light, flat=True,
            )  # fmt: skip
        return sprites

    def _folds(self, shape: tuple[int, ...], cells: float = 3.0, strength: float = 0.09) -> Float:
        noise = fractal(self.rng, (shape[1], shape[0]), cells, 3)
        return (1 + strength * np.clip(noise, -2.5, 2.5))[..., None].astype(np.float32)

    def _cloth(self, colour: Colour) -> Texture:
        return lambda share, across: colour * self._folds(across.shape)

    def _strands(self) -> Texture:
        return lambda share, across: (
            self.style.hair * (1 + 0.18 * np.sin(19 * across + 3 * np.sin(4 * share))[..., None])
        )

    def _neck(self) -> Texture:
        """Skin, in the shade of the chin towards the head."""
        return lambda share, across: self.style.skin * (0.95 - 0.25 * share)[..., None]

    def _shoe(self) -> Texture:
        def paint(share: Float, across: Float) -> Float:
            sole = (across > 0.55)[..., None]
            return np.where(sole, self.style.shoes * 0.6, self.style.shoes).astype(np.float32)

        return paint

    def _sleeve(self, first: float, last: float) -> Texture:
        return self._covered(self.style.sleeves, first, last, self.style.top, self.style.pattern)

    def _trouser(self, first: float, last: float) -> Texture:
        return self._covered(self.style.trousers, first, last, self.style.bottom, "plain")

    def _covered(
        self, until: float, first: float, last: float, cloth: Colour, pattern: str
    ) -> Texture:
        """Cloth up to a share of the whole arm or leg, skin beyond; a hem between them."""

        def paint(share: Float, across: Float) -> Float:
            whole = first + (last - first) * share
            colour = np.broadcast_to(cloth, (*across.shape, 3)) * self._folds(across.shape)
            if pattern == "stripes":
                stripe = np.sin(whole * 46) > 0.35
                colour = np.where(stripe[..., None], self.style.second, colour)
            colour = np.where((abs(whole - until) < 0.012)[..., None], colour * 0.75, colour)
            bare = np.broadcast_to(self.style.skin, colour.shape)
            return np.where((whole > until)[..., None], bare, colour).astype(np.float32)

        return paint

    def torso(self) -> Image:
        """Texture from the neck (row 0) to the crotch, once around."""
        style, tall = self.style, self.build.height
        rows = max(16, round(0.33 * tall * self.density))
        columns = max(24, round(0.62 * tall * self.density))
        down = ((np.arange(rows, dtype=np.float32) + 0.5) / rows)[:, None]
        around = ((np.arange(columns, dtype=np.float32) + 0.5) / columns * 2 - 1)[None] * pi
        colour = np.ones((rows, columns, 3), np.float32) * style.top
        colour = self._pattern(colour, down, around)
        if style.open_front:
            opening = np.abs(around) < 0.28 + 0.18 * down
            colour = np.where(opening[..., None], style.second, colour)
            edge = np.abs(np.abs(around) - 0.28 - 0.18 * down) < 0.05
            colour = np.where(edge[..., None], style.top * 0.6, colour)
        collar = down < 0.05 + 0.06 * np.clip(np.cos(around), 0, 1) ** 3
        colour = np.where(collar[..., None], style.skin, colour)
        straps = style.backpack & (np.abs(np.abs(around) - 0.75) < 0.16) & (down < 0.62)
        colour = np.where(straps[..., None], style.second * 0.7, colour)
        belt, below = np.abs(down - 0.80) < 0.012, down > 0.80
        colour = np.where(below[..., None], style.bottom, colour)
        colour = np.where((belt & (np.abs(around) < 4))[..., None], style.bottom * 0.5, colour)
        spine = 1 - 0.12 * np.exp(-((np.abs(around) - pi) ** 2) / 0.02) * (down < 0.75)
        chest = 1 + 0.06 * np.cos(around) * np.exp(-((down - 0.3) ** 2) / 0.03)
        colour = colour * (spine * chest)[..., None] * self._folds((rows, columns), 7, 0.07)
        return np.clip(colour * self.light.colour, 0, 255).astype(np.uint8)

    def _pattern(self, colour: Float, down: Float, around: Float) -> Float:
        style = self.style
        marks: Any = np.zeros(np.broadcast(down, around).shape, bool)
        if style.pattern == "stripes":
            marks = (np.sin(down * 52) > 0.35) & (np.abs(around) < 9)
        elif style.pattern == "checks":
            marks = (np.sin(down * 60) > 0.5) ^ (np.sin(around * 12) > 0.5)
        elif style.pattern == "blocks":
            marks = (down < 0.36) & (np.abs(around) < 9)
        elif style.pattern == "print":
            marks = (np.abs(around) < 0.5) & (np.abs(down - 0.36) < 0.11)
            marks &= np.sin(around * 17 + 3 * np.sin(down * 31)) > -0.2
        return np.where(marks[..., None], style.second, colour).astype(np.float32)

    def _sphere(self) -> tuple[int, int, Float, Float]:
        rows = max(24, round(0.2 * self.build.height * self.density))
        columns = 2 * rows
        lat = (0.5 - (np.arange(rows, dtype=np.float32) + 0.5) / rows)[:, None] * pi
        lon = ((np.arange(columns, dtype=np.float32) + 0.5) / columns * 2 - 1)[None] * pi
        return rows, columns, lat, lon

    def skin(self) -> Image:
        """The head: eyes with brows, a shadow under them, lips, cheeks; the hair lies over it."""
        style = self.style
        rows, columns, lat, lon = self._sphere()
        colour = np.ones((rows, columns, 3), np.float32) * style.skin
        dark = style.skin * 0.45

        def blob(
            at: float, high: float, wide: float, tall: float, paint: Colour, mix: float
        ) -> None:
            near = ((np.abs(lon) - at) / wide) ** 2 + ((lat - high) / tall) ** 2
            share = (mix * np.clip(1.6 - 1.2 * near, 0, 1))[..., None]
            colour[:] = colour * (1 - share) + paint * share

        blob(0.43, 0.17, 0.26, 0.16, style.skin * 0.72, 0.8)  # eye sockets
        blob(0.43, 0.16, 0.15, 0.062, np.full(3, 225, np.float32), 0.9)
        blob(0.43, 0.16, 0.06, 0.07, np.array([25, 25, 30], np.float32), 1.0)
        blob(0.43, 0.33, 0.2, 0.042, style.hair * 0.6, 0.9)
        blob(0.0, -0.20, 0.16, 0.06, dark, 0.6)  # under the nose
        blob(0.0, -0.42, 0.24, 0.05, np.array([70, 70, 150], np.float32) * style.skin / 220, 0.9)
        blob(0.75, -0.2, 0.3, 0.3, style.skin * (0.95, 0.93, 1.03), 0.5)
        if style.beard:
            jaw = (
                (lat < -0.3)
                & (np.abs(lon) < 1.5)
                & ~((np.abs(lat + 0.42) < 0.06) & (np.abs(lon) < 0.25))
            )
            colour = np.where(jaw[..., None], style.hair * 0.9 + 8, colour).astype(np.float32)
        if style.glasses:
            ring = np.abs(np.hypot((np.abs(lon) - 0.43) / 0.3, (lat - 0.15) / 0.2) - 1) < 0.16
            temple = (np.abs(lat - 0.2) < 0.03) & (np.abs(lon) > 0.7) & (np.abs(lon) < 1.6)
            colour = np.where((ring | temple)[..., None], np.float32(25), colour)
        return np.clip(colour * self.light.colour, 0, 255).astype(np.uint8)

    def hair(self) -> Image:
        """What lies over the head: hair, a cap or a beanie, with alpha 0 where the face is."""
        style = self.style
        rows, columns, lat, lon = self._sphere()
        back = (np.abs(lon) / pi) ** 1.0
        line = {
            "short": 0.62 - 1.15 * back, "tail": 0.62 - 1.15 * back, "bun": 0.6 - 1.1 * back,
            "long": 0.62 - 2.0 * back, "bald": 9.0 + 0 * back, "cap": 0.42 - 0.35 * back,
            "beanie": 0.36 - 0.3 * back,
        }[style.haircut]  # fmt: skip
        alpha = np.clip((lat - line) / 0.06 + 0.5, 0, 1)
        alpha = np.where((lat > -0.9), alpha, 0 if style.haircut != "long" else alpha)
        strands = 1 + 0.16 * fractal(self.rng, (columns, rows), 40, 2)[..., None]
        colour = style.hair * strands
        if style.haircut in ("cap", "beanie"):
            seam = 1 - 0.25 * (np.abs(lat - line) < 0.1)[..., None]
            colour = np.broadcast_to(style.second, colour.shape) * seam
        colour = colour * self.light.colour * (0.82 + 0.25 * np.clip(lat, 0, 1.4)[..., None])
        hair = np.concatenate([np.clip(colour, 0, 255), 255 * alpha[..., None]], 2)
        return hair.astype(np.uint8)


def _wider(radii: list[tuple[float, float]], factor: float) -> list[tuple[float, float]]:
    return [(share, radius * factor) for share, radius in radii]
