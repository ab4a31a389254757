"""The joint angles written beside the joints, in whole degrees."""

from __future__ import annotations

import numpy as np

from realtime.angles import AT_JOINT
from realtime.draw import tint
from realtime.records import Float, Image, Poses
from realtime.skeleton import MIRROR
from realtime.strokes import Visible
from realtime.text import text_size, write

LEAST_SIZE = 150
"""Pixels of the longer side of a person's box below which there is no room for numbers."""
SMALLEST, LARGEST = 9, 18
"""Height of the digits in pixels."""


def draw_angles(picture: Image, people: Visible, poses: Poses, degrees: Float) -> None:
    """Write degrees (N, 8), see realtime.angles, at the joints of people as they are drawn; nan
    and joints outside the picture are left out."""
    for n in np.flatnonzero(people.sizes >= LEAST_SIZE).tolist():
        size = float(people.sizes[n])
        height = min(max(round(size / 36), SMALLEST), LARGEST)
        colour = tint(int(poses.ids[n]))
        for joint, angle in zip(AT_JOINT, degrees[n].tolist(), strict=True):
            x, y = people.joints_xy[n, joint].tolist()
            inside = 0 <= x < picture.shape[1] and 0 <= y < picture.shape[0]
            if angle != angle or not inside or not people.shown[n, joint]:
                continue
            text = str(round(angle))
            wide, high = text_size(text, height)
            aside = size / 40  # past the drawn joint, on the side away from its twin
            left = x + aside if x >= people.joints_xy[n, MIRROR[joint], 0] else x - aside - wide
            write(picture, text, (round(left), round(y - high / 2)), height, colour)
