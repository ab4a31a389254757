"""Average precision by COCO's own code, pycocotools.

Pictures and people are those of train.coco; results are plain dictionaries as in COCO's result
files (https://cocodataset.org/#format-results). -1, COCO's "nothing to measure", becomes NaN.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np

from realtime.errors import ModelError
from realtime.geometry import to_coco_boxes
from realtime.records import Detections, Poses
from train.coco import Picture

Json = dict[str, Any]
PERSON = 1
KEYPOINT_NAMES = ("AP", "AP50", "AP75", "APM", "APL", "AR")
BOX_NAMES = ("AP", "AP50", "AP75", "AR")
SMALL = 32.0**2
"""Square pixels; people below it have no joints in COCO, and are left out of a second measure."""


def available() -> bool:
    """Whether pycocotools is installed."""
    return importlib.util.find_spec("pycocotools") is not None


def ground_truth(pictures: Sequence[Picture]) -> Json:
    """The pictures as a COCO annotation file, for keypoints and for boxes."""
    images = [
        {"id": p.image_id, "width": p.size_wh[0], "height": p.size_wh[1], "file_name": p.path.name}
        for p in pictures
    ]
    annotations = [
        {
            "id": number,  # from 1: COCO's matching takes annotation 0 for no match
            "image_id": picture.image_id,
            "category_id": PERSON,
            "iscrowd": int(person.crowd),
            "area": float(person.area),
            "bbox": to_coco_boxes(person.box_xyxy).tolist(),
            "keypoints": person.joints.astype(np.float64).ravel().tolist(),
            "num_keypoints": person.labelled,
        }
        for number, (picture, person) in enumerate(
            ((picture, person) for picture in pictures for person in picture.people), start=1
        )
    ]
    return {
        "images": images,
        "annotations": annotations,
        "categories": [{"id": PERSON, "name": "person"}],
    }


def numbered(pictures: Sequence[Picture]) -> Sequence[Picture]:
    """The pictures, with ids of their own where those of several sets meet."""
    if len({picture.image_id for picture in pictures}) == len(pictures):
        return pictures
    return [replace(picture, image_id=n) for n, picture in enumerate(pictures, start=1)]


def pose_results(image_ids: Sequence[int], poses: Sequence[Poses]) -> list[Json]:
    """COCO results of the people (one Poses for each image)."""
    return [
        {
            "image_id": image_id,
            "category_id": PERSON,
            "keypoints": np.c_[joints, scores].astype(np.float64).ravel().tolist(),
            "score": float(score),
        }
        for image_id, found in zip(image_ids, poses)
        for joints, scores, score in zip(found.joints_xy, found.joint_scores, found.scores)
    ]


def box_results(image_ids: Sequence[int], found: Sequence[Detections]) -> list[Json]:
    """COCO results of the boxes (one Detections for each image)."""
    return [
        {
            "image_id": image_id,
            "category_id": PERSON,
            "bbox": to_coco_boxes(box).tolist(),
            "score": float(score),
        }
        for image_id, people in zip(image_ids, found)
        for box, score in zip(people.boxes_xyxy, people.scores)
    ]


def keypoint_ap(truth: Json, results: list[Json]) -> dict[str, float]:
    """KEYPOINT_NAMES of pose results: 20 people an image, all settings COCO's own.

    truth: an annotation file's content, as of ground_truth; it is not changed. Raises ModelError
    where pycocotools is missing.
    """
    stats = _evaluate(truth, results, "keypoints", None)
    return dict(zip(KEYPOINT_NAMES, stats[:6]))


def box_ap(truth: Json, results: list[Json], smallest: float = 0.0) -> dict[str, float]:
    """BOX_NAMES of box results, of the people with at least an area in square pixels.

    100 boxes an image. Boxes in crowd regions count neither way. Raises ModelError where
    pycocotools is missing.
    """
    stats = _evaluate(truth, results, "bbox", smallest)
    return dict(zip(BOX_NAMES, (*stats[:3], stats[8])))


def _evaluate(truth: Json, results: list[Json], kind: str, smallest: float | None) -> list[float]:
    """The statistics that COCOeval.summarize gives. smallest replaces the range "all"."""
    if not available():
        raise ModelError("AP needs pycocotools: pip install pycocotools")
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    with contextlib.redirect_stdout(io.StringIO()):  # it reports every step
        coco = COCO()
        # COCOeval writes into the annotations.
        coco.dataset = {**truth, "annotations": [dict(entry) for entry in truth["annotations"]]}
        coco.createIndex()
        found = COCO()
        found.dataset = {"images": truth["images"], "annotations": [], "categories": []}
        found.createIndex()
        if results:  # pycocotools cannot read none
            found = coco.loadRes([dict(result) for result in results])
        measure = COCOeval(coco, found, kind)
        if smallest is not None:
            measure.params.areaRng[0] = [smallest, 1e10]
        measure.evaluate()
        measure.accumulate()
        measure.summarize()
    return [float(value) if value >= 0 else float("nan") for value in measure.stats]
