"""Files: boxes of people whom the detector missed for a moment, from those before and after.

Only boxes are made up: whether somebody is there is for the pose network to say, which sees every
box of every frame.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realtime.assignment import assign
from realtime.errors import PosestreamError
from realtime.flow import flat, grouped
from realtime.geometry import iou
from realtime.records import Detections
from realtime.schedule import SAME_BOX, Detected, Pairs, pairs, part_way

KNOWN = 3
"""Frames a person must have been found in before, with gaps between them: a wrong box that comes
once or twice is not bridged."""
TAKEN = 0.7
"""IoU with another box from which one is not added: that person is in front."""


def bridged(
    groups: Generator[list[Detected], None, None], batch: int, longest: int
) -> Generator[list[Detected], None, None]:
    """The same frames with the boxes of people who are found in KNOWN frames, then missed for up to
    longest frames, then found again; as by realtime.schedule.part_way, with the lower one of both
    scores.

    Yields lists of ``batch`` frames, the last one shorter; holds longest frames more than groups
    does. A PosestreamError of groups is raised after all frames that came before it.
    """
    return grouped(_flushed(flat(groups), longest), batch)


def _flushed(
    found: Generator[Detected, None, None], longest: int
) -> Generator[Detected, None, None]:
    bridge = _Bridge(longest)
    failure: PosestreamError | None = None
    with closing(found):
        try:
            for frame, people in found:
                bridge.add(frame, people)
                while len(bridge.held) > longest:
                    yield bridge.held.popleft()
        except PosestreamError as error:
            failure = error
    yield from bridge.held
    if failure:
        raise failure


@dataclass(frozen=True, slots=True)
class _Lines:
    """T people who were found lately, as they were the last time, which was in the frame number
    at: (T,), at time: (T,) seconds, runs: (T,) frames in all."""

    people: Detections
    at: NDArray[np.int64]
    time: NDArray[np.float64]
    runs: NDArray[np.int64]

    def __getitem__(self, keep: Any) -> _Lines:
        return _Lines(self.people[keep], self.at[keep], self.time[keep], self.runs[keep])

    @staticmethod
    def of(found: Detections, at: int, time: float) -> _Lines:
        count = len(found)
        return _Lines(
            found,
            np.full(count, at, np.int64),
            np.full(count, time),
            np.ones(count, np.int64),
        )

    def and_(self, more: _Lines) -> _Lines:
        return _Lines(
            self.people.and_(more.people),
            np.concatenate([self.at, more.at]),
            np.concatenate([self.time, more.time]),
            np.concatenate([self.runs, more.runs]),
        )


class _Bridge:
    """held: the last frames, the newest last, with what has been found or added so far."""

    def __init__(self, longest: int) -> None:
        self.held: deque[Detected] = deque()
        self._longest = longest
        self._lines = _Lines.of(Detections.empty(), 0, 0.0)
        self._count = 0

    def add(self, frame: Any, found: Detections) -> None:
        """The next frame and who was found in it; fills the gaps that end here."""
        now, lines = self._count, self._lines
        here = _Lines.of(found, now, frame.time)
        rows, columns = _followed(lines, here, now)
        again = lines.at[rows] < now - 1
        here.runs[columns] += lines.runs[rows]  # of those found again as well, gaps left out
        for row, column in zip(rows[again].tolist(), columns[again].tolist(), strict=True):
            if lines.runs[row] >= KNOWN:
                self._fill(lines[row : row + 1], here[column : column + 1], frame.size_wh)
        gone = np.ones(len(lines.at), np.bool_)
        gone[rows] = False
        gone &= lines.at >= now - self._longest
        self._lines = lines[gone].and_(here) if gone.any() else here
        self.held.append((frame, found))
        self._count += 1

    def _fill(self, start: _Lines, end: _Lines, size_wh: tuple[int, int]) -> None:
        """Add a box to the frames between; both lines are of one person."""
        first, span = float(start.time[0]), float(end.time[0] - start.time[0])
        for back in range(self._count - int(start.at[0]) - 1, 0, -1):
            frame, found = self.held[-back]
            if frame.size_wh != size_wh:
                continue
            share = (frame.time - first) / span if span > 0 else 0.5
            missed = part_way(start.people, end.people, share, size_wh)
            if iou(missed.search_xyxy, found.search_xyxy).max(initial=0) < TAKEN:
                both = found.and_(missed)
                self.held[-back] = frame, both[np.argsort(-both.scores, kind="stable")]


def _followed(lines: _Lines, here: _Lines, now: int) -> Pairs:
    """Which of the lines goes on as whom: those of the last frame first."""
    if not len(lines.at) or not len(here.at):
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    boxes, new = lines.people.search_xyxy, here.people.search_xyxy
    last = np.flatnonzero(lines.at == now - 1)
    rows, columns = assign(iou(boxes[last], new), SAME_BOX)
    rows = last[rows]
    if len(columns) == len(here.at):
        return rows, columns
    lost = np.setdiff1d(np.arange(len(lines.at)), rows)
    left = np.setdiff1d(np.arange(len(here.at)), columns)
    more_rows, more_columns = pairs(boxes[lost], new[left])
    return np.concatenate([rows, lost[more_rows]]), np.concatenate([columns, left[more_columns]])
