"""How the people of the demo scene move along their paths.

World frame: X right, Y up, Z away from the camera, metres. A heading of 0 faces the camera and a
heading of +pi/2 walks to the right of the picture.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import atan2, cos, hypot, pi, sin

import numpy as np

from realtime.scene.body import LOOK, NOD, TWIST, Build, ease, gait, gesture, skeleton
from realtime.scene.paint import Points


@dataclass(frozen=True, slots=True)
class Leg:
    """A part of a path: from start to end (X, Z) between the times t0 and t1 in seconds.

    A leg that ends where it starts is a stop with a gesture, facing that heading.
    """

    t0: float
    t1: float
    start: tuple[float, float]
    end: tuple[float, float]
    gesture: str = "stand"
    facing: float = 0.0

    @property
    def length(self) -> float:
        return hypot(self.end[0] - self.start[0], self.end[1] - self.start[1])

    @property
    def heading(self) -> float:
        if self.length < 1e-6:
            return self.facing
        return atan2(self.end[0] - self.start[0], self.start[1] - self.end[1])


@dataclass(frozen=True, slots=True)
class Mover:
    """One person of the cast: a body, a path of at least one leg and a phase of its own."""

    ident: int
    build: Build
    legs: tuple[Leg, ...]
    phase: float

    def present(self, time: float) -> bool:
        return self.legs[0].t0 <= time < self.legs[-1].t1

    def place(self, time: float) -> tuple[float, float]:
        """World (X, Z) of the pelvis."""
        leg = self.legs[self._leg(time)]
        share = (time - leg.t0) / (leg.t1 - leg.t0)
        x, z = (a + (b - a) * share for a, b in zip(leg.start, leg.end))
        return x, z

    def points(self, time: float) -> Points:
        """The body at this time: (26, 3) world points relative to the pelvis' place on the
        ground: right, up, towards the camera, metres."""
        at = self._leg(time)
        leg = self.legs[at]
        local = skeleton(self.build, self._pose(leg, time))
        heading = self._heading(at, time)
        forward, left, up = local.T
        right = forward * sin(heading) + left * cos(heading)
        near = forward * cos(heading) - left * sin(heading)
        return np.stack([right, up, near], 1)

    def view(self, time: float) -> tuple[float, float, float]:
        """Headings of the trunk and of the head, and the head's nod, all in radians."""
        at = self._leg(time)
        pose = self._pose(self.legs[at], time)
        trunk = self._heading(at, time) + pose[TWIST] / 2
        return trunk, self._heading(at, time) + pose[LOOK], float(pose[NOD])

    def _leg(self, time: float) -> int:
        for number, leg in enumerate(self.legs):
            if time < leg.t1:
                return number
        return len(self.legs) - 1

    def _heading(self, at: int, time: float) -> float:
        """Turns happen while standing, during the first and the last part of a stop."""
        leg = self.legs[at]
        if leg.length > 1e-6 or len(self.legs) == 1:
            return leg.heading
        turn = min(0.7, 0.45 * (leg.t1 - leg.t0))
        heading = leg.facing
        if at > 0:
            done = ease((time - leg.t0) / turn)
            heading = _turned(self.legs[at - 1].heading, heading, done)
        if at + 1 < len(self.legs):
            done = ease((time - leg.t1) / turn + 1)
            heading = _turned(heading, self.legs[at + 1].heading, done)
        return heading

    def _pose(self, leg: Leg, time: float) -> Points:
        inside = min(time - leg.t0, leg.t1 - time)
        if leg.length < 1e-6:
            share = ease(inside / 0.75)
            moving = gesture(leg.gesture, time - leg.t0 + self.phase)
        else:
            share = ease(inside / 0.35)
            speed = leg.length / (leg.t1 - leg.t0)
            moving = gait(speed, self.build, (time - leg.t0) * speed, self.phase)
        return share * moving + (1 - share) * gesture("stand", time + self.phase)


def _turned(a: float, b: float, share: float) -> float:
    """The heading between a and b on the shorter way round."""
    return a + ((b - a + pi) % (2 * pi) - pi) * share
