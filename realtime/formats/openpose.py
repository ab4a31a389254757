"""A folder of OpenPose files: one JSON file for each frame, 25 joints in the order BODY_25.

The neck is the middle of the shoulders and the mid-hip that of the hips, as sure as the less sure
of the two; the feet, which the network does not know, are 0 0 0. Keys and order as in
https://github.com/CMU-Perceptual-Computing-Lab/openpose/blob/master/doc/02_output.md; beyond them
each file has frame, time in seconds and, for folders of images, file, each person score and box
(x0, y0, x1, y1). A file appears as a whole as soon as its frame is done.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np

from realtime.errors import InputError
from realtime.formats.documents import compact
from realtime.formats.rows import (
    POINT_DECIMALS,
    SCORE_DECIMALS,
    Loaded,
    LoadedFrame,
    box_around,
    finite,
    rounded,
    seconds,
    to_poses,
    to_time,
)
from realtime.records import Float, PosedFrame, Poses
from realtime.sinks.base import Keeps
from realtime.sinks.folder import ResultFolder, files_in, plain
from realtime.skeleton import JOINTS

ENDING = "_keypoints.json"
BODY_25 = (
    "nose", "neck", "right_shoulder", "right_elbow", "right_wrist", "left_shoulder",
    "left_elbow", "left_wrist", "mid_hip", "right_hip", "right_knee", "right_ankle", "left_hip",
    "left_knee", "left_ankle", "right_eye", "left_eye", "right_ear", "left_ear",
    "left_big_toe", "left_small_toe", "left_heel", "right_big_toe", "right_small_toe",
    "right_heel",
)  # fmt: skip
_OURS = [(k, JOINTS.index(name)) for k, name in enumerate(BODY_25) if name in JOINTS]
_BETWEEN = {1: (5, 6), 8: (11, 12)}
_EMPTY = (
    "face_keypoints_2d", "hand_left_keypoints_2d", "hand_right_keypoints_2d",
    "pose_keypoints_3d", "face_keypoints_3d", "hand_left_keypoints_3d", "hand_right_keypoints_3d",
)  # fmt: skip


def to_body_25(poses: Poses) -> Float:
    """x, y, score of the 25 joints of each person: float32 (N, 25, 3)."""
    result = np.zeros((len(poses), len(BODY_25), 3), np.float32)
    ours = np.concatenate([poses.joints_xy, poses.joint_scores[..., None]], 2)
    theirs, indices = zip(*_OURS, strict=True)
    result[:, list(theirs)] = ours[:, list(indices)]
    for k, (a, b) in _BETWEEN.items():
        result[:, k, :2] = (ours[:, a, :2] + ours[:, b, :2]) / 2
        result[:, k, 2] = np.minimum(ours[:, a, 2], ours[:, b, 2])
    return result


class OpenPoseFolder:
    """Writes NAME_000000000000_keypoints.json and so on; the number is that of the frame.

    See ResultFolder. stem: NAME; None for images, whose own names are used. Raises OutputError.
    """

    wants_picture = False
    keeps: Keeps = "frames"

    def __init__(self, name: str, folder: Path, *, overwrite: bool, stem: str | None) -> None:
        self.name, self.notes = name, list[str]()
        self._stem = stem
        self._results = ResultFolder(folder, ENDING, overwrite)

    def write(self, item: PosedFrame) -> None:
        stem = plain(Path(item.frame.source).stem if self._stem is None else self._stem)
        data = compact(_record(item, with_file=self._stem is None)) + b"\n"
        self._results.write(f"{stem}_{item.frame.index:012d}", data)

    def close(self, clean: bool = True) -> None:
        self._results.close(clean)


def _record(item: PosedFrame, with_file: bool) -> dict[str, Any]:
    poses = finite(item.poses)
    body = to_body_25(poses)
    points = rounded(body[..., :2], POINT_DECIMALS)
    scores = rounded(body[..., 2], SCORE_DECIMALS)
    people = zip(
        poses.ids.tolist(),
        points,
        scores,
        rounded(poses.scores, SCORE_DECIMALS),
        rounded(poses.boxes_xyxy, POINT_DECIMALS),
        strict=True,
    )
    return {
        "version": 1.3,
        "frame": item.frame.index,
        "time": seconds(item.frame.time),
        **({"file": item.frame.source} if with_file else {}),
        "people": [
            {
                "person_id": [number],
                "pose_keypoints_2d": [v for xy, s in zip(xys, ss, strict=True) for v in (*xy, s)],
                **{key: [] for key in _EMPTY},
                "score": score,
                "box": box,
            }
            for number, xys, ss, score, box in people
        ],
    }


def load_openpose(folder: Path) -> Loaded:
    """The frames of a folder of OpenPose files with BODY_25 people, in the order of their numbers.
    What only this program writes may be missing. Raises InputError, OSError."""
    paths = files_in(folder, ENDING)
    if not paths:
        raise InputError(f"{folder}: no file ending in {ENDING}")
    frames = (_load(path, k) for k, path in enumerate(paths))
    return Loaded(sorted(frames, key=lambda frame: frame.frame))


def _load(path: Path, order: int) -> LoadedFrame:
    record = json.loads(path.read_bytes())
    people = record["people"]
    body = np.zeros((len(people), len(BODY_25), 3), np.float32)
    for row, person in zip(body, people, strict=True):
        row[:] = np.reshape(person["pose_keypoints_2d"], (-1, 3))
    points = np.zeros((len(people), len(JOINTS), 3), np.float32)
    for k, j in _OURS:
        points[:, j] = body[:, k]
    seen = points[..., 2] > 0
    boxes = [
        person.get("box") or box_around(row[:, :2], mask)
        for person, row, mask in zip(people, points, seen, strict=True)
    ]
    scores = [
        person.get("score", float(row[mask, 2].mean()) if mask.any() else 0.0)
        for person, row, mask in zip(people, points, seen, strict=True)
    ]
    poses = to_poses(points, boxes, scores, [_number(person) for person in people])
    digits = re.search(r"(\d+)$", path.name.removesuffix(ENDING))
    frame = record.get("frame", int(digits[1]) if digits else order)
    return LoadedFrame(frame, to_time(record.get("time")), poses, record.get("file", ""))


def _number(person: dict[str, Any]) -> int:
    given = person.get("person_id") or [-1]
    return int(given[0])
