"""Where people are and how fast they go: a Kalman filter of constant velocity for each.

R. E. Kalman: A New Approach to Linear Filtering and Prediction Problems, 1960. The state of a
person is a position and a velocity; both axes have the same covariance, so that three numbers hold
it. Time is the real time between pictures; noises are in sizes of the person, so that it works
alike near and far.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

NOISE = 0.05  # sizes by which a measured position is off
PUSH = 2.0  # sizes per second, by which a velocity changes in a second (random walk)
SPEED = 2.0  # sizes per second, of somebody of whom one picture was seen


@dataclass(frozen=True, slots=True)
class Motion:
    """T people, one row each. off: (T, 2) pixels from the position measured last to the believed
    one. velocity: (T, 2) pixels per second. covariance: (T, 3) of the position (pixels squared),
    of both, and of the velocity."""

    off: Floats
    velocity: Floats
    covariance: Floats

    def __len__(self) -> int:
        return len(self.off)

    def __getitem__(self, keep: Any) -> Motion:
        return Motion(self.off[keep], self.velocity[keep], self.covariance[keep])

    @staticmethod
    def start(size: Floats) -> Motion:
        """People of these sizes (T,) in pixels, each measured once."""
        nothing = np.zeros((len(size), 2))
        start = np.array([NOISE, 0.0, SPEED]) * size[:, None]
        return Motion(nothing, nothing, start**2)

    def ahead(self, elapsed: Floats, size: Floats) -> Motion:
        """The same so many seconds (T,) later, nothing having been measured."""
        t, push = elapsed, (PUSH * size) ** 2
        place, both, speed = self.covariance.T
        later = [
            place + t * (2 * both + t * (speed + push * t / 3)),
            both + t * (speed + push * t / 2),
            speed + push * t,
        ]
        return Motion(self.off + self.velocity * t[:, None], self.velocity, np.stack(later, 1))

    @property
    def spread(self) -> Floats:
        """Standard deviation (T,) in pixels, per axis, of the position."""
        return np.sqrt(self.covariance[:, 0])

    def measured(self, moved: Floats, size: Floats) -> Motion:
        """After their positions were measured to have moved so far (T, 2) from the last ones."""
        place, both, speed = self.covariance.T
        gain = self.covariance[:, :2] / (place + (NOISE * size) ** 2 + 1e-12)[:, None]
        wrong = moved - self.off
        left = [place * (1 - gain[:, 0]), both * (1 - gain[:, 0]), speed - both * gain[:, 1]]
        return Motion(
            (gain[:, :1] - 1) * wrong,
            self.velocity + gain[:, 1:] * wrong,
            np.stack(left, 1),
        )
