"""Skeletons on a picture, in place.

How a pose is made readable, and why:

- Side. Left limbs are sky blue, right limbs vermillion (Okabe & Ito, "Color Universal Design",
  https://jfly.uni-koeln.de/color/), a pair that stays apart for every common colour blindness.
  Without any colour they differ twice: by grey level (left 127..158, right 95..119, also after
  fading, never overlapping) and by shape: right limbs have a dark core and right joints are
  rings, left limbs and joints are solid. Left is the person's own left, also in a mirror.
- Person. The limbs with no side (shoulder to shoulder, hip to hip, eye to eye) and the id have a
  tint of the person, one of four; who it is says the number, the tint only helps the eye.
- Confidence. A limb is as wide at each end as that joint is sure, down to half, and fades down to
  0.8; joints shrink alike. Joints under Style.min_joint_score are not drawn, nor their limbs.
- Background. Everything has a dark outline, so it is seen on white and on black alike.
- Size. Widths are a share of the person's box and sub-pixel, so they do not jump between frames.
  Near people are drawn first: a small skeleton stays visible over a large one.
- Face. A third of the width and no dots unless there is room, so that the face can be seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from realtime import strokes
from realtime.defaults import MIN_JOINT_SCORE
from realtime.records import Image
from realtime.strokes import SHIFT, Array, Dots, Limbs, Visible
from realtime.text import RIM, Colour

LEFT_COLOUR: Colour = (233, 180, 86)  # all BGR; sky blue, grey level 158
RIGHT_COLOUR: Colour = (0, 94, 213)  # vermillion, grey level 119
LIGHT: Colour = (245, 245, 245)
YELLOW: Colour = (66, 228, 240)
TINTS: tuple[Colour, ...] = (YELLOW, (167, 121, 204), LIGHT, (115, 158, 0))
FADED = 0.8  # brightness of the least sure limb


@dataclass(frozen=True, slots=True)
class Style:
    """How people are drawn.

    min_joint_score: joints with a lower score are hidden.
    mirror: the picture and everything on it but the text is flipped left to right.
    show_boxes: also draw the person boxes.
    show_angles: also write the joint angles.
    heatmap: the network's heatmaps over the darkened picture, instead of skeletons.
    black: on black instead of the picture.
    blur_faces: the faces of the picture are made unrecognisable (realtime/blur.py).
    """

    min_joint_score: float = MIN_JOINT_SCORE
    mirror: bool = False
    show_boxes: bool = False
    show_angles: bool = False
    black: bool = False
    blur_faces: bool = False
    heatmap: bool = False

    @property
    def private(self) -> bool:
        """Whether faces cannot be recognised."""
        return self.black or self.blur_faces


def tint(person_id: int) -> Colour:
    """The colour of a person's label; white without an id."""
    return LIGHT if person_id < 0 else TINTS[person_id % len(TINTS)]


def draw_boxes(picture: Image, people: Visible, ids: Array) -> None:
    """Thin rectangles in the people's tints."""
    corners = np.rint(people.boxes_xyxy).astype(int).tolist()
    for (x0, y0, x1, y1), width, person_id in zip(corners, people.widths, ids.tolist()):
        line = max(1, round(width / 3))
        cv2.rectangle(picture, (x0, y0), (x1, y1), RIM, line + 2)
        cv2.rectangle(picture, (x0, y0), (x1, y1), tint(person_id), line)


def draw_skeletons(picture: Image, people: Visible, ids: Array) -> None:
    """Limbs and joints of everybody, largest person first."""
    size_wh = picture.shape[1], picture.shape[0]
    limbs, dots = strokes.limbs_of(people, size_wh), strokes.dots_of(people, size_wh)
    tints = np.array([tint(person_id) for person_id in ids.tolist()])
    limb_colours = _colours(tints, strokes.LIMB_IS_LEFT, strokes.LIMB_IS_RIGHT, limbs.sure)
    dot_colours = _colours(tints, strokes.JOINT_IS_LEFT, strokes.JOINT_IS_RIGHT, people.sure)
    for n in np.argsort(-people.sizes, kind="stable").tolist():
        _draw_person(picture, n, limbs, dots, limb_colours[n].tolist(), dot_colours[n].tolist())


def _colours(tints: Array, left: Array, right: Array, sure: Array) -> Array:
    """BGR (N, parts, 3) by side (parts,), in the person's tint (N, 3) without one; faded."""
    sided = np.where(left[:, None], LEFT_COLOUR, RIGHT_COLOUR)
    colours = np.where((left | right)[:, None], sided, tints[:, None])
    return colours * (FADED + (1 - FADED) * sure[..., None])


def _draw_person(
    picture: Image,
    n: int,
    limbs: Limbs,
    dots: Dots,
    limb_colours: list[list[float]],
    dot_colours: list[list[float]],
) -> None:
    drawn, joints = np.flatnonzero(limbs.drawn[n]).tolist(), np.flatnonzero(dots.drawn[n]).tolist()
    for k in drawn:
        _bar(picture, limbs.outline[n, k], RIM)
    centres, rims, radii = dots.centre[n].tolist(), dots.outline[n].tolist(), dots.fill[n].tolist()
    for j in joints:
        _disc(picture, centres[j], rims[j], RIM)
    for k in drawn:
        _bar(picture, limbs.fill[n, k], limb_colours[k])
    for k in np.flatnonzero(limbs.cored[n]).tolist():
        _bar(picture, limbs.core[n, k], RIM)
    for j in joints:
        _disc(picture, centres[j], radii[j], dot_colours[j])
    for j in np.flatnonzero(dots.holed[n]).tolist():
        _disc(picture, centres[j], int(dots.hole[n, j]), RIM)


def _bar(picture: Image, corners: Array, colour: Sequence[float]) -> None:
    cv2.fillConvexPoly(picture, corners, colour, cv2.LINE_AA, SHIFT)


def _disc(picture: Image, centre: Sequence[int], radius: int, colour: Sequence[float]) -> None:
    cv2.circle(picture, centre, radius, colour, cv2.FILLED, cv2.LINE_AA, SHIFT)
