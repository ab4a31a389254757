"""Steady joints of a whole recording, when the future is known as well as the past.

Everything works on one person at a time, in their real times, joint by joint and for the two
corners of the box. Samples below the least score count as gaps, and so do frames without the
person.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import Akima1DInterpolator, PchipInterpolator
from scipy.ndimage import median_filter
from scipy.signal import butter, sosfiltfilt

from realtime.errors import InputError, UsageError
from realtime.formats.rows import TIME_DECIMALS, LoadedFrame
from realtime.records import COLUMNS, Poses
from realtime.skeleton import JOINT_COUNT
from realtime.swaps import MAX_GAP, SwapRepair

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]
Rows = NDArray[np.int64]

ORDER = 2
"""Of the Butterworth filter; there and back it is a filter of order 4 without delay (Winter,
Biomechanics and Motor Control of Human Movement, section 2.2.4)."""
TWICE = (2**0.5 - 1) ** 0.25
"""What a second pass leaves of the cutoff of one pass (the same section, with order 2)."""
SHORTEST = 12
"""Samples a stretch needs to be filtered."""
ROUNDED = 2 * 10.0**-TIME_DECIMALS
"""Seconds by which the length of a gap may be too long because a file's times are rounded."""


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
    """One person in T frames, from the first to the last one with the person: points (T, 19, 2),
    the joints and the corners of the box; scores (T, 19), that of the person at the corners; good
    (T, 19), what is known or has been filled."""

    points: Floats
    scores: Floats
    good: Flags


def clean(
    frames: Sequence[LoadedFrame], how: Cleaning, notes: list[str] | None = None
) -> list[LoadedFrame]:
    """The same frames with cleaned people, and those filled in after them; people without an id
    stay as they are, as do joints that do not count, and stretches whose frame rate does not allow
    the cutoff: to notes is added how many. Raises InputError for frames without rising times,
    UsageError for a cutoff that the frame rate allows nowhere."""
    times = np.array([frame.time for frame in frames])
    if not (np.diff(times) > 0).all():
        raise InputError("the frames have no rising times, so they cannot be filtered")
    people = [frame.poses for frame in frames]
    if how.fix_swaps:
        repair = SwapRepair()
        people = [repair(poses, time) for poses, time in zip(people, times.tolist(), strict=True)]
    rows, everybody = _joined(people)
    filled = [(rows, everybody)]
    pause, rates = _pause(times), list[float]()
    for which in _by_id(everybody.ids, rows):
        first, last = int(rows[which[0]]), int(rows[which[-1]])
        here, number = rows[which] - first, int(everybody.ids[which[0]])
        track = _track(everybody[which], here, last - first + 1, how.least_score)
        rates += _clean(track, times[first : last + 1], pause, how)
        _put(everybody, which, _poses(track, here, number))
        new = np.setdiff1d(np.flatnonzero(track.good[:, -2:].all(1)), here)
        filled.append((first + new, _poses(track, new, number)))
    told = _too_slow(rates, how.butterworth)
    if notes is not None and told:
        notes.append(told)
    return [
        frame._replace(poses=poses)
        for frame, poses in zip(frames, _parted(filled, len(frames)), strict=True)
    ]


def _joined(people: Sequence[Poses]) -> tuple[Rows, Poses]:
    """All people of all frames as one, which may be written to, and the row of each one's frame."""
    rows = np.repeat(np.arange(len(people)), [len(poses) for poses in people])
    parts = [Poses.empty(), *people]
    return rows, Poses(*(np.concatenate([getattr(p, n) for p in parts]) for n in COLUMNS))


def _parted(parts: Sequence[tuple[Rows, Poses]], count: int) -> Iterator[Poses]:
    """The people of each of count frames, in the order of the parts: what _joined() put
    together."""
    rows = np.concatenate([rows for rows, _ in parts])
    _, everybody = _joined([poses for _, poses in parts])
    everybody = everybody[np.argsort(rows, kind="stable")]
    ends = np.cumsum(np.bincount(rows, minlength=count))
    return (everybody[a:b] for a, b in pairwise([0, *ends.tolist()]))


def _by_id(ids: Rows, rows: Rows) -> Iterator[Rows]:
    """Where each person with an id is, frame by frame, the lowest id first; of equal ids in a frame
    the first one."""
    order = np.lexsort((rows, ids))
    order = order[ids[order] >= 0]
    again = (np.diff(ids[order]) == 0) & (np.diff(rows[order]) == 0)
    order = np.delete(order, np.flatnonzero(again) + 1)
    cuts = np.flatnonzero(np.diff(ids[order])) + 1
    return (which for which in np.split(order, cuts) if len(which))


def _track(poses: Poses, here: Rows, count: int, least_score: float) -> _Track:
    """Of the poses of one person, in these of count frames."""
    track = _Track(
        np.zeros((count, JOINT_COUNT + 2, 2)),
        np.zeros((count, JOINT_COUNT + 2)),
        np.zeros((count, JOINT_COUNT + 2), np.bool_),
    )
    corners = poses.boxes_xyxy.reshape(-1, 2, 2)
    track.points[here] = np.concatenate([poses.joints_xy, corners], 1)
    person = np.repeat(poses.scores[:, None], 2, 1)
    track.scores[here] = np.concatenate([poses.joint_scores, person], 1)
    track.good[here] = np.isfinite(track.points[here]).all(2)
    track.good[here, :JOINT_COUNT] &= poses.joint_scores >= least_score
    return track


def _poses(track: _Track, here: Rows, number: int) -> Poses:
    """The person in these frames."""
    points, scores = track.points[here].astype(np.float32), track.scores[here].astype(np.float32)
    return Poses(
        points[:, :JOINT_COUNT],
        scores[:, :JOINT_COUNT],
        points[:, JOINT_COUNT:].reshape(-1, 4),
        scores[:, -1],
        np.full(len(here), number),
    )


def _put(everybody: Poses, which: Rows, poses: Poses) -> None:
    for name in COLUMNS:
        getattr(everybody, name)[which] = getattr(poses, name)


def _clean(track: _Track, times: Floats, pause: float, how: Cleaning) -> list[float]:
    """times (T,) of the track's frames; pause: see _pause(). The frame rates of the stretches that
    are long enough for the low-pass filter; it is left out where they do not allow it."""
    rates = []
    for point in range(JOINT_COUNT + 2):
        values, scores, good = track.points[:, point], track.scores[:, point], track.good[:, point]
        if how.median:
            for piece in _pieces(times, good, pause):
                values[piece] = median_filter(values[piece], (how.median, 1), mode="nearest")
        if how.fill and good.sum() > 1:
            new = _short_gaps(times, good, how.fill)
            values[new] = PchipInterpolator(times[good], values[good])(times[new])
            scores[new] = np.interp(times[new], times[good], scores[good])
            good |= new
        if how.butterworth:
            for stretch in _stretches(times, good, pause):
                rates.append(_rate(times[stretch]))
                if how.butterworth < rates[-1] / 2:
                    values[stretch] = low_pass(times[stretch], values[stretch], how.butterworth)
    return rates


def _too_slow(rates: Sequence[float], cutoff: float) -> str:
    """What to say of stretches with these frame rates that do not allow the cutoff; "" for
    nothing. Raises UsageError when none of them does."""
    slow = [rate for rate in rates if not cutoff < rate / 2]
    if not slow:
        return ""
    if len(slow) == len(rates):
        raise _too_high(cutoff, max(rates))
    return (
        f"--butterworth {cutoff:g}: {len(slow)} of {len(rates)} stretches of joints and boxes have"
        f" {2 * cutoff:g} frames/s or less and stay unfiltered"
    )


def _too_high(cutoff: float, rate: float) -> UsageError:
    return UsageError(f"--butterworth {cutoff:g}: expected less than half of {rate:.4g} frames/s")


def _rate(times: Floats) -> float:
    """Frames a second, in the mean."""
    return float((len(times) - 1) / (times[-1] - times[0]))


def _pause(times: Floats) -> float:
    """Seconds from which a distance of two frames is none of usual frames, but a stalled camera, or
    a format without frames that have nobody."""
    return max(MAX_GAP, 3 * float(np.median(np.diff(times)))) if len(times) > 1 else MAX_GAP


def _pieces(times: Floats, good: Flags, pause: float) -> list[Rows]:
    """The good samples, parted where they are more than a pause apart."""
    known = np.flatnonzero(good)
    parts = np.split(known, np.flatnonzero(np.diff(times[known]) > pause) + 1)
    return [part for part in parts if len(part)]


def _short_gaps(times: Floats, good: Flags, longest: float) -> Flags:
    """The samples (T,) between good ones that are at most longest seconds apart."""
    known = np.flatnonzero(good)
    short = np.diff(times[known]) <= longest + ROUNDED
    after = np.searchsorted(known, np.arange(len(good)))
    result: Flags = ~good & np.concatenate([[False], short, [False]])[after]
    return result


def _stretches(times: Floats, good: Flags, pause: float) -> list[slice]:
    """Runs of good samples, without a pause in them, long enough to be filtered."""
    fresh = np.concatenate([[True], np.diff(times) > pause, [True]])
    known = np.concatenate([[False], good, [False]])
    begins = np.flatnonzero(good & (fresh[:-1] | ~known[:-2]))
    ends = np.flatnonzero(good & (fresh[1:] | ~known[2:])) + 1
    runs = zip(begins.tolist(), ends.tolist(), strict=True)
    return [slice(a, b) for a, b in runs if b - a >= SHORTEST]


def low_pass(times: Floats, values: Floats, cutoff: float) -> Floats:
    """values (T, ...) at rising times (T,) without what is faster than cutoff (Hz), without delay.

    At the cutoff 0.707 of a movement is left (-3 dB), after both passes. The filter needs even
    steps: values are read at even times in between, and back, by Akima's curve: straight lines
    would take from quick movement, and a cubic spline swings where two frames are close together.
    Raises UsageError when cutoff is not below half of the frame rate.
    """
    rate = _rate(times)
    if not cutoff < rate / 2:
        raise _too_high(cutoff, rate)
    even = np.linspace(times[0], times[-1], len(times))
    once = rate / np.pi * np.arctan(np.tan(np.pi * cutoff / rate) / TWICE)
    sections = butter(ORDER, once, fs=rate, output="sos")
    smooth = sosfiltfilt(sections, Akima1DInterpolator(times, values)(even), axis=0)
    result: Floats = Akima1DInterpolator(even, smooth)(times)
    return result
