"""Follow one person: the others are neither drawn nor recorded."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from realtime.geometry import areas
from realtime.records import Poses

TOLD = 12
"""Ids that are told of those who were seen instead, the lowest ones."""


class Follower:
    """Keeps one person of each frame of a run, or nobody; used by one thread.

    choice: an id stands for that person and no other. 'largest' (box) and 'center' (middle of the
        box nearest to the middle of the picture) choose once and then stay with the id, so that
        somebody who comes nearer is not taken instead. Only when the tracker does not know the id
        any more is somebody chosen anew. While the person is out of sight, frames have nobody.
    """

    def __init__(self, choice: str | int) -> None:
        self._rank = None if isinstance(choice, int) else choice
        self._id = choice if isinstance(choice, int) else -1

    def __call__(self, poses: Poses, known: NDArray[np.int64], size_wh: tuple[int, int]) -> Poses:
        """Of the people with ids found in a picture of this size, the one who is followed. known:
        ids (K,) the tracker knows, those out of sight as well."""
        chosen = poses[poses.ids == self._id]
        if self._rank and len(chosen) == 0 and self._id not in known:
            chosen = _best(poses, self._rank, size_wh)
            self._id = int(chosen.ids[0]) if len(chosen) else -1
        return chosen


class Sought:
    """Looks for one id among all people of a run; nothing for other choices."""

    def __init__(self, choice: str | int) -> None:
        self._id = choice if isinstance(choice, int) else None
        self._others: list[int] = []
        self._more = False

    def look(self, ids: NDArray[np.int64]) -> None:
        """At the ids (N,) of a frame."""
        if self._id is None:
            return
        if self._id in ids:
            self._id = None
            return
        others = sorted({*self._others, *ids[ids >= 0].tolist()})
        self._more = self._more or len(others) > TOLD
        self._others = others[:TOLD]

    @property
    def note(self) -> str:
        """What to say when it was never seen; "" when it was."""
        if self._id is None:
            return ""
        others = ", ".join([*map(str, self._others), *(["..."] if self._more else [])])
        seen = f"ids were {others}" if others else "nobody had one"
        return f"id {self._id} was never seen; {seen}"


def _best(poses: Poses, rank: str, size_wh: tuple[int, int]) -> Poses:
    """The best person, of equal ones the one with the lowest id; nobody when there is none."""
    boxes = poses.boxes_xyxy
    if rank == "largest":
        cost = -areas(boxes).astype(np.float64)
    else:
        middles = (boxes[:, :2].astype(np.float64) + boxes[:, 2:]) / 2
        cost = np.linalg.norm(middles - (np.asarray(size_wh) - 1) / 2, axis=1)
    return poses[np.lexsort((poses.ids, cost))[:1]]
