"""Steady joints: each person's points through a One-Euro filter.

Casiez, Roussel, Vogel: 1 Euro Filter, CHI 2012: a low-pass filter whose cutoff rises with the
speed, so that what rests does not tremble and what moves does not lag. Speeds are measured in
sizes of the person (longer side of the box), so that it works alike near and far; time is the
real time between frames.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from realtime.records import Poses
from realtime.skeleton import JOINT_COUNT

Floats = NDArray[np.float64]
Where = Literal["display", "data", "all", "off"]

MAX_GAP = 0.25
"""Seconds out of sight after which a person starts afresh, unless frames are as far apart."""


@dataclass(frozen=True, slots=True)
class OneEuro:
    """cutoff: Hz at rest; lower is steadier. beta: Hz per size and second; higher lags less.
    speed_cutoff: Hz of the low-pass filter on the speed."""

    cutoff: float = 1.0
    beta: float = 20.0
    speed_cutoff: float = 1.0


@dataclass(frozen=True, slots=True)
class _State:
    """What is known of P people: ids (P,), points and velocities (P, 19, 2), times (P,). The
    points are the joints and the two corners of the box."""

    ids: NDArray[np.int64]
    points: Floats
    velocities: Floats
    times: Floats

    def __getitem__(self, keep: Any) -> _State:
        return _State(self.ids[keep], self.points[keep], self.velocities[keep], self.times[keep])


class Smoother:
    """Smooths the frames of one run in their order; used by one thread.

    A person is known by the id; those without one (-1) stay as they are, as does everybody in the
    first frame and after MAX_GAP out of sight, where a frame without the person was between. A jump
    back in time starts everything afresh.
    """

    def __init__(self, filter_: OneEuro | None = None) -> None:
        self._filter = filter_ or OneEuro()
        self._state = _State(np.zeros(0, np.int64), *_points(Poses.empty()), np.zeros(0))
        self._time = 0.0  # of the last frame

    def __call__(self, poses: Poses, time: float) -> Poses:
        """The same people with steadier joints and boxes; scores and ids as they were."""
        seen = self._state.times
        old = self._state[((time - seen <= MAX_GAP) | (seen == self._time)) & (time > seen)]
        self._time = time
        points, velocities = _points(poses)
        people, rows = np.nonzero((poses.ids[:, None] == old.ids) & (poses.ids[:, None] >= 0))
        if len(people):
            before = old[rows]
            step = (time - before.times)[:, None, None]
            raw = (points[people] - before.points) / step
            speed = _share(self._filter.speed_cutoff, step)
            velocities[people] = before.velocities + speed * (raw - before.velocities)
            size = np.maximum((points[people, -1] - points[people, -2]).max(-1), 1.0)
            sizes_per_s = np.linalg.norm(velocities[people], axis=2) / size[:, None]
            cutoff = self._filter.cutoff + self._filter.beta * sizes_per_s
            share = _share(cutoff[..., None], step)
            points[people] = before.points + share * (points[people] - before.points)
        away = old[~np.isin(old.ids, poses.ids)]
        self._state = _State(
            np.concatenate([poses.ids, away.ids]),
            np.concatenate([points, away.points]),
            np.concatenate([velocities, away.velocities]),
            np.concatenate([np.full(len(poses), time), away.times]),
        )
        joints, corners = points[:, :JOINT_COUNT], points[:, JOINT_COUNT:]
        return replace(
            poses,
            joints_xy=joints.astype(np.float32),
            boxes_xyxy=corners.reshape(-1, 4).astype(np.float32),
        )


def _points(poses: Poses) -> tuple[Floats, Floats]:
    """The points of each person (N, 19, 2), and velocities of 0."""
    corners = poses.boxes_xyxy.reshape(-1, 2, 2)
    points = np.concatenate([poses.joints_xy, corners], 1).astype(np.float64)
    return points, np.zeros_like(points)


def _share(cutoff: Floats | float, step: Floats) -> Floats:
    """How much of a new value a low-pass filter of first order takes over after step seconds."""
    return 1 / (1 + 1 / (2 * np.pi * cutoff * step))
