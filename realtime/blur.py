"""Faces made unrecognisable, failing closed: where it is not sure, more is covered, not less.

- Every person the detector found counts, also those whose pose is too poor to be shown.
- A head that the joints show is covered with a wide margin. Where fewer than two joints of the
  face are sure, the upper fifth of the person's box is covered as well if the shoulders say that
  the head is up, else the whole box: somebody may do a handstand, or the camera hang upside down.
  So it is where the face is sure but the pose too poor to be shown: such a face may be anywhere.
- A box with a poor pose in which many small people stand, surely found, in its middle as well,
  where a person would hide them, is a crowd's, which detectors take for one person: they are
  covered, it is not.
- A head that was seen stays covered for a second: where it was, where it would have moved to, and
  around that more and more.
- A picture about which nothing is known is covered as a whole.

What nobody detected cannot be covered. Boxes are (x0, y0, x1, y1) in frame pixels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from realtime.assignment import assign
from realtime.defaults import MIN_SCORE
from realtime.records import Float, Image, Poses

Floats = NDArray[np.float64]

KEPT = 1.0
"""Seconds for which a head that is not seen any more stays covered."""
SURE = 0.5
"""Score from which a joint says where the head is."""
GUESS = 0.1
"""Score under which a joint says nothing at all."""
UPPER = 0.2
"""Share of the box, from its top, in which a head is looked for that is up but that no joint
shows."""

FACE = slice(0, 5)  # nose, eyes, ears
SHOULDERS = slice(5, 7)
SPANS = np.array(
    [(3, 4, 1.6), (1, 2, 3.9), (0, 3, 2.0), (0, 4, 2.0), (1, 3, 2.4), (2, 4, 2.4), (5, 6, 0.65)]
)
"""Pairs of joints and the height of a head, 0.24 m with hair, in units of their distance on an
adult from the front or, for nose or eye to ear, from the side."""
OF_BOX = 0.13  # height of a head as a share of the longer side of a standing person's box
REACH = 0.75  # from the middle of the face to where the cover ends, in heights of the head
AROUND = 0.35  # from any sure joint of the face
CROWD, SMALL, CENTRAL = 8, 0.05, 0.25
"""People who make a crowd of a box, the most of its area that each may have, and how far from its
middle, in shares of its sides, one of them is. In 1,616 pictures of COCO, upright and upside down,
there are three such boxes, each of spectators."""
AIR = 0.05  # how far the cover of a box reaches beyond it, as a share of its sides

GROWTH = 1.5  # a head not seen is looked for so many of its sizes farther away each second
STRANGE = 4.0  # the same for a head that was seen once only: it may walk either way
FASTEST = 8.0  # sizes a head moves in a second, at most: a runner
BLOCKS = 4  # averages along the shorter side of what is covered
LEAST_BLOCK = 4  # pixels
WHOLE_BLOCK = 40  # pixels along the shorter side of a picture that is covered as a whole: its 1/n


def heads_of(poses: Poses, boxes_xyxy: Float) -> Float:
    """The heads (H, 4) of people with poses and of boxes (M, 4) of whom nothing is known; of the
    boxes of crowds there are none.

    Everything is finite; boxes may reach over the border of the picture.
    """
    boxes = np.nan_to_num(np.concatenate([poses.search_xyxy, boxes_xyxy])).astype(np.float64)
    whole = _upper(boxes, np.ones(len(boxes)))
    known = len(poses)
    if not known:
        return whole.astype(np.float32)
    finite = np.isfinite(poses.joints_xy).all(2)
    scores: Floats = np.where(finite, np.nan_to_num(poses.joint_scores), 0).astype(np.float64)
    joints = np.nan_to_num(poses.joints_xy).astype(np.float64)
    heads = _by_joints(joints, scores, boxes[:known])
    up = _head_is_up(joints, scores, boxes[:known])
    poor = np.nan_to_num(poses.scores) < MIN_SCORE
    unsure = ((scores[:, FACE] >= SURE).sum(1) < 2) | (poor & ~up)
    guessed = np.asarray((scores[:, FACE] >= GUESS).any(1))
    upper = _upper(boxes[:known], np.where(up, UPPER, 1.0))
    upper = np.where(guessed[:, None], _hull(upper, heads), upper)
    heads = np.where(unsure[:, None], upper, heads)[~_crowded(poses.scores, boxes[:known])]
    return np.concatenate([heads, whole[known:]]).astype(np.float32)


def _crowded(scores: Float, boxes: Floats) -> NDArray[np.bool_]:
    """Whose boxes (N,) are those of crowds."""
    size = np.maximum(boxes[:, 2:] - boxes[:, :2], 1)
    areas, sure = size.prod(1), scores >= MIN_SCORE
    aside = (_middle(boxes) - _middle(boxes)[:, None]) / size[:, None]  # of whom, from whom
    apart = abs(aside).max(2)
    within = (apart < 0.5) & sure & (areas < SMALL * areas[:, None])
    central = within & (apart < CENTRAL)
    return np.asarray(~sure & (within.sum(1) >= CROWD) & central.any(1))


def _head_is_up(joints_xy: Floats, scores: Floats, boxes: Floats) -> NDArray[np.bool_]:
    """Of whom (N,) it is known: both shoulders are sure and in the upper half of the box."""
    sure = scores[:, SHOULDERS].min(1) >= SURE
    middle = (boxes[:, 1] + boxes[:, 3]) / 2
    return np.asarray(sure & (joints_xy[:, SHOULDERS, 1].mean(1) < middle))


def _upper(boxes: Floats, share: Floats) -> Floats:
    """The upper part of each box, so much of it (N,), and a little around it."""
    wide, tall = np.maximum(boxes[:, 2:] - boxes[:, :2], 1).T
    x0, y0, x1, _ = boxes.T
    return np.stack(
        [x0 - AIR * wide, y0 - AIR * tall, x1 + AIR * wide, y0 + (share + AIR) * tall], 1
    )


def _by_joints(joints_xy: Floats, scores: Floats, boxes: Floats) -> Floats:
    """Heads (N, 4) around the surest joints of the face, as large as any joint says."""
    a, b = SPANS[:, :2].astype(int).T
    length = np.linalg.norm(joints_xy[:, a] - joints_xy[:, b], axis=2) * SPANS[:, 2]
    both = np.minimum(scores[:, a], scores[:, b]) >= 0.5 * SURE
    longest = np.maximum(boxes[:, 2:] - boxes[:, :2], 1).max(1)
    size = np.maximum((length * both).max(1), OF_BOX * longest)
    size = np.minimum(size, longest)[:, None]
    face = joints_xy[:, FACE]
    sure = (scores[:, FACE] >= SURE)[..., None]
    used = np.where(sure.any(1, keepdims=True), sure, scores[:, FACE, None] >= GUESS)
    count = np.maximum(used.sum(1), 1)
    middle = np.where(used, face, 0).sum(1) / count
    low = np.where(used, face, np.inf).min(1) - AROUND * size
    high = np.where(used, face, -np.inf).max(1) + AROUND * size
    low, high = np.minimum(low, middle - REACH * size), np.maximum(high, middle + REACH * size)
    return np.concatenate([low, high], 1)


def _hull(a: Floats, b: Floats) -> Floats:
    """The smallest boxes (N, 4) around both."""
    return np.concatenate([np.minimum(a[:, :2], b[:, :2]), np.maximum(a[:, 2:], b[:, 2:])], 1)


@dataclass(frozen=True, slots=True)
class _Seen:
    """Heads as they were last seen: boxes (H, 4), velocities (H, 2) in pixels per second, times
    (H,) in seconds. known: bool (H,), seen twice or more, so that the velocity means something."""

    boxes: Floats
    velocity: Floats
    time: Floats
    known: NDArray[np.bool_]

    def __getitem__(self, which: NDArray[np.int64]) -> _Seen:
        return _Seen(self.boxes[which], self.velocity[which], self.time[which], self.known[which])

    def scaled(self, scale: Floats) -> _Seen:
        """The same in a picture so many times as wide and as high (2,)."""
        return replace(self, boxes=self.boxes * np.tile(scale, 2), velocity=self.velocity * scale)

    @property
    def size(self) -> Floats:
        """The shorter side (H,) of each box."""
        size: Floats = np.maximum((self.boxes[:, 2:] - self.boxes[:, :2]).min(1, initial=1e6), 1)
        return size


class Heads:
    """Remembers heads for a second; used by one thread, frame after frame."""

    def __init__(self, kept: float = KEPT) -> None:
        self._kept = kept
        self._seen = _Seen(np.zeros((0, 4)), np.zeros((0, 2)), np.zeros(0), np.zeros(0, np.bool_))
        self._size_wh = 1, 1

    def update(self, heads_xyxy: Float, time: float, size_wh: tuple[int, int]) -> Float:
        """What to cover (K, 4) in the frame of this time, in seconds, and of this size: the heads
        found in it and those of the last second that are none of them."""
        if size_wh != self._size_wh:  # a stream that goes on in another resolution
            self._seen = self._seen.scaled(np.divide(size_wh, self._size_wh))
            self._size_wh = size_wh
        found = heads_xyxy.astype(np.float64)
        old = self._seen[np.flatnonzero(abs(time - self._seen.time) <= self._kept)]
        rows, columns = self._pairs(old, found, time)
        velocity = np.zeros((len(found), 2))
        velocity[columns] = _velocity(old[rows], found[columns], time)
        known = np.isin(np.arange(len(found)), columns)
        gone = old[np.setdiff1d(np.arange(len(old.time)), rows)]
        self._seen = _Seen(
            np.concatenate([found, gone.boxes]),
            np.concatenate([velocity, gone.velocity]),
            np.concatenate([np.full(len(found), time), gone.time]),
            np.concatenate([known, gone.known]),
        )
        return np.concatenate([found, _carried(gone, time)]).astype(np.float32)

    def _pairs(
        self, old: _Seen, found: Floats, time: float
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Which remembered head is which found one; each is at most one."""
        elapsed = abs(time - old.time)[:, None]
        at = _middle(old.boxes) + old.velocity * elapsed
        apart = np.linalg.norm(at[:, None] - _middle(found)[None], axis=2)
        reach = old.size[:, None] * (1 + FASTEST * elapsed)
        return assign((1 - apart / reach).astype(np.float32), 1e-3)


def _middle(boxes: Floats) -> Floats:
    return (boxes[:, :2] + boxes[:, 2:]) / 2


def _velocity(old: _Seen, found: Floats, time: float) -> Floats:
    """Velocities (H, 2) of heads that were seen again, half of the old one in it."""
    elapsed = np.maximum(abs(time - old.time), 1e-3)[:, None]
    now = (_middle(found) - _middle(old.boxes)) / elapsed
    mixed = np.where(old.known[:, None], (now + old.velocity) / 2, now)
    speed = np.linalg.norm(mixed, axis=1, keepdims=True)
    most = FASTEST * old.size[:, None]
    slower: Floats = mixed * np.minimum(1, most / np.maximum(speed, 1e-9))
    return slower


def _carried(gone: _Seen, time: float) -> Floats:
    """Where heads that are not seen may be (H, 4): between their last place and where they were
    going to, and around that."""
    elapsed = abs(time - gone.time)[:, None]
    boxes = _hull(gone.boxes, gone.boxes + np.tile(gone.velocity * elapsed, 2))
    room = gone.size[:, None] * np.where(gone.known, GROWTH, STRANGE)[:, None] * elapsed
    grown: Floats = boxes + room * np.array([-1, -1, 1, 1])
    return grown


def cover(picture: Image, heads_xyxy: Float | None) -> None:
    """Make heads (H, 4) in a picture (H, W, 3) unrecognisable, in place; all of it for None."""
    tall, wide = picture.shape[:2]
    if heads_xyxy is None:
        block = max(LEAST_BLOCK, min(tall, wide) // WHOLE_BLOCK)
        picture[:] = _blurred(picture, block)
        return
    low = np.floor(np.clip(heads_xyxy[:, :2], 0, [wide, tall])).astype(int)
    high = np.ceil(np.clip(heads_xyxy[:, 2:] + 1, 0, [wide, tall])).astype(int)
    for (x0, y0), (x1, y1) in zip(low.tolist(), high.tolist()):
        if x1 > x0 and y1 > y0:
            part = picture[y0:y1, x0:x1]
            block = max(LEAST_BLOCK, -(-min(part.shape[:2]) // BLOCKS))
            cv2.copyTo(_blurred(part, block), _rounded(x1 - x0, y1 - y0), part)


def _blurred(part: Image, block: int) -> Image:
    """The averages of blocks of so many pixels, blended into each other."""
    tall, wide = part.shape[:2]
    few = max(1, wide // block), max(1, tall // block)
    small = cv2.resize(part, few, interpolation=cv2.INTER_AREA)
    return np.asarray(cv2.resize(small, (wide, tall), interpolation=cv2.INTER_LINEAR), np.uint8)


def _rounded(wide: int, tall: int) -> Image:
    """A mask (tall, wide): 255 but in the corners, which are round."""
    mask = np.zeros((tall, wide), np.uint8)
    radius = min(wide, tall) // 3
    cv2.rectangle(mask, (radius, 0), (wide - 1 - radius, tall - 1), (255,), -1)
    cv2.rectangle(mask, (0, radius), (wide - 1, tall - 1 - radius), (255,), -1)
    for x in (radius, wide - 1 - radius):
        for y in (radius, tall - 1 - radius):
            cv2.circle(mask, (x, y), radius, (255,), -1)
    return mask


NOBODY: Float = np.zeros((0, 4), np.float32)
