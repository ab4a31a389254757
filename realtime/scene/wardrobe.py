"""What the people of the demo scene wear: choices drawn from a seed. Colours are BGR 0..255."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from realtime.scene.paint import Colour

_SKINS = (
    (165, 190, 228), (145, 175, 218), (125, 158, 206), (105, 138, 190), (78, 112, 165),
    (58, 86, 135), (43, 64, 102), (35, 50, 82),
)  # fmt: skip
_HAIRS = (
    (20, 20, 24), (28, 34, 46), (35, 52, 80), (60, 95, 140), (85, 135, 180), (40, 60, 130),
    (150, 150, 150), (195, 198, 200), (30, 28, 30),
)  # fmt: skip
_CLOTHES = (
    (45, 40, 38), (70, 66, 62), (120, 116, 112), (200, 200, 198), (226, 226, 224), (110, 62, 30),
    (150, 95, 45), (190, 150, 100), (40, 40, 165), (50, 70, 200), (60, 130, 215), (80, 190, 225),
    (60, 120, 60), (70, 95, 45), (120, 160, 90), (110, 60, 110), (150, 110, 190), (60, 85, 120),
    (110, 150, 180), (80, 40, 20),
)  # fmt: skip
_BOTTOMS = (
    (95, 62, 40), (120, 85, 60), (60, 45, 38), (42, 40, 40), (70, 70, 72), (90, 120, 145),
    (120, 150, 175), (60, 80, 70), (150, 150, 150), (28, 28, 30),
)  # fmt: skip
_SHOES = (
    (225, 225, 225), (35, 32, 32), (50, 70, 105), (60, 60, 170), (120, 100, 70), (38, 50, 72),
    (95, 95, 95), (28, 28, 30),
)  # fmt: skip
_HAIRCUTS = ("short", "long", "bun", "bald", "cap", "beanie", "tail")
_PATTERNS = ("plain", "stripes", "checks", "blocks", "print")


@dataclass(frozen=True, slots=True)
class Style:
    """The choices for one person; see draw_style."""

    skin: Colour
    hair: Colour
    top: Colour
    second: Colour
    bottom: Colour
    shoes: Colour
    haircut: str
    sleeves: float  # share of the whole arm that is covered
    trousers: float  # share of the whole leg that is covered
    skirt: float  # share of the leg; 0 for none
    pattern: str
    open_front: bool
    backpack: bool
    glasses: bool
    beard: bool


def draw_style(rng: np.random.Generator) -> Style:
    """Draw the choices for one person."""
    skirt = float(rng.choice((0.0, 0.32, 0.5), p=(0.82, 0.08, 0.1)))
    trousers = float(rng.choice((1.0, 0.78, 0.45, 0.36), p=(0.68, 0.05, 0.15, 0.12)))
    sleeves = float(rng.choice((0.95, 0.36, 0.28, 0.7, 0.0), p=(0.45, 0.28, 0.12, 0.07, 0.08)))
    haircut = str(rng.choice(_HAIRCUTS, p=(0.38, 0.18, 0.08, 0.06, 0.12, 0.06, 0.12)))
    return Style(
        skin=_pick(rng, _SKINS, 4),
        hair=_pick(rng, _HAIRS, 5),
        top=_pick(rng, _CLOTHES),
        second=_pick(rng, _CLOTHES),
        bottom=_pick(rng, _BOTTOMS if rng.random() < 0.8 else _CLOTHES),
        shoes=_pick(rng, _SHOES),
        haircut=haircut,
        sleeves=sleeves,
        trousers=0.0 if skirt else trousers,
        skirt=skirt,
        pattern=str(rng.choice(_PATTERNS, p=(0.42, 0.15, 0.1, 0.13, 0.2))),
        open_front=bool(rng.random() < 0.3),
        backpack=bool(rng.random() < 0.16),
        glasses=bool(rng.random() < 0.15),
        beard=bool(rng.random() < 0.15 and haircut in ("short", "bald", "cap", "beanie")),
    )


def _pick(
    rng: np.random.Generator, colours: tuple[tuple[int, int, int], ...], spread: float = 7
) -> Colour:
    colour = np.array(colours[rng.integers(len(colours))])
    varied = colour * rng.uniform(0.82, 1.12) + rng.normal(0, spread, 3)
    return np.asarray(np.clip(varied, 8, 240), np.float32)
