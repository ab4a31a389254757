"""Left and right, when the network takes one for the other for some frames.

Upper body (eyes to wrists) and legs (hips to ankles) are looked at on their own. For each, two
accounts of the past are kept: that the newest frame is right, and that it is swapped. Each account
predicts where the joints go (constant velocity) and pays for how far they are from there; a swap
costs something to begin and for every frame it lasts. The cheaper account decides, frame by frame
and without delay. So an unclear beginning (legs crossing) is made up for a few frames later, and a
wrong belief in a swap ends by itself.

The costs are squared distances in units of what is expected (half of a log likelihood), the
decision is the Viterbi algorithm with a filter in each state. Of a joint with a low score less is
expected: those of the bundled network on the demo scene are 0.8 % of the person's size off at a
score of 0.9 (median), 1.6 % at 0.6 and 2.9 % at 0.3. The constants were chosen on the demo scene's
truth with noise, see benchmarks/swaps.py. They hold from 30 frames a second; with fewer, legs that
cross between two frames look like swapped ones, so that more is asked for.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realtime.records import Poses
from realtime.skeleton import JOINT_COUNT, JOINTS, MIRROR

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

NOISE = 0.015  # expected distance from the prediction, in sizes of the person (longer side of box)
UNSURE = 4.0  # how much larger that is of a joint of score 0, in shares of it
ACCELERATION = 6.0  # sizes per second squared by which a joint may leave its velocity
SPEED = 2.0  # sizes per second, of a joint whose velocity is not known yet
CAP = 8.0  # most a joint can cost: it may just be wrong
VANISH = 4.0  # cost of a joint's score going from 1 to 0 or back
BEGIN, LAST, END = 10.0, 0.5, 1.0  # cost of a swap's first frame, of every frame, of its end
BELIEVE, FOLLOW = 0.8, 0.5  # shares of a surprise that change the position and the velocity
SURE = 0.3  # joints below this score are not looked at
MAX_GAP = 0.25  # seconds out of sight after which a person starts afresh
RATE = 30.0  # frames a second below which these count, by how many times further frames are apart
DOUBT = 1.5  # the power of it by which ACCELERATION grows
CAUTION = 0.3  # what each more adds to BEGIN, in shares of it
FAR = 0.06
"""Seconds between two frames from which most swaps stay: see benchmarks/swaps.py --rate."""

_UPPER = np.array(
    [name.partition("_")[2] in ("eye", "ear", "shoulder", "elbow", "wrist") for name in JOINTS]
)
_LOWER = np.array([name.partition("_")[2] in ("hip", "knee", "ankle") for name in JOINTS])
_GROUPS = np.stack([_UPPER, _LOWER])


@dataclass(slots=True)
class _Person:
    """Both accounts (right, swapped) of one person: points and velocities (2, 17, 2), age (2, 17):
    for how many frames in a row a joint was seen, scores (2, 17), costs (2, 2) by group and
    account."""

    points: Floats
    velocities: Floats
    age: NDArray[np.int64]
    scores: Floats
    costs: Floats
    time: float


class SwapRepair:
    """Gives left and right back to the frames of one run in their order; used by one thread.

    A person is known by the id; those without one (-1) stay as they are. changed: how many people
    were changed, over all frames.
    """

    def __init__(self) -> None:
        self.changed = 0
        self._people: dict[int, _Person] = {}
        self._time = -np.inf
        self._late = 1.0  # how many times further than at RATE this frame is from the last one
        self._frames = self._far = 0

    @property
    def note(self) -> str:
        """What to say where most frames are too far apart; else ""."""
        return told_of(self._far, self._frames)

    def __call__(self, poses: Poses, time: float) -> Poses:
        """The same people, with the joints and scores of swapped sides exchanged."""
        distance, self._time = time - self._time, time
        self._late = max(1.0, RATE * distance)
        self._frames += 1
        self._far += FAR < distance < np.inf
        self._people = {
            number: person
            for number, person in self._people.items()
            if 0 <= time - person.time <= MAX_GAP
        }
        order = np.tile(np.arange(JOINT_COUNT), (len(poses), 1))
        for k, number in enumerate(poses.ids.tolist()):
            if number >= 0:
                swapped = self._look(number, poses[k : k + 1], time)
                order[k] = np.where(swapped, MIRROR, order[k])
        rows = np.arange(len(poses))[:, None]
        moved = (order != np.arange(JOINT_COUNT)).any(1)
        if not moved.any():
            return poses
        self.changed += int(moved.sum())
        joints, scores = poses.joints_xy[rows, order], poses.joint_scores[rows, order]
        return replace(poses, joints_xy=joints, joint_scores=scores)

    def _look(self, number: int, pose: Poses, time: float) -> Flags:
        """Which joints (17,) of this person are swapped now."""
        points = _both(pose.joints_xy[0].astype(np.float64))
        scores = _both(pose.joint_scores[0].astype(np.float64))
        seen = scores >= SURE
        known = self._people.get(number)
        if known is None or time <= known.time:
            costs = np.zeros((2, 2)) + [0.0, BEGIN]
            zeros = np.zeros_like(points)
            self._people[number] = _Person(
                points, zeros, seen.astype(np.int64), scores, costs, time
            )
            return np.zeros(JOINT_COUNT, np.bool_)
        x0, y0, x1, y1 = pose.boxes_xyxy[0].tolist()
        size, step = max(x1 - x0, y1 - y0, 1.0), time - known.time
        predicted = known.points + step * known.velocities
        off = points[None] - predicted[:, None]  # from account, to account, joint, xy
        spread = _spread(known.age, scores, step, self._late) * size
        cost = np.minimum((off**2).sum(-1) / (2 * spread**2), CAP)
        cost *= seen[None] & (known.age > 0)[:, None]
        cost += VANISH * np.abs(scores[None] - known.scores[:, None])
        begin = BEGIN * (1 + CAUTION * (self._late - 1))
        switch = np.array([[0.0, begin], [END, LAST]])  # from right, swapped to right, swapped
        total = known.costs[:, :, None] + switch + np.einsum("gj,stj->gst", _GROUPS, cost)
        before = total.argmin(1)  # group, to account
        costs = total.min(1)
        self._people[number] = _step(known, before, off, points, predicted, seen, step)
        self._people[number].scores = scores
        self._people[number].costs = costs - costs.min(1, keepdims=True)
        self._people[number].time = time
        swapped: Flags = (costs.argmin(1)[:, None] * _GROUPS).any(0)
        return swapped


def _both(values: NDArray[Any]) -> NDArray[Any]:
    """As they are, and with sides exchanged."""
    return np.stack([values, values[MIRROR]])


def told_of(far: int, frames: int) -> str:
    """What to say when so many of the frames come more than FAR after the one before."""
    if 2 * far <= frames:
        return ""
    return f"--fix-swaps: frames are more than {FAR:g} s apart, where few swaps are undone"


def _spread(age: NDArray[np.int64], scores: Floats, step: float, late: float) -> Floats:
    """Expected distances (from account, to account, joint) from the prediction in sizes."""
    moved = ACCELERATION * step**2 * late**DOUBT + SPEED * step * (age < 2)
    spread: Floats = moved[:, None] + NOISE * (1 + UNSURE * (1 - scores))
    return spread


def _step(
    known: _Person,
    before: NDArray[np.int64],
    off: Floats,
    points: Floats,
    predicted: Floats,
    seen: Flags,
    step: float,
) -> _Person:
    """The accounts after a frame: each goes on from the one before that was cheapest for it.
    Joints not seen go on at their velocity."""
    origin = np.where(_UPPER, before[0][:, None], before[1][:, None])  # to account, joint
    accounts, joints = np.arange(2)[:, None], np.arange(JOINT_COUNT)
    surprise = off[origin, accounts, joints]
    age = known.age[origin, joints]
    fresh = (age < 2)[..., None]
    share = np.where(fresh, 1.0, FOLLOW)
    velocities = known.velocities[origin, joints]
    faster = velocities + share * surprise / step
    velocities = np.where((seen & (age > 0))[..., None], faster, velocities * (age > 0)[..., None])
    believed = points - np.where(fresh, 0.0, 1 - BELIEVE) * surprise
    here = np.where(seen[..., None], believed, predicted[origin, joints])
    return _Person(
        here, velocities, np.where(seen, age + 1, 0), known.scores, known.costs, known.time
    )
