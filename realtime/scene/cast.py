"""Who walks through the demo scene when: camera, bodies and paths, drawn from a seed."""

from __future__ import annotations

from dataclasses import dataclass
from math import pi

import numpy as np
from numpy.typing import NDArray

from realtime.scene.body import GESTURES, Build
from realtime.scene.motion import Leg, Mover

BLOCK = 10.0
"""Seconds after which a new cast comes on."""

MOST = 6
"""People at once, and so people in a block."""

_HEADCOUNTS = (0, 1, 2, 3, 4, 5, 6)
_HEADCOUNT_SHARES = (0.06, 0.14, 0.17, 0.18, 0.16, 0.14, 0.15)


@dataclass(frozen=True, slots=True)
class Camera:
    """A pinhole camera that looks straight ahead.

    focal and the picture point horizon_xy (what is at infinity straight ahead) in pixels, height
    above the ground in metres, size_wh of the picture in pixels.
    """

    focal: float
    horizon_xy: tuple[float, float]
    height: float
    size_wh: tuple[int, int]

    def project(
        self, place_xz: tuple[float, float], points: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Picture points (..., 2) and pixels per metre (...) of points (..., 3) (right, up,
        nearer) around a place on the ground."""
        scale = self.focal / np.maximum(place_xz[1] - points[..., 2], 0.3)
        x = self.horizon_xy[0] + (place_xz[0] + points[..., 0]) * scale
        y = self.horizon_xy[1] + (self.height - points[..., 1]) * scale
        return np.stack([x, y], -1), scale

    def half_width(self, z: float) -> float:
        """Half the width in metres of what the picture shows at this distance."""
        return 0.5 * self.size_wh[0] / self.focal * z

    @property
    def nearest(self) -> float:
        """Distance in metres at which feet are just above the lower border."""
        below = 0.96 * self.size_wh[1] - 0.5 - self.horizon_xy[1]
        return self.focal * self.height / below


def camera(seed: int, size_wh: tuple[int, int]) -> Camera:
    """The camera of a scene; the same view at every size of the same aspect ratio."""
    rng = np.random.default_rng([seed, 11])
    width, height = size_wh
    longer = max(width, 1.2 * height)
    horizon = (width - 1) / 2, height * rng.uniform(0.32, 0.42) - 0.5
    return Camera(longer * rng.uniform(0.8, 1.05), horizon, rng.uniform(1.35, 1.8), size_wh)


def cast(seed: int, block: int, view: Camera, people: int | None) -> tuple[Mover, ...]:
    """The people of one block of BLOCK seconds, with times from the start of the scene.

    people fixes how many there are, all in the picture for the whole block; None draws 0 to
    MOST, who come and go and leave the picture empty at the end of the block.
    """
    rng = np.random.default_rng([seed, 12, block])
    count = people
    if count is None:
        drawn = int(rng.choice(_HEADCOUNTS, p=_HEADCOUNT_SHARES))
        count = MOST if seed == 0 and block == 0 else drawn  # the demo everybody sees first
    depths = view.nearest * 3.4 ** (
        (rng.permutation(count) + rng.uniform(0.05, 0.95, count)) / max(count, 1)
    )
    if count and rng.random() < 0.25 and seed != 0:
        depths[np.argmin(depths)] *= rng.uniform(0.55, 0.85)  # a close one, cut by the border
    slots = (rng.permutation(count) + rng.uniform(0.2, 0.8, count)) / max(count, 1) * 1.7 - 0.85
    movers = []
    for number in range(count):
        place = slots[number] * view.half_width(depths[number]), depths[number]
        if people is None:
            times = _stay(rng, number, count, block)
            legs = _visit(rng, view, place, times)
        else:
            legs = _loiter(rng, view, place)
        start = block * BLOCK
        legs = tuple(
            Leg(leg.t0 + start, leg.t1 + start, leg.start, leg.end, leg.gesture, leg.facing)
            for leg in legs
        )
        movers.append(Mover(block * 1000 + number, _build(rng), legs, rng.uniform(0, 2 * pi)))
    return tuple(movers)


def _build(rng: np.random.Generator) -> Build:
    child = rng.random() < 0.12
    return Build(
        height=rng.uniform(1.15, 1.45)
        if child
        else float(np.clip(rng.normal(1.72, 0.09), 1.5, 1.97)),
        shoulders=rng.uniform(0.9, 1.12),
        hips=rng.uniform(0.9, 1.25),
        bulk=float(np.exp(rng.normal(0.0, 0.13))),
        legs=rng.uniform(0.96, 1.04),
        head=1.2 if child else rng.uniform(0.95, 1.06),
        pace=rng.uniform(0.92, 1.08),
        swing=rng.uniform(0.8, 1.15),
    )


def _stay(rng: np.random.Generator, number: int, count: int, block: int) -> tuple[float, float]:
    """When a visitor starts to come and has gone, in seconds of the block: some are there from
    the first frame on, all are there in the middle and nobody is at the end."""
    if block == 0 and number < (count + 1) // 2:
        start = rng.uniform(-4.0, -2.0)
    else:
        start = rng.uniform(0.2, 2.6)
    return start, 6.7 + 3.2 * (number + rng.uniform(0.3, 1.0)) / count


def _visit(
    rng: np.random.Generator, view: Camera, place: tuple[float, float], times: tuple[float, float]
) -> tuple[Leg, ...]:
    """In from one side, a stop with a gesture, out at a side; or straight across."""
    side_in, side_out = rng.choice([-1.0, 1.0], 2)
    into, out = (_outside(rng, view, place[1], side) for side in (side_in, side_out))
    speed = rng.uniform(1.15, 1.6, 2) if rng.random() < 0.8 else rng.uniform(2.3, 3.4, 2)
    gesture, facing = _stop(rng)
    t0, t3 = times
    time_in = max(_distance(into, place) / speed[0], 0.5)
    time_out = max(_distance(place, out) / speed[1], 0.5)
    hurry = min(1.0, (t3 - t0 - 1.2) / (time_in + time_out))
    t1, t2 = t0 + time_in * hurry, t3 - time_out * hurry
    return (
        Leg(t0, t1, into, place),
        Leg(t1, t2, place, place, gesture, facing),
        Leg(t2, t3, place, out),
    )


def _loiter(rng: np.random.Generator, view: Camera, place: tuple[float, float]) -> tuple[Leg, ...]:
    """Stops and walks between two places in the picture for a whole block."""
    z = float(np.clip(place[1] * rng.uniform(0.8, 1.25), view.nearest * 0.8, view.nearest * 4))
    other = -place[0] / place[1] * z * rng.uniform(0.6, 1.1), z
    legs: list[Leg] = []
    time, here, there = -rng.uniform(0.0, 3.0), place, other
    while time < BLOCK:
        gesture, facing = _stop(rng)
        stop = rng.uniform(1.6, 3.5)
        walk = max(_distance(here, there) / rng.uniform(1.1, 2.6), 0.6)
        legs.append(Leg(time, time + stop, here, here, gesture, facing))
        legs.append(Leg(time + stop, time + stop + walk, here, there))
        time, here, there = time + stop + walk, there, here
    return tuple(legs)


def _stop(rng: np.random.Generator) -> tuple[str, float]:
    """What somebody does on the spot, and facing where: often to the camera, sometimes away."""
    gesture = str(rng.choice(("wave", "wave_left") if rng.random() < 0.3 else GESTURES))
    facing = rng.normal(0, 0.6) if rng.random() < 0.65 else rng.uniform(-pi, pi)
    return gesture, float(facing)


def _outside(rng: np.random.Generator, view: Camera, z: float, side: float) -> tuple[float, float]:
    """A place just out of the picture, sometimes nearer or farther than z."""
    z = float(np.clip(z * rng.uniform(0.75, 1.35), view.nearest * 0.75, view.nearest * 4))
    return side * (view.half_width(z) + 1.0), z


def _distance(a: tuple[float, float], b: tuple[float, float]) -> float:
    return float(np.hypot(a[0] - b[0], a[1] - b[1]))
