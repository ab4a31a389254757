"""What the file formats share: which people are written, how numbers are rounded, what comes
back."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from math import isfinite, nan
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from realtime.records import COLUMNS, Float, Poses
from realtime.skeleton import JOINT_COUNT

POINT_DECIMALS, SCORE_DECIMALS, TIME_DECIMALS, ANGLE_DECIMALS = 2, 4, 6, 1
"""Decimals in text formats: pixels, scores, seconds, degrees. NPZ and MAT hold full precision."""


class LoadedFrame(NamedTuple):
    """One frame read back from a file.

    frame: its number in the source. time: seconds, nan where the file has none. poses: its people.
    file: the name of the image, for folders; else empty.
    """

    frame: int
    time: float
    poses: Poses
    file: str = ""


class Loaded(NamedTuple):
    """What a file holds. angles: whether it has joint angles, which are left out."""

    frames: list[LoadedFrame]
    angles: bool = False


def missing_after(frames: Sequence[int] | NDArray[np.int64]) -> NDArray[np.int64]:
    """How many frames (T - 1,) are missing between each of these numbers (T,) and the next, by
    their usual distance: what a run with --stride passes over is not missing."""
    jumps = np.diff(np.asarray(frames, np.float64))
    usual = np.quantile(jumps, 0.5, method="lower") if len(jumps) else 1.0
    return np.maximum(jumps // max(usual, 1.0) - 1, 0).astype(np.int64)


def finite(poses: Poses) -> Poses:
    """The people whose numbers are all finite; the others are not written."""
    parts = (poses.joints_xy, poses.joint_scores, poses.boxes_xyxy, poses.scores)
    good = [np.isfinite(part).all(axis=tuple(range(1, part.ndim))) for part in parts]
    return poses[np.logical_and.reduce(good)]


def rounded(values: NDArray[Any] | np.float64 | float, decimals: int) -> Any:
    """As Python numbers; in float64, whose shortest form shows no more digits than these."""
    return (np.round(np.asarray(values, np.float64), decimals) + 0.0).tolist()  # -0.0 -> 0.0


def seconds(time: float) -> float | None:
    """A time for JSON, rounded; None (null) where it is not known."""
    return rounded(time, TIME_DECIMALS) if isfinite(time) else None


def to_time(given: float | None) -> float:
    """The time that JSON has, nan for null."""
    return nan if given is None else given


def keypoints(poses: Poses) -> Any:
    """x, y, score of every joint, rounded: N lists of 17 lists of 3."""
    points = np.round(poses.joints_xy.astype(np.float64), POINT_DECIMALS)
    scores = np.round(poses.joint_scores.astype(np.float64), SCORE_DECIMALS)
    return rounded(np.concatenate([points, scores[..., None]], 2), SCORE_DECIMALS)


def to_poses(keypoints: Any, boxes_xyxy: Any, scores: Sequence[float], ids: Sequence[int]) -> Poses:
    """Poses from N x 17 x (x, y, score), N boxes, N scores, N ids. Raises ValueError."""
    points = np.asarray(keypoints, np.float32).reshape(-1, JOINT_COUNT, 3)
    return Poses(
        np.ascontiguousarray(points[..., :2]),
        np.ascontiguousarray(points[..., 2]),
        np.asarray(boxes_xyxy, np.float32).reshape(-1, 4),
        np.asarray(scores, np.float32),
        np.asarray(ids, np.int64),
    )


def in_order(parts: list[LoadedFrame]) -> list[LoadedFrame]:
    """The frames of a table in the order of their numbers, each once, however the table was sorted:
    by person, say, or by score. Raises ValueError for a table of several videos."""
    if all(a.frame < b.frame for a, b in pairwise(parts)):
        return parts
    frames: dict[int, list[LoadedFrame]] = {}
    for part in parts:
        frames.setdefault(part.frame, []).append(part)
    return [_together(same) for _, same in sorted(frames.items())]


def _together(parts: list[LoadedFrame]) -> LoadedFrame:
    """One frame with the people of all parts of it."""
    columns = ([getattr(part.poses, name) for part in parts] for name in COLUMNS)
    poses = Poses(*map(np.concatenate, columns))
    ids = poses.ids[poses.ids >= 0]
    if len({(str(part.time), part.file) for part in parts}) > 1 or len(set(ids)) < len(ids):
        raise ValueError(f"frame {parts[0].frame} is there twice; is this more than one video?")
    return parts[0]._replace(poses=poses)


def box_around(joints_xy: Float, seen: NDArray[np.bool_]) -> list[float]:
    """The smallest box around the joints (17, 2) that are seen (17,); zeros when none is. For
    formats without boxes."""
    if not seen.any():
        return [0.0] * 4
    points = joints_xy[seen]
    return [*points.min(0).tolist(), *points.max(0).tolist()]
