"""The joint angles written beside the joints, in whole degrees."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from realtime.angles import AT_JOINT
from realtime.draw import tint
from realtime.overlay import Box, free_place, letter_height
from realtime.records import Float, Image, Poses
from realtime.skeleton import MIRROR
from realtime.strokes import Visible
from realtime.text import text_size, write

LEAST_SIZE = 150
"""Pixels of the longer side of a person's box below which there is no room for numbers."""
SMALLEST, LARGEST = 9, 18
"""Height of the digits in pixels; in pictures larger than 720p they may grow with it."""


def draw_angles(picture: Image, people: Visible, poses: Poses, degrees: Float) -> None:
    """Write degrees (N, 8), see realtime.angles, at the joints of people as they are drawn; nan
    and joints outside the picture are left out. No digit is cut off at the border or on another
    one of the same person, if there is room above or below."""
    largest = max(LARGEST, letter_height(picture, 1 / 40))
    for n in np.flatnonzero(people.sizes >= LEAST_SIZE).tolist():
        size = float(people.sizes[n])
        height = min(max(round(size / 36), SMALLEST), largest)
        colour = tint(int(poses.ids[n]))
        taken: list[Box] = []
        for joint, angle in zip(AT_JOINT, degrees[n].tolist(), strict=True):
            x, y = people.joints_xy[n, joint].tolist()
            inside = 0 <= x < picture.shape[1] and 0 <= y < picture.shape[0]
            if angle != angle or not inside or not people.shown[n, joint]:
                continue
            text = str(round(angle))
            wide, high = text_size(text, height)
            aside = size / 40  # past the drawn joint, on the side away from its twin
            outward = x >= people.joints_xy[n, MIRROR[joint], 0]
            sides = round(x + aside), round(x - aside - wide)
            left = _inside(sides if outward else sides[::-1], picture.shape[1] - wide)
            place = free_place((left, round(y - high / 2), wide, high), taken, picture)
            taken.append(place)
            write(picture, text, place[:2], height, colour)


def _inside(wanted: Sequence[int], last: int) -> int:
    """The first of the wanted places from 0 to last, else the place nearest to the first one."""
    free = (place for place in wanted if 0 <= place <= last)
    return next(free, max(min(wanted[0], last), 0))
