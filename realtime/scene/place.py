"""Where the demo scene plays: sky, houses, walls and floors, and shadows that look like people."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np

from realtime.records import Float
from realtime.scene.cast import Camera
from realtime.scene.paint import Colour, fractal

Painting = Float
"""float32 (H, W, 3) BGR 0..255 while a place is being painted."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of place: what is behind (sky or wall), under foot, and how bright it is."""

    name: str
    indoors: bool
    floors: tuple[str, ...]


KINDS = (
    Kind("park", False, ("grass", "grass", "path")),
    Kind("street", False, ("asphalt", "slabs")),
    Kind("gym", True, ("boards", "rubber")),
    Kind("square", False, ("slabs", "path")),
    Kind("office", True, ("carpet", "boards", "tiles")),
    Kind("hall", True, ("tiles", "rubber")),
)


def colour(rng: np.random.Generator, low: float, high: float, tint: float = 14) -> Colour:
    """A greyish colour of this brightness."""
    warm = rng.normal(0, tint) * np.array([-1.0, 0.0, 1.0])  # walls and floors are rarely pink
    return np.asarray(rng.uniform(low, high) + warm + rng.normal(0, tint / 4, 3), np.float32)


def sky(rng: np.random.Generator, view: Camera, dusk: float) -> Painting:
    """Sky over the whole picture: blue or overcast, orange low down at dusk (0..1)."""
    width, height = view.size_wh
    down = np.linspace(0, 1, height, dtype=np.float32)[:, None, None]
    blue = np.array([205, 150, 95], np.float32) if rng.random() < 0.6 else colour(rng, 150, 200, 6)
    low = blue * (1 - dusk) * 0.5 + np.array([225, 220, 212], np.float32) * (1 - dusk * 0.5) * 0.6
    low = low + dusk * np.array([-60, 0, 90], np.float32)
    share = np.clip(down / 0.5, 0, 1)
    picture = blue * (1 - 0.45 * dusk) * (1 - share) + low * share
    clouds = np.clip(fractal(rng, (width, height), rng.uniform(2, 5), 5) - 0.2, 0, 2)[..., None]
    return np.asarray(picture + 30 * clouds * (1 - 0.4 * dusk) + 0 * down, np.float32)


def houses(rng: np.random.Generator, picture: Painting, view: Camera) -> None:
    """A row of facades with windows and doors, some way behind the people."""
    width = view.size_wh[0]
    x = -rng.uniform(0, 0.2) * width
    while x < width:
        distance = view.nearest * rng.uniform(4.0, 9.0)
        scale = view.focal / distance
        wide, high = rng.uniform(5, 13), rng.uniform(4, 14)
        low = view.horizon_xy[1] + view.height * scale
        if rng.random() < 0.8:
            _facade(rng, picture, (x, low - high * scale, x + wide * scale, low), scale)
        x += wide * scale * rng.uniform(0.75, 1.15)


def _facade(
    rng: np.random.Generator,
    picture: Painting,
    box: tuple[float, float, float, float],
    scale: float,
) -> None:
    """A house in the box (x0, y0, x1, y1) of the picture, scale in pixels per metre."""
    wall = colour(rng, 70, 190, 18)
    _rectangle(picture, box, wall, rng, 0.07)
    step_x, step_y = rng.uniform(1.4, 2.6) * scale, rng.uniform(2.6, 3.4) * scale
    wide, high = step_x * rng.uniform(0.35, 0.65), step_y * rng.uniform(0.4, 0.65)
    glass, frame = colour(rng, 40, 120, 12), wall * rng.uniform(0.6, 1.25)
    for y in np.arange(box[3] - step_y, box[1], -step_y):
        for x in np.arange(box[0] + 0.3 * step_x, box[2] - wide, step_x):
            lit = rng.uniform(0.6, 1.5) if rng.random() < 0.8 else 2.2
            edge = max(1.0, 0.07 * scale)
            outer = x - edge, y - edge, x + wide + edge, y + high + edge
            _rectangle(picture, outer, frame, rng, 0.0)
            _pane(picture, (x, y, x + wide, y + high), glass * lit, rng)
    x = rng.uniform(box[0], max(box[0] + 1, box[2] - scale))
    _rectangle(picture, (x, box[3] - 2.2 * scale, x + scale, box[3]), wall * 0.45, rng, 0.08)


def _rectangle(
    picture: Painting,
    box: tuple[float, float, float, float],
    paint: Colour,
    rng: np.random.Generator,
    rough: float,
) -> None:
    x0, y0, x1, y1 = (round(v) for v in box)
    x0, y0 = max(x0, 0), max(y0, 0)
    part = picture[y0 : max(y1, 0), x0 : max(x1, 0)]
    if part.size:
        noise = fractal(rng, (part.shape[1], part.shape[0]), 3, 4) if rough else 0.0
        part[:] = paint * np.asarray(1 + rough * noise)[..., None]


def _pane(
    picture: Painting,
    box: tuple[float, float, float, float],
    paint: Colour,
    rng: np.random.Generator,
) -> None:
    """Glass: lighter above, with a slanted reflection."""
    x0, y0, x1, y1 = (round(v) for v in box)
    part = picture[max(y0, 0) : max(y1, 0), max(x0, 0) : max(x1, 0)]
    if part.size:
        y = np.linspace(0, 1, part.shape[0], dtype=np.float32)[:, None]
        x = np.linspace(0, 1, part.shape[1], dtype=np.float32)[None]
        slant = (x + 0.6 * y + float(rng.uniform(0, 1))) % 1 < 0.25
        part[:] = paint * (1.2 - 0.45 * y + 0.12 * slant)[..., None]


def wall(rng: np.random.Generator, picture: Painting, view: Camera, low: int) -> None:
    """A wall down to row low: paint, bricks or panels, with windows, doors and pictures."""
    width, height = view.size_wh
    unit = height / 720
    ramp = np.linspace(-1, 1, width, dtype=np.float32) * rng.uniform(-0.18, 0.18)
    tone = 1 + ramp[None] + 0.05 * fractal(rng, (width, low), 3, 5)
    paint = colour(rng, 90, 215, 14)
    picture[:low] = paint * tone[..., None]
    finish = rng.random()
    if finish < 0.35:
        _bricks(rng, picture[:low], unit)
    elif finish < 0.6:
        for x in np.arange(0, width, rng.uniform(60, 160) * unit):
            picture[:low, round(x) : round(x + 2 * unit) + 1] *= 0.8
    if rng.random() < 0.6:
        part = picture[round(low * rng.uniform(0.55, 0.75)) : low]
        part *= colour(rng, 0.5, 0.95, 0.06)
    for _ in range(rng.integers(3, 9)):
        x, y = rng.uniform(-0.05, 0.95) * width, rng.uniform(0.02, 0.5) * low
        wide, high = rng.uniform(50, 220) * unit, rng.uniform(50, 170) * unit
        bright = 1.6 if rng.random() < 0.4 else 0.9
        _hanging(rng, picture, (x, y, x + wide, min(y + high, low - 1)), bright)
    for _ in range(rng.integers(0, 3)):
        x, wide = rng.uniform(0, 0.9) * width, rng.uniform(70, 120) * unit
        door = x, low - rng.uniform(200, 260) * unit, x + wide, float(low)
        _rectangle(picture, door, colour(rng, 50, 170, 25), rng, 0.04)
        knob = x + 0.85 * wide, low - 105 * unit, x + 0.93 * wide, low - 95 * unit
        _rectangle(picture, knob, colour(rng, 150, 220, 5), rng, 0.0)
    picture[max(0, low - round(9 * unit)) : low] *= 0.6


def _bricks(rng: np.random.Generator, part: Painting, unit: float) -> None:
    """Mortar lines and bricks of differing brightness."""
    height, width = part.shape[:2]
    high, wide = rng.uniform(9, 22) * unit, rng.uniform(26, 60) * unit
    row = (np.arange(height) / high).astype(int)
    x = np.arange(width)[None] / wide + 0.5 * (row % 2)[:, None]
    column = x.astype(int)
    shades = rng.uniform(0.85, 1.12, (row.max() + 1, column.max() + 1)).astype(np.float32)
    part *= shades[row[:, None], column][..., None]
    mortar = (np.arange(height) / high % 1 < 0.12)[:, None] | (x % 1 < 0.05)
    part[mortar] *= rng.uniform(0.7, 1.25)


def _hanging(
    rng: np.random.Generator,
    picture: Painting,
    box: tuple[float, float, float, float],
    bright: float,
) -> None:
    """A window, a poster or a board on the wall."""
    _rectangle(picture, box, colour(rng, 40, 200, 10), rng, 0.02)
    edge = 0.04 * (box[2] - box[0])
    inner = box[0] + edge, box[1] + edge, box[2] - edge, box[3] - edge
    if bright <= 1:
        _rectangle(picture, inner, colour(rng, 60, 150, 35), rng, 0.2)
    else:
        _pane(picture, inner, colour(rng, 90, 150, 12) * bright, rng)
        middle = (box[0] + box[2]) / 2
        bar = middle - edge / 2, box[1], middle + edge / 2, box[3]
        _rectangle(picture, bar, colour(rng, 90, 200, 5), rng, 0.0)


def floor(rng: np.random.Generator, picture: Painting, view: Camera, low: int, kind: str) -> None:
    """The ground from row low downwards, in perspective."""
    width, height = view.size_wh
    rows = np.arange(low, height, dtype=np.float32)[:, None]
    z = view.focal * view.height / np.maximum(rows - view.horizon_xy[1], 0.5)
    x = (np.arange(width, dtype=np.float32)[None] - view.horizon_xy[0]) * z / view.focal
    fine = z / view.focal  # metres per pixel
    paint = {
        "grass": np.array([50, 105, 85], np.float32) * np.float32(rng.uniform(0.7, 1.25)),
        "path": colour(rng, 110, 170, 10) * np.array([0.85, 0.97, 1.08], np.float32),
        "asphalt": colour(rng, 70, 120, 5),
        "boards": np.array([95, 145, 190], np.float32) * np.float32(rng.uniform(0.6, 1.1)),
    }.get(kind)
    paint = colour(rng, 70, 185, 14) if paint is None else paint
    coarse = _sampled(rng, x, z, 5.0)
    grain = _sampled(rng, x, z, 0.6) * np.clip(0.012 / fine, 0.15, 1)
    rough = {"grass": 0.17, "path": 0.1, "asphalt": 0.09}.get(kind, 0.035)
    tone = 1 + 0.06 * coarse + rough * grain
    if kind in ("slabs", "tiles"):
        size = rng.uniform(0.4, 1.1)
        tone = tone * _grid(x, size, fine) * _grid(z + 0 * x, size, fine * z / view.height)
    elif kind == "boards":
        plank = np.floor(x / rng.uniform(0.09, 0.16)).astype(int) % 97
        tone = tone * (1 + rng.normal(0, 0.06, 97))[plank]
    picture[low:] = paint * np.asarray(tone, np.float32)[..., None]
    if kind in ("boards", "rubber", "asphalt") and rng.random() < 0.7:
        _lines(rng, picture[low:], x, z, fine)


def _sampled(rng: np.random.Generator, x: Float, z: Float, metres: float) -> Float:
    """Noise that lies on the ground; a tile of it is metres long."""
    tile = fractal(rng, (256, 256), 24, 4)
    shape = np.broadcast(x, z).shape
    u = np.broadcast_to(x / metres * 256 + 5000, shape).astype(np.float32) % 510
    v = np.broadcast_to(z / metres * 256, shape).astype(np.float32) % 510
    mirrored = np.minimum(u, 510 - u), np.minimum(v, 510 - v)
    return np.asarray(cv2.remap(tile, *mirrored, cv2.INTER_LINEAR), np.float32)


def _grid(along: Float, size: float, fine: Float) -> Float:
    """Darker joints every size metres, as wide as 2 cm or a pixel, paler when that is too wide."""
    joint = np.maximum(0.02, 1.2 * fine)
    away = np.abs(along / size - np.round(along / size)) * size
    depth = 0.3 * np.clip(0.02 / joint, 0, 1)
    return np.asarray(1 - depth * np.clip(1.5 - away / joint, 0, 1), np.float32)


def _lines(rng: np.random.Generator, part: Painting, x: Float, z: Float, fine: Float) -> None:
    """Painted lines on the ground, along and across."""
    paint = colour(rng, 120, 235, 30)
    across = z * np.ones_like(x)
    for at in rng.uniform(0, 12, 2):
        mark = np.clip(1.5 - np.abs(across - at) / np.maximum(0.04, fine * 3), 0, 1)
        _mark(part, mark, paint)
    for at in rng.uniform(-4, 4, 2):
        mark = np.clip(1.5 - np.abs(x - at) / np.maximum(0.035, fine), 0, 1)
        _mark(part, mark, paint)


def _mark(part: Painting, mark: Float, paint: Colour) -> None:
    """Paint where mark (h, w) is above 0, in place."""
    where = mark > 0
    part[where] += 0.7 * mark[where][:, None] * (paint - part[where])
