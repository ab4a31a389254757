"""Things that stand around in the demo scene: trees, posts, boxes, coats on a stand.

A thing is drawn in metres, from sprites, onto a board of its own. Trees with two raised branches,
coats on a stand and hanging bags are there on purpose: they are what detectors take for people.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import cos, pi, sin

import cv2
import numpy as np

from realtime.records import Float, Image
from realtime.scene_paint import Colour, Light, fractal, limb, paste, premultiplied, stroke

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
        """A round bar; radii as for scene_paint.limb."""
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


def _grey(level: float) -> Colour:
    return np.full(3, level, np.float32)


def _bright(rng: np.random.Generator) -> Colour:
    """Any paint."""
    hsv = np.array([[[rng.integers(180), rng.integers(60, 230), rng.integers(70, 230)]]], np.uint8)
    bgr = np.asarray(cv2.cvtColor(hsv, cv2.COLOR_HSV2BGR)[0, 0], np.float32)
    return np.asarray(bgr + rng.uniform(0, 0.6) * (bgr.mean() - bgr), np.float32)


def _wood(rng: np.random.Generator) -> Colour:
    return np.asarray(np.array([60, 95, 135]) * rng.uniform(0.5, 1.3), np.float32)


# ---- trees --------------------------------------------------------------------------------------


def tree(rng: np.random.Generator, light: Light, density: float, leafy: bool = True) -> Thing:
    """A trunk that forks, often into two raised arms, with or without leaves."""
    height = rng.uniform(2.6, 5.5)
    board = Board(rng, light, density, 0.9 * height, 1.5 * height)
    bark = np.array([50, 62, 75], np.float32) * np.float32(rng.uniform(0.6, 1.25))
    tips: list[Place] = []
    thick = rng.uniform(0.07, 0.16)
    _branch(board, (0.0, -0.05), pi / 2, 0.42 * height, thick, 4 if leafy else 5, bark, tips)
    if leafy:
        _leaves(board, tips, rng)
    return board.done(thick * 3)


def _branch(
    board: Board, start: Place, way: float, length: float, thick: float, forks: int,
    bark: Colour, tips: list[Place],
) -> None:  # fmt: skip
    end = start[0] + length * cos(way), start[1] + length * sin(way)
    radii = [(0.0, thick), (1.0, thick * 0.72)]
    if thick * board.density > 0.7:
        board.bar(start, end, radii, bark, rough=0.16)
    else:
        points = [tuple(np.rint(board.at(p)).astype(int).tolist()) for p in (start, end)]
        colour = (*(bark * board.light.colour * 0.6).tolist(), 255)
        cv2.line(board.pixels, points[0], points[1], colour, 1, cv2.LINE_AA)
    tips.append(end)
    if forks == 0:
        return
    rng = board.rng
    for side in (-1, 1) if rng.random() < 0.75 else (-1, 0.1, 1):
        turned = way + side * rng.uniform(0.25, 0.75) + 0.12 * (pi / 2 - way)
        shorter = length * rng.uniform(0.6, 0.85)
        _branch(board, end, turned, shorter, thick * 0.66, forks - 1, bark, tips)


def _leaves(board: Board, tips: list[Place], rng: np.random.Generator) -> None:
    """Clumps around the tips: where a soft field plus noise is high there are leaves."""
    height, width = board.pixels.shape[:2]
    field = np.zeros((height, width), np.float32)
    for tip in tips[2:]:
        x, y = np.rint(board.at(tip)).astype(int).tolist()
        radius = round(rng.uniform(0.22, 0.5) * board.density)
        cv2.circle(field, (x, y), max(radius, 1), 1.0, -1)
    soft = 0.12 * board.density
    field = np.asarray(cv2.GaussianBlur(field, (0, 0), max(soft, 0.8)), np.float32)
    coarse = fractal(rng, (width, height), 12, 3)
    fine = fractal(rng, (width, height), min(70, width / 3), 2)
    alpha = np.clip((field + 0.22 * coarse + 0.16 * fine - 0.55) * 5 + 0.5, 0, 1)
    alpha *= np.clip(8 * field - 0.4, 0, 1)  # no leaves in the air
    green = np.array([35, 95, 75], np.float32) * np.float32(rng.uniform(0.55, 1.3))
    green = green * np.array([1, 1, rng.uniform(0.6, 2.0)], np.float32)
    lit = np.roll(field, (max(1, int(soft)), int(-soft * board.light.side)), (0, 1)) - field
    shade = np.clip(0.8 - 0.7 * lit + 0.16 * coarse + 0.2 * fine, 0.25, 1.7)
    colour = green * shade[..., None] * board.light.colour
    paste(board.pixels, premultiplied(colour, alpha), 0, 0)


def bare_tree(rng: np.random.Generator, light: Light, density: float) -> Thing:
    """A tree without leaves."""
    return tree(rng, light, density, leafy=False)


def bush(rng: np.random.Generator, light: Light, density: float) -> Thing:
    """Leaves without a trunk."""
    wide = rng.uniform(0.5, 1.2)
    board = Board(rng, light, density, wide + 0.7, 1.6)
    tips = [(float(rng.uniform(-wide, wide)), float(rng.uniform(0.35, 0.9))) for _ in range(16)]
    _leaves(board, tips, rng)
    return board.done(wide * 1.6)


# ---- things made of bars and slabs ---------------------------------------------------------------


def post(rng: np.random.Generator, light: Light, density: float) -> Thing:
    """A lamp or sign post."""
    height = rng.uniform(2.4, 4.2)
    board = Board(rng, light, density, 0.6, height + 0.4)
    metal, thick = _grey(rng.uniform(40, 150)), rng.uniform(0.035, 0.07)
    board.bar((0, 0), (0, height), [(0, thick * 1.5), (0.1, thick), (1, thick * 0.8)], metal)
    if rng.random() < 0.5:
        board.bar((0, height), (0, height + 0.18), [(0, 0.16), (1, 0.1)], _grey(225))
    elif rng.random() < 0.5:
        board.bar((0, height - 0.3), (0, height - 0.31), [(0, 0.28), (1, 0.28)], _grey(210))
        board.bar((0, height - 0.3), (0, height - 0.31), [(0, 0.23), (1, 0.23)], _bright(rng))
    else:
        board.slab((-0.32, height - 0.5), (0.32, height - 0.05), _bright(rng))
    return board.done(thick * 4)


def box(rng: np.random.Generator, light: Light, density: float) -> Thing:
    """One to three boxes on top of each other."""
    board = Board(rng, light, density, 0.8, 1.9)
    colour = _wood(rng) if rng.random() < 0.6 else _bright(rng) * np.float32(0.8)
    bottom, wide = 0.0, rng.uniform(0.25, 0.55)
    for _ in range(rng.integers(1, 4)):
        high, aside = rng.uniform(0.25, 0.6), rng.uniform(-0.08, 0.08)
        board.slab((aside - wide, bottom), (aside + wide, bottom + high), colour)
        board.slab(
            (aside - wide, bottom + high * 0.93), (aside + wide, bottom + high), colour * 1.2
        )
        board.slab((aside - 0.04, bottom), (aside + 0.04, bottom + high), colour * 0.8)
        bottom, wide = bottom + high, wide * rng.uniform(0.6, 1.0)
    return board.done(0.9)


def bin_(rng: np.random.Generator, light: Light, density: float) -> Thing:
    """A dustbin."""
    board = Board(rng, light, density, 0.5, 1.2)
    colour, high, wide = (
        _bright(rng) * np.float32(0.7),
        rng.uniform(0.7, 1.05),
        rng.uniform(0.2, 0.3),
    )
    board.bar((0, high), (0, 0), [(0, wide), (1, wide * 0.85)], colour, flat=True)
    board.bar((-wide, high), (wide, high), [(0, 0.05), (1, 0.05)], colour * 0.7)
    return board.done(2 * wide)


def cone(rng: np.random.Generator, light: Light, density: float) -> Thing:
    """A traffic cone."""
    board = Board(rng, light, density, 0.3, 0.9)
    orange = np.array([40, 100, 235], np.float32)
    board.bar((0, 0.7), (0, 0.03), [(0, 0.03), (1, 0.16)], orange, flat=True)
    board.bar((0, 0.45), (0, 0.3), [(0, 0.085), (1, 0.12)], _grey(225), flat=True)
    board.slab((-0.22, 0), (0.22, 0.05), orange * 0.8)
    return board.done(0.4)


def bench(rng: np.random.Generator, light: Light, density: float) -> Thing:
    """A bench with a back."""
    half, wood = rng.uniform(0.6, 1.0), _wood(rng)
    board = Board(rng, light, density, half + 0.2, 1.1)
    for x in (-0.8 * half, 0.8 * half):
        board.slab((x - 0.04, 0), (x + 0.04, 0.8), _grey(50))
    for low in (0.36, 0.44, 0.6, 0.73):
        board.slab((-half, low), (half, low + 0.075), wood)
    return board.done(2 * half)


def chair(rng: np.random.Generator, light: Light, density: float) -> Thing:
    """A chair."""
    board = Board(rng, light, density, 0.4, 1.2)
    colour = _wood(rng) if rng.random() < 0.5 else _bright(rng)
    for x in (-0.19, 0.19):
        board.bar((x, 0.45), (x * 1.15, 0.0), [(0, 0.02), (1, 0.016)], _grey(45))
        board.bar((x * 0.8, 0.45), (x * 0.85, 0.1), [(0, 0.02), (1, 0.016)], _grey(35))
    board.slab((-0.2, 0.5), (0.2, 0.92), colour)
    board.slab((-0.22, 0.42), (0.22, 0.5), colour * 0.8)
    return board.done(0.5)


def plant(rng: np.random.Generator, light: Light, density: float) -> Thing:
    """A plant in a pot."""
    board = Board(rng, light, density, 0.8, 2.2)
    tall = rng.uniform(0.5, 1.2)
    tips = [(float(rng.normal(0, 0.2)), 0.45 + float(rng.uniform(0, tall))) for _ in range(14)]
    board.bar((0, 0.35), (0, 0.4 + 0.6 * tall), [(0, 0.025), (1, 0.015)], _wood(rng) * 0.6)
    _leaves(board, tips, rng)
    board.bar((0, 0.4), (0, 0.0), [(0, 0.2), (1, 0.14)], _bright(rng) * 0.8, flat=True)
    return board.done(0.4)


def coat_stand(rng: np.random.Generator, light: Light, density: float) -> Thing:
    """A stand with a coat and a hat: the outline of a person."""
    board = Board(rng, light, density, 0.5, 2.1)
    cloth, wood = _bright(rng) * np.float32(0.6), _wood(rng) * np.float32(0.6)
    board.bar((0, 0), (0, 1.75), [(0, 0.03), (1, 0.025)], wood)
    board.bar((-0.22, 0.02), (0.22, 0.02), [(0, 0.025), (1, 0.025)], wood)
    board.bar((0, 1.5), (0, 0.65), [(0, 0.1), (0.1, 0.2), (0.5, 0.19), (1, 0.25)], cloth, flat=True)
    for side in (-1, 1):
        board.bar((side * 0.18, 1.4), (side * 0.25, 0.85), [(0, 0.06), (1, 0.05)], cloth * 0.85)
    board.bar((-0.15, 1.75), (0.15, 1.75), [(0, 0.025), (1, 0.025)], wood * 0.7)
    board.bar((0, 1.86), (0, 1.77), [(0, 0.08), (1, 0.1)], wood * 0.7)
    return board.done(0.5)


def shelf(rng: np.random.Generator, light: Light, density: float) -> Thing:
    """Shelves full of things."""
    half, high = rng.uniform(0.5, 1.1), rng.uniform(1.3, 2.2)
    board = Board(rng, light, density, half + 0.1, high + 0.2)
    wood = _wood(rng)
    board.slab((-half, 0), (half, high), wood * 0.45)
    for low in np.arange(0.05, high - 0.2, 0.38):
        x = -half + 0.05
        while x < half - 0.1:
            wide, tall = rng.uniform(0.03, 0.14), rng.uniform(0.12, 0.31)
            if rng.random() < 0.8:
                board.slab(
                    (x, low), (min(x + wide, half), low + tall), _bright(rng) * np.float32(0.75)
                )
            x += wide + 0.01
        board.slab((-half, low - 0.04), (half, low), wood)
    for x in (-half, half - 0.04):
        board.slab((x, 0), (x + 0.04, high), wood)
    return board.done(2 * half)


def punch_bag(rng: np.random.Generator, light: Light, density: float) -> Thing:
    """A bag on a chain, as large as a trunk."""
    board = Board(rng, light, density, 0.4, 4.0)
    board.bar((0, 1.7), (0, 3.9), [(0, 0.012), (1, 0.012)], _grey(70))
    board.bar(
        (0, 1.65), (0, 0.6), [(0, 0.16), (1, 0.17)], _bright(rng) * np.float32(0.5), flat=True
    )
    return board.done(0.3)


def rack(rng: np.random.Generator, light: Light, density: float) -> Thing:
    """Two posts with bars and plates."""
    board = Board(rng, light, density, 1.2, 2.2)
    steel, plate = _grey(rng.uniform(50, 110)), _bright(rng) * np.float32(0.6)
    for x in (-0.6, 0.6):
        board.slab((x - 0.035, 0), (x + 0.035, 2.0), steel)
    for high in (rng.uniform(0.9, 1.4), rng.uniform(0.3, 0.7)):
        board.bar((-1.05, high), (1.05, high), [(0, 0.016), (1, 0.016)], _grey(150))
        for x in (-0.9, 0.9):
            board.slab((x - 0.05, high - 0.22), (x + 0.05, high + 0.22), plate)
    return board.done(1.3)


def car(rng: np.random.Generator, light: Light, density: float) -> Thing:
    """A parked car from the side."""
    board = Board(rng, light, density, 2.3, 1.7)
    paint = _bright(rng) if rng.random() < 0.5 else _grey(rng.uniform(40, 210))
    board.bar((-1.0, 1.0), (0.9, 1.0), [(0, 0.4), (0.5, 0.47), (1, 0.36)], paint)
    board.bar((-0.85, 1.08), (0.75, 1.08), [(0, 0.22), (0.5, 0.27), (1, 0.2)], _grey(55))
    board.bar((-1.85, 0.65), (1.85, 0.6), [(0, 0.3), (0.5, 0.36), (1, 0.28)], paint)
    board.slab((-0.05, 0.4), (0.02, 1.35), paint * 0.7)
    for x in (-1.25, 1.25):
        board.bar((x, 0.33), (x, 0.32), [(0, 0.32), (1, 0.32)], _grey(28))
        board.bar((x, 0.33), (x, 0.32), [(0, 0.18), (1, 0.18)], _grey(130))
    return board.done(4.0)


Maker = Callable[[np.random.Generator, Light, float], Thing]

THINGS: dict[str, tuple[Maker, ...]] = {
    "park": (tree, tree, bare_tree, tree, bush, bush, bench, post, bin_),
    "street": (tree, bare_tree, post, post, car, car, bin_, cone, box, bench),
    "square": (tree, bare_tree, tree, bush, post, bench, bin_, plant, box),
    "gym": (rack, punch_bag, box, bench, cone, rack, punch_bag, bin_),
    "office": (coat_stand, shelf, chair, plant, box, bin_, shelf, chair),
    "hall": (coat_stand, chair, plant, bin_, bench, box, shelf, punch_bag),
}
"""What stands in a place of each kind (scene_place.KINDS)."""

LARGE: tuple[Maker, ...] = (tree, bare_tree, car, shelf)
"""What would hide too much where people walk."""
