"""How well the demo scene was understood: found people against the true ones.

The only place outside training that reads the truth. Definitions:

- A true person counts when at least half of the drawn person is seen (visible_share >= 0.5) and
  their box is at least 40 pixels high in a picture 720 high (scaled for other sizes). The others
  are not asked for: they are neither missed nor is a pose on them false.
- Poses and all true people of a frame are paired one to one so that the total intersection over
  union of their boxes is largest; pairs below 0.3 are none. A counted person with a pair is
  found. A pose without a pair is false, except when most of its box (half) lies in the box of a
  person who is not asked for.
- The error is the mean distance in pixels over the truly visible joints of found people that the
  pose claims to see (score at least 0.2). The share of visible joints it does not claim
  ("unsure") is reported beside it, so that leaving joints out cannot pass for being right.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from realtime import geometry
from realtime.assignment import assign
from realtime.records import Poses
from realtime.scene import Scene, Truth

LEAST_SEEN = 0.5
LEAST_HEIGHT = 40 / 720
LEAST_OVERLAP = 0.3
LEAST_SCORE = 0.2


class DemoScore:
    """Sums over the frames of a scene; memory does not grow with them. everybody: False when one
    person is followed, so that the others are not missed."""

    def __init__(self, scene: Scene, everybody: bool = True) -> None:
        self._scene, self._everybody = scene, everybody
        self._people = self._found = self._false = 0
        self._joints = self._sure = 0
        self._distance = 0.0

    def add(self, index: int, poses: Poses) -> None:
        """Compare the poses found in frame index of the scene with its truth."""
        truth = self._scene.truth(index)
        asked = self._asked(truth)
        overlap = geometry.iou(poses.boxes_xyxy, truth.boxes_xyxy)
        pose, person = assign(overlap, LEAST_OVERLAP)
        self._people += int(asked.sum())
        self._found += int(asked[person].sum())
        alone = np.setdiff1d(np.arange(len(poses)), pose)
        within = geometry.within(poses.boxes_xyxy[alone], truth.boxes_xyxy[~asked])
        excused = (within >= 0.5).any(1)
        self._false += len(alone) - int(excused.sum())
        found = asked[person]
        self._measure(poses[pose[found]], truth, person[found])

    def _asked(self, truth: Truth) -> Any:
        height = truth.boxes_xyxy[:, 3] - truth.boxes_xyxy[:, 1]
        tall = height >= LEAST_HEIGHT * self._scene.size_wh[1]
        return tall & (truth.visible_share >= LEAST_SEEN)

    def _measure(self, poses: Poses, truth: Truth, person: Any) -> None:
        visible = truth.visible[person]
        sure = visible & (poses.joint_scores >= LEAST_SCORE)
        distance = np.linalg.norm(poses.joints_xy - truth.joints_xy[person], axis=2)
        self._joints += int(visible.sum())
        self._sure += int(sure.sum())
        self._distance += float(distance[sure].sum(dtype=np.float64))

    def result(self) -> dict[str, Any]:
        """mean_error_px: None when no joint was compared. found: share of the counted people, 1
        when there were none, None when one person is followed. false: poses on nobody. people: how
        many counted, over all frames. unsure: share of the visible joints of found people below
        LEAST_SCORE."""
        found = self._found / self._people if self._people else 1.0
        return {
            "mean_error_px": self._distance / self._sure if self._sure else None,
            "found": found if self._everybody else None,
            "false": self._false,
            "people": self._people,
            "unsure": 1 - self._sure / self._joints if self._joints else 0.0,
        }
