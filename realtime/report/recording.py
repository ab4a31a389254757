"""A file of poses as the curves that are drawn from it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from realtime.errors import InputError
from realtime.formats.rows import LoadedFrame
from realtime.records import Float, Poses
from realtime.skeleton import JOINTS

Reals = NDArray[np.float64]
Whole = NDArray[np.int64]

HIPS = [JOINTS.index("left_hip"), JOINTS.index("right_hip")]
LARGEST = 1e9
"""Coordinates, times and frame numbers beyond this are no measurements."""


class Person(NamedTuple):
    """One id. rows (n,): the frames it is seen in, as places in Recording.x, rising; poses: of
    length n, one of each of them."""

    number: int
    rows: Whole
    poses: Poses


@dataclass(frozen=True, slots=True)
class Recording:
    """The frames of a file.

    x (T,): seconds, or frame numbers when not timed; rising. frames (T,): numbers in the source.
    counts (T,): how many people are in each. everybody: the people of all frames, one after the
    other. people: those with an id, the longest seen first. unnumbered: those without one.
    step: the usual distance in x. left_out: people whose numbers are not finite.
    """

    x: Reals
    timed: bool
    frames: Whole
    counts: Whole
    everybody: Poses
    people: list[Person]
    unnumbered: Person
    step: float
    left_out: int

    @property
    def span(self) -> float:
        """From the first to the last frame, in units of x."""
        return float(self.x[-1] - self.x[0]) if len(self.x) else 0.0


def recorded(loaded: Sequence[LoadedFrame]) -> Recording:
    """The frames that realtime.formats.registry.load gives. Raises InputError for frame numbers
    or times that are no numbers."""
    try:
        frames = np.array([item.frame for item in loaded], np.float64)
        times = np.array([item.time for item in loaded], np.float64)
    except (TypeError, ValueError) as error:
        raise InputError(f"a frame number or time is not a number: {error}") from error
    if frames.ndim != 1 or times.ndim != 1 or not (np.abs(frames) < LARGEST).all():
        raise InputError("a frame number or time is not a number, or out of range")
    x, timed = _axis(frames, times)
    counts = np.array([len(item.poses) for item in loaded], np.int64)
    row_of = np.repeat(np.arange(len(loaded)), counts)
    everybody = _joined([item.poses for item in loaded])
    good = _sensible(everybody)
    everybody, row_of = everybody[good], row_of[good]
    counts = np.bincount(row_of, minlength=len(loaded)).astype(np.int64)
    people = _by_number(everybody, row_of)
    step = float(np.median(np.diff(x))) if len(x) > 1 else 1.0
    nobody = Person(-1, np.zeros(0, np.int64), Poses.empty())
    return Recording(
        x,
        timed,
        frames.astype(np.int64),
        counts,
        everybody,
        [person for person in people if person.number >= 0],
        next((person for person in people if person.number < 0), nobody),
        step or 1.0,
        int((~good).sum()),
    )


def _axis(frames: Reals, times: Reals) -> tuple[Reals, bool]:
    """Times where they rise, else frame numbers, else places in the file."""
    if len(times) and (np.abs(times) < LARGEST).all():
        rising = (np.diff(times) >= 0).all()
        if rising and (len(times) == 1 or times[-1] > times[0]):
            return times, True
    if (np.diff(frames) > 0).all():
        return frames, False
    return np.arange(len(frames), dtype=np.float64), False


def _joined(parts: Sequence[Poses]) -> Poses:
    if not parts:
        return Poses.empty()
    return Poses(
        np.concatenate([poses.joints_xy for poses in parts]),
        np.concatenate([poses.joint_scores for poses in parts]),
        np.concatenate([poses.boxes_xyxy for poses in parts]),
        np.concatenate([poses.scores for poses in parts]),
        np.concatenate([poses.ids for poses in parts]),
    )


def _sensible(poses: Poses) -> NDArray[np.bool_]:
    """Who (N,) has only numbers that can be drawn."""
    known = np.isfinite(poses.joint_scores).all(1) & np.isfinite(poses.scores)
    near = (np.abs(poses.joints_xy) < LARGEST).all((1, 2))  # false for nan as well
    return np.asarray(known & near & (np.abs(poses.boxes_xyxy) < LARGEST).all(1))


def _by_number(everybody: Poses, row_of: Whole) -> list[Person]:
    """The people by id, the longest seen first; of two with one id in a frame, the first."""
    order = np.argsort(everybody.ids, kind="stable")
    ids = everybody.ids[order]
    starts = np.flatnonzero(np.diff(ids, prepend=ids[:1] - 1))
    people = []
    for places in np.split(order, starts[1:]) if len(order) else []:
        number = int(everybody.ids[places[0]])
        if number >= 0:
            places = places[np.diff(row_of[places], prepend=-1) > 0]
        people.append(Person(number, row_of[places], everybody[places]))
    return sorted(people, key=lambda person: (-len(person.rows), person.number))


def hip_centres(poses: Poses, least_score: float) -> Float:
    """Middle of the sure hips (N, 2) in frame pixels; nan where none is sure."""
    sure = (poses.joint_scores[:, HIPS] >= least_score)[..., None]
    total = np.where(sure, poses.joints_xy[:, HIPS], 0).sum(1)
    count = sure.sum(1)
    centres = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return np.asarray(centres, np.float32)


def gap_limit(recording: Recording, points: int) -> float:
    """The distance in x beyond which two samples are not joined by a line."""
    return max(1.5 * recording.step, recording.span / points)


def stretches(x: Reals, limit: float) -> list[tuple[float, float]]:
    """First and last x of the runs without a gap longer than limit; x (n,) rising."""
    if not len(x):
        return []
    cuts = np.flatnonzero(np.diff(x) > limit)
    first = x[np.concatenate([[0], cuts + 1])]
    last = x[np.concatenate([cuts, [len(x) - 1]])]
    return list(zip(first.tolist(), last.tolist(), strict=True))
