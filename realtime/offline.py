"""Steady joints of a whole recording, when the future is known as well as the past.

Everything works on one person at a time, in their real times, joint by joint and for the two
corners of the box. Samples below the least score count as gaps, and so do frames without the
person.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import PchipInterpolator
from scipy.ndimage import median_filter
from scipy.signal import butter, sosfiltfilt

from realtime.errors import InputError, UsageError
from realtime.formats.rows import LoadedFrame
from realtime.records import Poses
from realtime.skeleton import JOINT_COUNT
from realtime.swaps import MAX_GAP, SwapRepair

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

ORDER = 2
"""Of the Butterworth filter; there and back it is a filter of order 4 without delay (Winter,
Biomechanics and Motor Control of Human Movement, section 2.2.4)."""
SHORTEST = 12
"""Samples a stretch needs to be filtered."""


@dataclass(frozen=True, slots=True)
class Cleaning:
    """What to do, in this order.

    fix_swaps: give swapped sides back. median: samples in the window of a running median, odd, 0
    for none. fill: seconds of the longest gap that is filled (shape-preserving cubic), 0 for none.
    butterworth: cutoff in Hz of a low-pass filter, 0 for none. least_score: of a joint that counts.
    """

    fix_swaps: bool = False
    median: int = 0
    fill: float = 0.0
    butterworth: float = 0.0
    least_score: float = 0.3


@dataclass(slots=True)
class _Track:
    """One person in T frames: points (T, 19, 2), the joints and the corners of the box; scores
    (T, 19), that of the person at the corners; good (T, 19), what is known or has been filled."""

    points: Floats
    scores: Floats
    good: Flags


def clean(frames: Sequence[LoadedFrame], how: Cleaning) -> list[LoadedFrame]:
    """The same frames with cleaned people; those without an id stay as they are, as do joints that
    do not count. Raises InputError for frames without rising times, UsageError for a cutoff that
    the frame rate does not allow."""
    times = np.array([frame.time for frame in frames])
    if not (np.diff(times) > 0).all():
        raise InputError("the frames have no rising times, so they cannot be filtered")
    people = [frame.poses for frame in frames]
    if how.fix_swaps:
        repair = SwapRepair()
        people = [repair(poses, time) for poses, time in zip(people, times.tolist(), strict=True)]
    tracks = {
        number: _cleaned(_track(people, number, how.least_score), times, how)
        for number in sorted({int(i) for poses in people for i in poses.ids if i >= 0})
    }
    return [
        frame._replace(poses=_frame(poses, row, tracks))
        for row, (frame, poses) in enumerate(zip(frames, people, strict=True))
    ]


def _track(people: Sequence[Poses], number: int, least_score: float) -> _Track:
    count = len(people)
    points = np.zeros((count, JOINT_COUNT + 2, 2))
    scores = np.zeros((count, JOINT_COUNT + 2))
    good = np.zeros((count, JOINT_COUNT + 2), np.bool_)
    for row, poses in enumerate(people):
        for k in np.flatnonzero(poses.ids == number)[:1]:
            points[row, :JOINT_COUNT] = poses.joints_xy[k]
            points[row, JOINT_COUNT:] = poses.boxes_xyxy[k].reshape(2, 2)
            scores[row, :JOINT_COUNT] = poses.joint_scores[k]
            scores[row, JOINT_COUNT:] = poses.scores[k]
            good[row] = scores[row] >= least_score
            good[row, JOINT_COUNT:] = True
            good[row] &= np.isfinite(points[row]).all(1)
    return _Track(points, scores, good)


def _cleaned(track: _Track, times: Floats, how: Cleaning) -> _Track:
    for point in range(JOINT_COUNT + 2):
        values, scores, good = track.points[:, point], track.scores[:, point], track.good[:, point]
        if how.median and good.any():
            values[good] = median_filter(values[good], (how.median, 1), mode="nearest")
        if how.fill and good.sum() > 1:
            new = _short_gaps(times, good, how.fill)
            values[new] = PchipInterpolator(times[good], values[good])(times[new])
            scores[new] = np.interp(times[new], times[good], scores[good])
            good |= new
        if how.butterworth:
            for stretch in _stretches(times, good):
                values[stretch] = low_pass(times[stretch], values[stretch], how.butterworth)
    return track


def _short_gaps(times: Floats, good: Flags, longest: float) -> Flags:
    """The samples (T,) between good ones that are at most longest seconds apart."""
    known = np.flatnonzero(good)
    new = np.zeros_like(good)
    for a, b in zip(known[:-1], known[1:]):
        new[a + 1 : b] = times[b] - times[a] <= longest
    return new


def _stretches(times: Floats, good: Flags) -> list[slice]:
    """Runs of good samples long enough to be filtered. A pause in which there is no frame at all (a
    stalled camera, a format without frames that have nobody) ends one as well."""
    steps = np.diff(times)
    pause = max(MAX_GAP, 3 * float(np.median(steps))) if len(steps) else MAX_GAP
    fresh = np.concatenate([[True], steps > pause, [True]])
    known = np.concatenate([[False], good, [False]])
    begins = np.flatnonzero(good & (fresh[:-1] | ~known[:-2]))
    ends = np.flatnonzero(good & (fresh[1:] | ~known[2:])) + 1
    runs = zip(begins.tolist(), ends.tolist(), strict=True)
    return [slice(a, b) for a, b in runs if b - a >= SHORTEST]


def low_pass(times: Floats, values: Floats, cutoff: float) -> Floats:
    """values (T, ...) at rising times (T,) without what is faster than cutoff (Hz), without delay.

    The filter needs even steps: values are read at even times in between, and back. Raises
    UsageError when cutoff is not below half of the frame rate.
    """
    rate = (len(times) - 1) / (times[-1] - times[0])
    if not cutoff < rate / 2:
        raise UsageError(
            f"--butterworth {cutoff:g}: expected less than half of {rate:.4g} frames/s"
        )
    even = np.linspace(times[0], times[-1], len(times))
    sections = butter(ORDER, cutoff, fs=rate, output="sos")
    flat = values.reshape(len(times), -1)
    result = np.empty_like(flat)
    for column, series in enumerate(flat.T):
        smooth = sosfiltfilt(sections, np.interp(even, times, series))
        result[:, column] = np.interp(times, even, smooth)
    return result.reshape(values.shape)


def _frame(poses: Poses, row: int, tracks: dict[int, _Track]) -> Poses:
    """The people of one frame, cleaned, and those filled in after them."""
    points, scores = _points(poses)
    for k, number in enumerate(poses.ids.tolist()):
        if number in tracks:
            points[k], scores[k] = tracks[number].points[row], tracks[number].scores[row]
    more = [n for n, t in tracks.items() if n not in poses.ids and t.good[row, -2:].all()]
    points = np.concatenate([points, *(tracks[n].points[row : row + 1] for n in more)])
    scores = np.concatenate([scores, *(tracks[n].scores[row : row + 1] for n in more)])
    return Poses(
        points[:, :JOINT_COUNT].astype(np.float32),
        scores[:, :JOINT_COUNT].astype(np.float32),
        points[:, JOINT_COUNT:].reshape(-1, 4).astype(np.float32),
        scores[:, -1].astype(np.float32),
        np.concatenate([poses.ids, np.array(more, np.int64)]),
    )


def _points(poses: Poses) -> tuple[Any, Any]:
    corners = poses.boxes_xyxy.reshape(-1, 2, 2)
    points = np.concatenate([poses.joints_xy, corners], 1).astype(np.float64)
    person = np.repeat(poses.scores[:, None], 2, 1)
    return points, np.concatenate([poses.joint_scores, person], 1).astype(np.float64)
