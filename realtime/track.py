"""Who is who: people of one frame get the ids they had in the frames before.

A Kalman filter (kalman.py) moves every track to the time of the new frame; boxes (IoU) and joints
(OKS, with the doubt about the prediction as tolerance) say how alike it is to every person there,
and the best one-to-one assignment decides. Whoever is left over on both sides is compared again
by wider rules. People who are not sure enough to be new may still be somebody known, as in
ByteTrack (Zhang et al., ECCV 2022, arXiv:2110.06864), but nothing is learned from them: they are
often somebody else in part. Without a place they are left out.

The constants were chosen on simulated groups who walk through each other, at 5 to 60 frames a
second, with noise and misses (tests/test_track.py), and on the demo scene (benchmarks/ids.py).
"""

from __future__ import annotations

from dataclasses import dataclass, fields, replace
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from realtime.assignment import assign
from realtime.geometry import areas, clip_boxes, iou
from realtime.kalman import Floats, Motion
from realtime.looks import difference, differences
from realtime.records import Detections, Float, Poses
from realtime.similarity import BODY_SHARE, oks

Indices = NDArray[np.int64]
People = TypeVar("People", "_Tracks", Poses)

MAX_AGE = 3.0
"""Seconds for which a person who is not seen keeps the id."""
SURE = 2.0  # sum of products of joint scores from which the joints are sure
COAST = 0.5  # seconds without any pose after which no box is predicted
CONFIDENT = 0.3  # joint score from which a predicted box must hold the joint
INSIDE = 0.25  # share of a predicted box that must be in the picture
FADED = 0.5  # a person whose joint scores fell below this share of their value is lost


@dataclass(frozen=True, slots=True)
class Rule:
    """When a track and a person are one.

    least: similarity. doubt: standard deviations of the predicted place that joints may be off,
    limit: the most of that in body sizes. joints: how much joints count where they are sure; the
    box counts 1. grown: standard deviation of the logarithm of the change of size. strange: what is
    left of the similarity to somebody who looks quite different. by_looks: doubt about tracks whose
    looks are known, where it is more.
    """

    least: float
    doubt: float
    limit: float
    joints: float
    grown: float = np.inf
    strange: float = 0.4
    by_looks: float = 0.0


FIRST = Rule(0.5, doubt=0.25, limit=0.5, joints=5.0, by_looks=0.45)
LATE = Rule(0.15, doubt=3.0, limit=0.5, joints=5.0)  # seen last of all
BACK = Rule(0.15, doubt=2.0, limit=3.0, joints=1.0, grown=0.3)  # seen before that
WEAK = Rule(0.3, doubt=2.0, limit=0.5, joints=1.0)  # people who are not sure
LEARN = 0.1  # share of what was seen now in the looks of a person
LATEST = 1.0  # seconds since a person was seen after which only BACK applies, but see _match()
WEAK_AGE = 0.3  # seconds since a person was seen after which those who are not sure are nobody
RECENT = 0.3  # seconds since a person was seen for which LATE applies
UNKNOWN, TRUST = 0.3, 6.0
"""Seconds for which a person seen once keeps the id when not seen, and how many more for each
second between the first and the last sight: wrong people are seen shortly."""
FRAMES = 3  # for which everybody keeps the id when not seen, however few there are in a second
STALL = 3.0
"""How many times as far from the frame before as that was from its own a frame comes after a stall,
in which people may have changed places; all frames of a time lapse are far apart."""


@dataclass(frozen=True, slots=True)
class _Tracks:
    """T people the tracker knows of, one row each.

    last: as last seen, with ids. detected: as in the last frame with a detection; what predicted
    boxes are measured from. motion: at the time last seen. first, seen: (T,) seconds, when seen for
    the first and the last time. looks: (T, 2, 3), see realtime.looks, their mean.
    """

    last: Poses
    detected: Poses
    motion: Motion
    first: Floats
    seen: Floats
    looks: Float

    def __len__(self) -> int:
        return len(self.seen)

    def __getitem__(self, keep: Any) -> _Tracks:
        return _Tracks(
            self.last[keep],
            self.detected[keep],
            self.motion[keep],
            self.first[keep],
            self.seen[keep],
            self.looks[keep],
        )

    @staticmethod
    def start(poses: Poses, time: float, looks: Float) -> _Tracks:
        times = np.full(len(poses), time, np.float64)
        motion = Motion.start(_size(poses.boxes_xyxy).astype(np.float64))
        return _Tracks(poses, poses, motion, times, times, looks)

    @staticmethod
    def none(time: float) -> _Tracks:
        return _Tracks.start(Poses.empty(), time, _unknown(0))

    def elapsed(self, time: float) -> Floats:
        """Seconds (T,) since each was seen; 0 where time runs backwards."""
        passed: Floats = np.maximum(time - self.seen, 0)
        return passed

    def ahead(self, time: float) -> Motion:
        """Their motion by then."""
        return self.motion.ahead(self.elapsed(time), _size(self.last.boxes_xyxy).astype(np.float64))


class Tracker:
    """Gives ids, from first_id up and never twice; used by one thread.

    max_age: seconds for which a person who is not seen keeps the id; in a time lapse, where frames
    are further apart, it is FRAMES frames.
    least: score from which a person may get a new id.
    A jump back in time by more than max_age (a source that starts over) ends all tracks.
    next_id: what the next new person will get.
    """

    def __init__(self, max_age: float = MAX_AGE, least: float = 0.0, first_id: int = 1) -> None:
        self._max_age, self._least = max_age, least
        self._tracks = _Tracks.none(0.0)
        self._time = 0.0
        self._times = [-np.inf] * (FRAMES + 1)  # of the last frames, the oldest first
        self.next_id = first_id
        self._predicted_for: tuple[float, ...] = ()
        self._lost = False

    @property
    def lost(self) -> bool:
        """Whether a person of the frame before the last one was not confirmed in the last one:
        nobody sure matched, or, in a frame with predicted boxes, the joint scores had fallen to
        half of what they were at the last detection. The caller should detect again at once."""
        return self._lost

    @property
    def known_ids(self) -> Indices:
        """Ids (K,) that may be given again, of people in sight and out of sight; for any thread."""
        return self._tracks.last.ids

    def update(self, poses: Poses, time: float, looks: Float | None = None) -> Poses:
        """The same people in the same order with their ids; nothing else changes, but those
        whose score is below ``least`` and who are nobody known are left out.

        time: Frame.time in seconds; gaps of any length are fine. Boxes are taken as detected
        unless predicted() was asked for exactly this time; of boxes that are worked out the wider
        ones are compared, with which ids are lost less often. looks: (N, 2, 3), what realtime.looks
        says of these people; None: nothing.
        """
        looks = _unknown(len(poses)) if looks is None else looks
        given, poses = poses, replace(poses, boxes_xyxy=poses.search_xyxy, wider_xyxy=None)
        detected = time not in self._predicted_for
        tracks = self._alive(time)
        now = replace(tracks, motion=tracks.ahead(time))
        last = np.inf if self._stalled(time) else self._time
        rows, people = _match(now, poses, looks, time, last, self._least)

        ids = np.full(len(poses), -1, np.int64)
        ids[people] = tracks.last.ids[rows]
        kept = (ids >= 0) | (poses.scores >= self._least)
        if not kept.all():
            people = np.cumsum(kept)[people] - 1
            given, poses, ids, looks = given[kept], poses[kept], ids[kept], looks[kept]
        fresh = np.flatnonzero(ids < 0)
        ids[fresh] = np.arange(self.next_id, self.next_id + len(fresh))
        self.next_id += len(fresh)
        poses = poses.with_ids(ids)

        sure = poses.scores[people] >= self._least
        rows, people = rows[sure], people[sure]  # the others tell too little of where people are
        parts = [_follow(now[rows], poses[people], looks[people], time, detected)]
        unseen = np.ones(len(tracks), np.bool_)
        unseen[rows] = False
        self._lost = bool((unseen & (tracks.seen == self._time)).any() or _faded(parts[0]).any())
        if unseen.any():
            parts.append(tracks[unseen])
        if len(fresh):
            parts.append(_Tracks.start(poses[fresh], time, looks[fresh]))
        self._tracks = _join(parts)
        self._time = time
        self._times = [*self._times[1:], time]
        return given.with_ids(ids)

    def predicted(self, time: float, size_wh: tuple[int, int], last: Detections) -> Detections:
        """Where the people of the last frame will be at time, for a frame without detection.

        A person's box is the last detected one, moved and stretched (per axis) as the joints have
        since, moved on by the velocity, and cut at the border of the picture of size_wh. The
        person is looked for in a box that is grown to hold the confident joints as well. People
        who have left the picture have no box; nobody has one when the last frame is longer than
        half a second ago.

        last: the last detections. A person's score is that of its own box there; the score of a
            pose contains the joints', which would be counted again in every frame.
        update() must follow with the poses found in these boxes and the same time.
        """
        tracks = self._tracks[self._tracks.seen == self._time]
        if time - self._time > COAST or len(tracks) == 0 or len(last) == 0:
            return Detections.empty()
        boxes, off = _carried(tracks), np.tile(tracks.ahead(time).off, 2)
        wider = (_holding(boxes, tracks.last) + off).astype(np.float32)
        cut = clip_boxes(wider, size_wh)
        inside = areas(cut) > INSIDE * areas(wider)
        own = clip_boxes((boxes + off).astype(np.float32), size_wh)
        own = np.where(areas(own)[:, None] > 0, own, cut)  # only joints are in the picture
        scores = last.scores[iou(tracks.detected.boxes_xyxy, last.boxes_xyxy).argmax(1)]
        order = np.argsort(-scores, kind="stable")
        order = order[inside[order]]
        if len(order):
            self._predicted_for = (*self._predicted_for[-31:], time)
        return Detections(own[order], scores[order], cut[order])

    def _alive(self, time: float) -> _Tracks:
        if time < self._time - self._max_age:
            return _Tracks.none(time)
        tracks = self._tracks
        elapsed = tracks.elapsed(time)
        known = elapsed <= UNKNOWN + TRUST * (tracks.seen - tracks.first)
        recent = tracks.seen >= min(self._times)
        known = (known | recent) & (elapsed <= self._max_age)
        return _some(tracks, known if self._stalled(time) else known | recent)

    def _stalled(self, time: float) -> bool:
        return time - self._time > STALL * (self._time - self._times[-2])


def _match(
    tracks: _Tracks, poses: Poses, looks: Float, time: float, last: float, least: float
) -> tuple[Indices, Indices]:
    """Rows of tracks, moved to this time, and the people they are. last: time of the frame before,
    infinite after a stall.

    First all tracks compete by the narrow rule, then those left over by wide ones: the tracks
    seen last before the older ones, which would be near to everybody. Who was seen in the frame
    before competes by all of them where that is long ago. People whose score is below least come
    last.
    """
    elapsed = tracks.elapsed(time)
    lately = (elapsed <= LATEST) | (tracks.seen >= last)
    newest = tracks.seen == tracks.seen.max(initial=-np.inf)
    newest = lately & (newest | (elapsed <= RECENT))
    sure = poses.scores >= least
    rows = people = np.zeros(0, np.int64)
    free, left = np.ones(len(tracks), np.bool_), np.ones(len(poses), np.bool_)
    alike_looks = np.exp(-differences(tracks.looks, looks))
    for chosen, whom, rule in (
        (lately, sure, FIRST),
        (newest, sure, LATE),
        (~newest | (elapsed > LATEST), sure, BACK),
        (elapsed <= WEAK_AGE, ~sure, WEAK),
    ):
        if len(rows) == min(len(tracks), len(poses)):
            break
        chosen, whom = chosen & free, whom & left
        if chosen.any() and whom.any():
            alike = _similarity(_some(tracks, chosen), _some(poses, whom), rule)
            alike *= rule.strange + (1 - rule.strange) * alike_looks[chosen][:, whom]
            more, who = assign(alike, rule.least)
            rows = np.append(rows, np.flatnonzero(chosen)[more])
            people = np.append(people, np.flatnonzero(whom)[who])
            free[rows] = left[people] = False
    return rows, people


def _some(people: People, which: NDArray[np.bool_]) -> People:
    """Those chosen by a mask; without a copy where that is everybody, as it mostly is."""
    return people if which.all() else people[which]


def _similarity(tracks: _Tracks, poses: Poses, rule: Rule) -> Float:
    """Similarity (T, N) in 0..1: weighted mean of the boxes' IoU and the joints' OKS, the joints
    counting less where few are sure; less the more the size changed."""
    motion = tracks.motion
    off = np.concatenate([motion.off, motion.off], 1)
    boxes = (tracks.last.boxes_xyxy + off).astype(np.float32)
    joints = (tracks.last.joints_xy + motion.off[:, None]).astype(np.float32)
    size = _size(boxes)
    known = np.isfinite(tracks.looks).any((1, 2))
    doubt = np.where(known, max(rule.doubt, rule.by_looks), rule.doubt)
    blur = np.minimum(doubt * motion.spread, rule.limit * size)
    weights = tracks.last.joint_scores[:, None] * poses.joint_scores[None]
    alike = oks(joints, poses.joints_xy, BODY_SHARE * size**2, weights, blur)
    share = rule.joints * np.clip(weights.sum(2) / SURE, 0, 1)
    boxes_alike = iou(boxes, poses.boxes_xyxy)
    mean: Float = ((boxes_alike + share * alike) / (1 + share)).astype(np.float32)
    if rule.grown < np.inf:
        sizes = np.log(np.maximum(size, 1)), np.log(np.maximum(_size(poses.boxes_xyxy), 1))
        change = (sizes[0][:, None] - sizes[1]) / rule.grown
        mean = (mean * np.exp(-(change**2) / 2)).astype(np.float32)
    return mean


def _size(boxes_xyxy: Float) -> Float:
    """Size (N,) in pixels of the people in boxes: the root of the area, but half of the longest
    side at least, because a person seen from the side is not smaller."""
    longest = (boxes_xyxy[:, 2:] - boxes_xyxy[:, :2]).max(1, initial=0)
    size: Float = np.maximum(np.sqrt(areas(boxes_xyxy)), longest / 2)
    return size


def _unknown(count: int) -> Float:
    """The looks of people of whom nothing is known."""
    return np.full((count, 2, 3), np.nan, np.float32)


def _follow(tracks: _Tracks, poses: Poses, looks: Float, time: float, detected: bool) -> _Tracks:
    """The tracks, moved to this time, each now seen as the person of the same row."""
    moved = _moved(tracks.last, poses)
    size = _size(poses.boxes_xyxy).astype(np.float64)
    motion = tracks.motion.measured(moved, size)
    seen = np.full(len(poses), time, np.float64)
    detected_poses = poses if detected else tracks.detected
    mean = _mean_looks(tracks.looks, looks)
    return _Tracks(poses, detected_poses, motion, tracks.first, seen, mean)


def _mean_looks(had: Float, seen: Float) -> Float:
    """Looks (T, 2, 3) with what was seen now; little of it where that is quite different, because
    somebody else may be in front."""
    rate = (LEARN * np.exp(-difference(had, seen)))[:, None, None]
    mean = np.where(np.isfinite(seen), had + rate * (seen - had), had)
    result: Float = np.where(np.isfinite(had), mean, seen).astype(np.float32)
    return result


def _moved(before: Poses, after: Poses) -> Floats:
    """Movement (N, 2) in pixels: the mean over the joints weighted by their scores, or that of
    the boxes' centres where no joint was seen."""
    weights = (before.joint_scores * after.joint_scores).astype(np.float64)[..., None]
    total = weights.sum(1)
    joints = (weights * (after.joints_xy - before.joints_xy)).sum(1) / np.where(total > 0, total, 1)
    boxes = after.boxes_xyxy - before.boxes_xyxy
    moved: Floats = np.where(total > 0, joints, (boxes[:, :2] + boxes[:, 2:]) / 2)
    return moved


def _faded(tracks: _Tracks) -> NDArray[np.bool_]:
    """Whose joints (T,) are much less certain than at the last detection."""
    now, then = tracks.last.joint_scores.mean(1), tracks.detected.joint_scores.mean(1)
    faded: NDArray[np.bool_] = now < FADED * then
    return faded


def _carried(tracks: _Tracks) -> Floats:
    """Boxes (T, 4) at the time last seen, from the last detected box and the joints.

    Always measured from the last detection, so that errors do not add up, and by joints seen at
    both times, so that a joint that disappears does not shrink the box.
    """
    then, now = tracks.detected, tracks.last
    size = np.sqrt(areas(then.boxes_xyxy)).astype(np.float64)[:, None]
    weights = (then.joint_scores * now.joint_scores).astype(np.float64)
    then_at, then_spread = _centre_and_spread(then.joints_xy, weights)
    now_at, now_spread = _centre_and_spread(now.joints_xy, weights)
    # A tenth of the size keeps the stretch of a narrow person (side view) from being noise.
    softness = 0.1 * np.maximum(size, 1)
    stretch = np.clip((now_spread + softness) / (then_spread + softness), 0.5, 2)
    boxes = np.tile(now_at, 2) + (then.boxes_xyxy - np.tile(then_at, 2)) * np.tile(stretch, 2)
    carried: Floats = np.where(weights.sum(1, keepdims=True) > 0, boxes, now.boxes_xyxy)
    return carried


def _centre_and_spread(joints_xy: Float, weights: Floats) -> tuple[Floats, Floats]:
    """Weighted mean (T, 2) and standard deviation per axis (T, 2) of joints (T, 17, 2)."""
    share = weights / np.maximum(weights.sum(1, keepdims=True), 1e-12)
    centre = (share[..., None] * joints_xy).sum(1)
    variance = (share[..., None] * (joints_xy - centre[:, None]) ** 2).sum(1)
    return centre, np.sqrt(variance)


def _holding(boxes: Floats, poses: Poses) -> Floats:
    """Boxes (T, 4) grown, by a quarter of their size per side at most, to hold the confident
    joints and a little around them."""
    size = np.sqrt(np.prod(np.maximum(boxes[:, 2:] - boxes[:, :2], 0), 1))[:, None]
    sure = (poses.joint_scores >= CONFIDENT)[..., None]
    low = np.where(sure, poses.joints_xy, np.inf).min(1) - 0.05 * size
    high = np.where(sure, poses.joints_xy, -np.inf).max(1) + 0.05 * size
    low = np.clip(low, boxes[:, :2] - 0.25 * size, boxes[:, :2])
    high = np.clip(high, boxes[:, 2:], boxes[:, 2:] + 0.25 * size)
    return np.concatenate([low, high], 1)


def _join(parts: list[Any]) -> Any:
    """The rows of all parts, one part after the other: of arrays, or of structs of such."""
    if len(parts) == 1 or parts[0] is None:
        return parts[0]
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    columns = ([getattr(part, field.name) for part in parts] for field in fields(parts[0]))
    return type(parts[0])(*map(_join, columns))
