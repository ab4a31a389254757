"""Trees and bushes of the demo scene; a fork of two raised branches is there on purpose."""

from __future__ import annotations

from math import cos, pi, sin

import cv2
import numpy as np

from realtime.scene.board import Board, Place, Thing
from realtime.scene.paint import Colour, Light, fractal, paste, premultiplied


def tree(rng: np.random.Generator, light: Light, density: float, leafy: bool = True) -> Thing:
    """A trunk that forks, often into two raised arms, with or without leaves."""
    height = rng.uniform(2.6, 5.5)
    board = Board(rng, light, density, 0.9 * height, 1.5 * height)
    bark = np.array([50, 62, 75], np.float32) * np.float32(rng.uniform(0.6, 1.25))
    tips: list[Place] = []
    thick = rng.uniform(0.07, 0.16)
    _branch(board, (0.0, -0.05), pi / 2, 0.42 * height, thick, 4 if leafy else 5, bark, tips)
    if leafy:
        leaves(board, tips, rng)
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


def leaves(board: Board, tips: list[Place], rng: np.random.Generator) -> None:
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
    leaves(board, tips, rng)
    return board.done(wide * 1.6)
