"""Picture sheets of an epoch: what the network sees in pictures it did not learn from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import cv2
import numpy as np

from realtime import decode, geometry
from realtime.records import Float, Image
from realtime.skeleton import LEFT, LIMBS
from train.augment import pose_sample
from train.coco import Person
from train.config import Config
from train.measured import spread

PEOPLE, COLUMNS = 24, 6
SURE = 0.2
LEFT_COLOUR, RIGHT_COLOUR, TRUTH_COLOUR = (255, 160, 40), (60, 60, 255), (60, 255, 60)


def pose_sheet(run: Callable[[Image], Float], people: Sequence[Person], config: Config) -> Image:
    """Crops with the joints found (lines: left blue, right red) and labelled (green dots), each
    beside the highest of all its heatmaps; a black picture where there are no people."""
    shown = spread([p for p in people if p.asked_for], PEOPLE)
    if not shown:
        return np.zeros((64, 64, 3), np.uint8)
    rng = np.random.default_rng(0)
    samples = [pose_sample(person, config, rng, False) for person in shown]
    heat = run(np.stack([s["crop"] for s in samples]))
    joints, scores = decode.decode(heat, "udp", "pixel_centre", config.input_wh, config.sigma)
    tiles = []
    for n, sample in enumerate(samples):
        crop = sample["crop"].copy()
        skeleton(crop, joints[n], scores[n])
        for x, y in sample["joints"][sample["visible"] > 0]:
            cv2.circle(crop, (round(float(x)), round(float(y))), 2, TRUTH_COLOUR, -1)
        tiles.append(np.hstack([crop, glow(sample["crop"], shown_heat(heat[n], config.loss))]))
    return grid(tiles, COLUMNS)


def shown_heat(heat: Float, loss: str) -> Float:
    """The highest of the heatmaps (K, h, w) in each cell, (h, w). What softmax learned has no
    scale: there every joint's peak is 1, and other cells are as likely against it."""
    if loss == "softmax":
        heat = np.exp(heat - heat.max((1, 2), keepdims=True))
    return np.asarray(heat.max(0), np.float32)


def skeleton(picture: Image, joints: Float, scores: Float) -> None:
    """Draw joints (17, 2) above SURE as thin lines."""
    for a, b in LIMBS:
        if min(scores[a], scores[b]) > SURE:
            colour = LEFT_COLOUR if a in LEFT or b in LEFT else RIGHT_COLOUR
            ends: Any = [tuple(round(float(v)) for v in joints[j]) for j in (a, b)]
            cv2.line(picture, ends[0], ends[1], colour, 1, cv2.LINE_AA)


def glow(picture: Image, heat: Float) -> Image:
    """The picture, darker, under a heatmap (h, w) of 0..1."""
    height, width = picture.shape[:2]
    level = cv2.resize(np.clip(heat, 0, 1).astype(np.float32), (width, height))
    colours = cv2.applyColorMap((level * 255).astype(np.uint8), cv2.COLORMAP_INFERNO)
    return np.asarray(cv2.addWeighted(picture, 0.35, colours, 0.85, 0), np.uint8)


def boxes(picture: Image, boxes_xyxy: Float, scores: Float | None) -> None:
    """Draw boxes (N, 4), with their scores where given; without, as the truth."""
    for n, box in enumerate(boxes_xyxy):
        corner: Any = [round(float(v)) for v in box]
        colour = TRUTH_COLOUR if scores is None else LEFT_COLOUR
        cv2.rectangle(picture, corner[:2], corner[2:], colour, 1)
        if scores is not None:
            where = (corner[0] + 2, corner[1] + 10)
            cv2.putText(picture, f"{scores[n]:.2f}", where, 0, 0.35, colour, 1, cv2.LINE_AA)


def grid(tiles: Sequence[Image], columns: int) -> Image:
    """Pictures of one size side by side; what is missing in the last row is black."""
    rows = -(-len(tiles) // columns)
    blank = np.zeros_like(tiles[0])
    full = [*tiles, *[blank] * (rows * columns - len(tiles))]
    lines = [np.hstack(full[n * columns : (n + 1) * columns]) for n in range(rows)]
    return np.ascontiguousarray(np.vstack(lines), np.uint8)


def letterboxed(picture: Image, size_wh: tuple[int, int], grey: int) -> tuple[Image, Float]:
    """The picture brought into a size as the pipeline does, and the affine that did it."""
    affine = geometry.letterbox((picture.shape[1], picture.shape[0]), size_wh)
    small = cv2.warpAffine(picture, affine, size_wh, borderValue=(grey,) * 3)
    return np.asarray(small, np.uint8), affine
