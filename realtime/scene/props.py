"""Things that stand around in the demo scene: posts, boxes, coats on a stand.

Coats on a stand and hanging bags are there on purpose: they are what detectors take for people.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from realtime.scene.board import Board, Thing, bright, grey, wood
from realtime.scene.paint import Light
from realtime.scene.trees import bare_tree, bush, leaves, tree


def post(rng: np.random.Generator, light: Light, density: float) -> Thing:
    """A lamp or sign post."""
    height = rng.uniform(2.4, 4.2)
    board = Board(rng, light, density, 0.6, height + 0.4)
    metal, thick = grey(rng.uniform(40, 150)), rng.uniform(0.035, 0.07)
    board.bar((0, 0), (0, height), [(0, thick * 1.5), (0.1, thick), (1, thick * 0.8)], metal)
    if rng.random() < 0.5:
        board.bar((0, height), (0, height + 0.18), [(0, 0.16), (1, 0.1)], grey(225))
    elif rng.random() < 0.5:
        board.bar((0, height - 0.3), (0, height - 0.31), [(0, 0.28), (1, 0.28)], grey(210))
        board.bar((0, height - 0.3), (0, height - 0.31), [(0, 0.23), (1, 0.23)], bright(rng))
    else:
        board.slab((-0.32, height - 0.5), (0.32, height - 0.05), bright(rng))
    return board.done(thick * 4)


def box(rng: np.random.Generator, light: Light, density: float) -> Thing:
    """One to three boxes on top of each other."""
    board = Board(rng, light, density, 0.8, 1.9)
    colour = wood(rng) if rng.random() < 0.6 else bright(rng) * np.float32(0.8)
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
        bright(rng) * np.float32(0.7),
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
    board.bar((0, 0.45), (0, 0.3), [(0, 0.085), (1, 0.12)], grey(225), flat=True)
    board.slab((-0.22, 0), (0.22, 0.05), orange * 0.8)
    return board.done(0.4)


def bench(rng: np.random.Generator, light: Light, density: float) -> Thing:
    """A bench with a back."""
    half, timber = rng.uniform(0.6, 1.0), wood(rng)
    board = Board(rng, light, density, half + 0.2, 1.1)
    for x in (-0.8 * half, 0.8 * half):
        board.slab((x - 0.04, 0), (x + 0.04, 0.8), grey(50))
    for low in (0.36, 0.44, 0.6, 0.73):
        board.slab((-half, low), (half, low + 0.075), timber)
    return board.done(2 * half)


def chair(rng: np.random.Generator, light: Light, density: float) -> Thing:
    """A chair."""
    board = Board(rng, light, density, 0.4, 1.2)
    colour = wood(rng) if rng.random() < 0.5 else bright(rng)
    for x in (-0.19, 0.19):
        board.bar((x, 0.45), (x * 1.15, 0.0), [(0, 0.02), (1, 0.016)], grey(45))
        board.bar((x * 0.8, 0.45), (x * 0.85, 0.1), [(0, 0.02), (1, 0.016)], grey(35))
    board.slab((-0.2, 0.5), (0.2, 0.92), colour)
    board.slab((-0.22, 0.42), (0.22, 0.5), colour * 0.8)
    return board.done(0.5)


def plant(rng: np.random.Generator, light: Light, density: float) -> Thing:
    """A plant in a pot."""
    board = Board(rng, light, density, 0.8, 2.2)
    tall = rng.uniform(0.5, 1.2)
    tips = [(float(rng.normal(0, 0.2)), 0.45 + float(rng.uniform(0, tall))) for _ in range(14)]
    board.bar((0, 0.35), (0, 0.4 + 0.6 * tall), [(0, 0.025), (1, 0.015)], wood(rng) * 0.6)
    leaves(board, tips, rng)
    board.bar((0, 0.4), (0, 0.0), [(0, 0.2), (1, 0.14)], bright(rng) * 0.8, flat=True)
    return board.done(0.4)


def coat_stand(rng: np.random.Generator, light: Light, density: float) -> Thing:
    """A stand with a coat and a hat: the outline of a person."""
    board = Board(rng, light, density, 0.5, 2.1)
    cloth, timber = bright(rng) * np.float32(0.6), wood(rng) * np.float32(0.6)
    board.bar((0, 0), (0, 1.75), [(0, 0.03), (1, 0.025)], timber)
    board.bar((-0.22, 0.02), (0.22, 0.02), [(0, 0.025), (1, 0.025)], timber)
    board.bar((0, 1.5), (0, 0.65), [(0, 0.1), (0.1, 0.2), (0.5, 0.19), (1, 0.25)], cloth, flat=True)
    for side in (-1, 1):
        board.bar((side * 0.18, 1.4), (side * 0.25, 0.85), [(0, 0.06), (1, 0.05)], cloth * 0.85)
    board.bar((-0.15, 1.75), (0.15, 1.75), [(0, 0.025), (1, 0.025)], timber * 0.7)
    board.bar((0, 1.86), (0, 1.77), [(0, 0.08), (1, 0.1)], timber * 0.7)
    return board.done(0.5)


def shelf(rng: np.random.Generator, light: Light, density: float) -> Thing:
    """Shelves full of things."""
    half, high = rng.uniform(0.5, 1.1), rng.uniform(1.3, 2.2)
    board = Board(rng, light, density, half + 0.1, high + 0.2)
    timber = wood(rng)
    board.slab((-half, 0), (half, high), timber * 0.45)
    for low in np.arange(0.05, high - 0.2, 0.38):
        x = -half + 0.05
        while x < half - 0.1:
            wide, tall = rng.uniform(0.03, 0.14), rng.uniform(0.12, 0.31)
            if rng.random() < 0.8:
                board.slab(
                    (x, low), (min(x + wide, half), low + tall), bright(rng) * np.float32(0.75)
                )
            x += wide + 0.01
        board.slab((-half, low - 0.04), (half, low), timber)
    for x in (-half, half - 0.04):
        board.slab((x, 0), (x + 0.04, high), timber)
    return board.done(2 * half)


def punch_bag(rng: np.random.Generator, light: Light, density: float) -> Thing:
    """A bag on a chain, as large as a trunk."""
    board = Board(rng, light, density, 0.4, 4.0)
    board.bar((0, 1.7), (0, 3.9), [(0, 0.012), (1, 0.012)], grey(70))
    board.bar((0, 1.65), (0, 0.6), [(0, 0.16), (1, 0.17)], bright(rng) * np.float32(0.5), flat=True)
    return board.done(0.3)


def rack(rng: np.random.Generator, light: Light, density: float) -> Thing:
    """Two posts with bars and plates."""
    board = Board(rng, light, density, 1.2, 2.2)
    steel, plate = grey(rng.uniform(50, 110)), bright(rng) * np.float32(0.6)
    for x in (-0.6, 0.6):
        board.slab((x - 0.035, 0), (x + 0.035, 2.0), steel)
    for high in (rng.uniform(0.9, 1.4), rng.uniform(0.3, 0.7)):
        board.bar((-1.05, high), (1.05, high), [(0, 0.016), (1, 0.016)], grey(150))
        for x in (-0.9, 0.9):
            board.slab((x - 0.05, high - 0.22), (x + 0.05, high + 0.22), plate)
    return board.done(1.3)


def car(rng: np.random.Generator, light: Light, density: float) -> Thing:
    """A parked car from the side."""
    board = Board(rng, light, density, 2.3, 1.7)
    paint = bright(rng) if rng.random() < 0.5 else grey(rng.uniform(40, 210))
    board.bar((-1.0, 1.0), (0.9, 1.0), [(0, 0.4), (0.5, 0.47), (1, 0.36)], paint)
    board.bar((-0.85, 1.08), (0.75, 1.08), [(0, 0.22), (0.5, 0.27), (1, 0.2)], grey(55))
    board.bar((-1.85, 0.65), (1.85, 0.6), [(0, 0.3), (0.5, 0.36), (1, 0.28)], paint)
    board.slab((-0.05, 0.4), (0.02, 1.35), paint * 0.7)
    for x in (-1.25, 1.25):
        board.bar((x, 0.33), (x, 0.32), [(0, 0.32), (1, 0.32)], grey(28))
        board.bar((x, 0.33), (x, 0.32), [(0, 0.18), (1, 0.18)], grey(130))
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
"""What stands in a place of each kind (realtime.scene.place.KINDS)."""

LARGE: tuple[Maker, ...] = (tree, bare_tree, car, shelf)
"""What would hide too much where people walk."""
