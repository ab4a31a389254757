"""How good the whole pipeline is: what run_camera wrote about a folder of COCO images."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from realtime.errors import InputError
from realtime.records import Detections, Poses
from realtime.skeleton import JOINT_COUNT
from train import coco_ap
from train.coco import Picture
from train.coco_ap import SMALL


def read_results(file: Path, pictures: Sequence[Picture]) -> list[Poses]:
    """The people of each picture in the JSON Lines of ``run_camera.py --json`` on images.

    Lines belong to pictures by the file name without its folder; lines of other pictures are
    passed over. Raises InputError for a line that is wrong, two lines of one picture, and
    pictures without a line.
    """
    names = [picture.path.name for picture in pictures]
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise InputError(f"{file}: the data set has several images {twice}; split it")
    found: dict[str, Poses] = {}
    wanted = set(names)
    try:
        with file.open(encoding="utf-8") as lines:
            for number, line in enumerate(lines, start=1):
                name, poses = _read_line(line, f"{file}, line {number}")
                if name in found:
                    raise InputError(f"{file}, line {number}: a second line of {name}")
                if name in wanted:
                    found[name] = poses
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{file}: is not JSON Lines in UTF-8: {error.reason}") from error
    if missing := [name for name in names if name not in found]:
        raise InputError(
            f"{file}: {len(missing)} of {len(names)} images have no line, {missing[0]} first; run "
            "run_camera.py with --json on the whole folder"
        )
    return [found[name] for name in names]


def _read_line(line: str, where: str) -> tuple[str, Poses]:
    """File name and people of a line. Raises InputError."""
    if line.startswith("["):
        text = "not a line of run_camera.py --json, but of COCO results; give the file of --json"
        raise InputError(f"{where}: {text}")
    try:
        record = json.loads(line)
        name, people = record["file"], record["people"]
        poses = _poses(people)
        values = (poses.joints_xy, poses.joint_scores, poses.boxes_xyxy, poses.scores)
        if not all(np.isfinite(array).all() for array in values):
            raise ValueError("a number is not finite")
        return PurePath(name.replace("\\", "/")).name, poses
    except KeyError as error:
        raise InputError(f"{where}: {error} is missing; is it of run_camera on images?") from None
    except (ValueError, TypeError, AttributeError, RecursionError) as error:
        reason = str(error).splitlines()[0]
        raise InputError(f"{where}: not a line of run_camera.py --json: {reason}") from error


def _poses(people: list[dict[str, Any]]) -> Poses:
    joints = np.array([p["keypoints"] for p in people], np.float32)
    joints = joints.reshape(len(people), JOINT_COUNT, 3)
    boxes = np.array([p["box"] for p in people], np.float32).reshape(len(people), 4)
    scores = np.array([p["score"] for p in people], np.float32).reshape(len(people))
    nobody = np.full(len(people), -1, np.int64)
    return Poses(joints[..., :2].copy(), joints[..., 2].copy(), boxes, scores, nobody)


def results_numbers(
    pictures: Sequence[Picture], found: Sequence[Poses], min_score: float
) -> dict[str, float]:
    """COCO's numbers of the poses (see coco_ap.keypoint_ap), box_AP and box_AP50 of everybody and
    box_AP50_large of people over 32x32 pixels, people with a score of at least min_score on
    pictures without people (false_people) and how many such pictures there are (empty_pictures).

    Raises ModelError where pycocotools is missing.
    """
    ids = [picture.image_id for picture in pictures]
    truth = coco_ap.ground_truth(pictures)
    numbers = coco_ap.keypoint_ap(truth, coco_ap.pose_results(ids, found))
    boxes = coco_ap.box_results(ids, [Detections(p.boxes_xyxy, p.scores) for p in found])
    everybody = coco_ap.box_ap(truth, boxes)
    numbers["box_AP"], numbers["box_AP50"] = everybody["AP"], everybody["AP50"]
    numbers["box_AP50_large"] = coco_ap.box_ap(truth, boxes, SMALL)["AP50"]
    empty = [p for picture, p in zip(pictures, found) if picture.complete and not picture.people]
    numbers["false_people"] = float(sum(int((p.scores >= min_score).sum()) for p in empty))
    numbers["empty_pictures"] = float(len(empty))
    return numbers
