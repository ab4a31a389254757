"""The command ``label``: pictures labelled by networks, as a COCO keypoint file to learn from.

What nobody is sure of teaches nothing: doubtful boxes are written as crowds, which training leaves
out, and joints of a low score as not labelled. Labels that a file has already stay as they are.
"""

from __future__ import annotations

import argparse
import json
import logging
import shlex
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from realtime.errors import InputError, UsageError
from realtime.skeleton import JOINT_COUNT

if TYPE_CHECKING:
    from engines.base import Network
    from realtime.records import Detections, Float, Poses
    from train.coco import Picture

HELP = "label pictures by networks, as a COCO keypoint file to correct or to learn from"
SURE, DOUBT = 0.5, 0.2
SAME = 0.4
"""IoU from which a found box is somebody who has a label."""
WITHIN, PART = 0.8, 0.5
"""Share of a box within somebody's from which it is the same person: of a sure, a doubtful box."""
logger = logging.getLogger(__name__)


def add_command(commands: Any) -> None:
    """Add ``label`` to the command line."""
    label = commands.add_parser("label", help=HELP, description=HELP)
    add = label.add_argument
    add("pictures", metavar="FOLDER|FILE.json[,IMAGES]", help="pictures, or a file to add to")
    add("--out", type=Path, required=True, metavar="FILE.json", help="what is written")
    add("--overwrite", action="store_true", help="replace an existing file")
    add("--detector", default="auto", metavar="MODEL", help="person detector (default auto)")
    add("--pose", metavar="MODEL", help="pose network, auto or a model; default: boxes alone")
    add("--sure", type=_score, default=SURE, help=f"score of a person (default {SURE})")
    add("--doubt", type=_score, default=DOUBT, help=f"from it to --sure: crowd (default {DOUBT})")
    add("--joint", type=_score, default=SURE, help=f"score of a labelled joint (default {SURE})")
    add("--threads", type=int, metavar="N", help="CPU threads of one call")
    label.set_defaults(run=_run, engine="auto", precision="auto", compute="auto")


def _score(text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 < value <= 1:
        raise argparse.ArgumentTypeError(f"must be above 0 up to 1, got {text!r}")
    return value


def _run(options: argparse.Namespace) -> int:
    from realtime import atomic
    from realtime.sinks.outfile import check_not_input, check_writable
    from train.evaluate import open_model

    if options.doubt > options.sure:
        raise UsageError(f"--doubt {options.doubt}: above --sure {options.sure}")
    check_not_input(options.out, [Path(options.pictures.partition(",")[0])])
    check_writable(options.out, options.overwrite)
    pictures, images = open_pictures(options.pictures)
    detector = open_model(options.detector, "detector", options)
    pose = open_model(options.pose, "pose", options) if options.pose else None
    content = labelled(pictures, images, detector, pose, options)
    atomic.replace(options.out, json.dumps(content).encode())
    crowds = sum(entry["iscrowd"] for entry in content["annotations"])
    people = len(content["annotations"]) - crowds
    print(
        f"{options.out}: {len(pictures)} images, {people} people, {crowds} in doubt or crowds; "
        f"look at them, then --data {shlex.quote(f'{options.out},{images}')}"
    )
    return 0


def open_pictures(text: str) -> tuple[list[Picture], Path]:
    """The pictures of a folder, in the order of their names, or those of a COCO file with their
    people; and the folder that their names are in. Raises UsageError, InputError."""
    from realtime.sources.images import is_image
    from train import coco
    from train.images import read_image

    folder = Path(text)
    if not folder.is_dir():
        file, images, _ = coco.split(text)
        found = Path(images) if images else coco.default_images(file, coco.read_json(file))
        return list(coco.open_set(text).pictures), found
    pictures: list[Picture] = []
    for path in sorted(path for path in folder.rglob("*") if is_image(path)):
        try:
            height, width = read_image(path).shape[:2]
        except InputError as error:
            logger.warning("%s; left out", error)
            continue
        pictures.append(coco.Picture(path, len(pictures) + 1, (width, height), (), False))
    if not pictures:
        raise InputError(f"{text}: holds no image that can be read")
    return pictures, folder


def labelled(
    pictures: Sequence[Picture],
    images: Path,
    detector: Network,
    pose: Network | None,
    options: argparse.Namespace,
) -> dict[str, Any]:
    """The content of a COCO keypoint file: who has a label already, and who is found beside them.

    images: the folder that file names are relative to. options: sure, doubt and joint of the
    command. Raises InputError, ModelError.
    """
    from train.coco import category
    from train.coco_categories import PERSON

    people, doubtful = _not_labelled(pictures, detector, options.doubt, options.sure)
    poses = _poses(pictures, people, pose)
    annotations: list[dict[str, Any]] = []
    for picture, shown, rest in zip(pictures, poses, doubtful):
        for entry in (*_kept(picture), *_added(shown, options.joint, picture), *_crowds(rest)):
            ident = {"id": len(annotations) + 1, "image_id": picture.image_id}
            annotations.append({**ident, "category_id": PERSON, **entry})
    return {
        "info": {"description": f"labelled by {detector.spec.name}", "complete": True},
        "categories": [category()],
        "images": [_image(picture, images) for picture in pictures],
        "annotations": annotations,
    }


def _not_labelled(
    pictures: Sequence[Picture], detector: Network, least: float, sure: float
) -> tuple[list[Detections], list[Detections]]:
    """Who is in each picture and has no label yet: those of whom the detector is sure, and
    those who may be there. A doubtful box within somebody is a part of that person."""
    import numpy as np

    from realtime import geometry
    from train.eval_detector import find_people
    from train.measured import progress

    with progress(len(pictures)) as told:
        found = find_people(detector, pictures, least, progress=told)
    certain, doubtful = [], []
    for picture, boxes in zip(pictures, found):
        had = np.array([p.box_xyxy for p in picture.people], np.float32).reshape(-1, 4)
        boxes = boxes[geometry.iou(boxes.boxes_xyxy, had).max(1, initial=0) < SAME]
        people, rest = boxes[boxes.scores >= sure], boxes[boxes.scores < sure]
        people = people[geometry.within(people.boxes_xyxy, had).max(1, initial=0) < WITHIN]
        had = np.concatenate([had, people.boxes_xyxy])
        certain.append(people)
        doubtful.append(rest[geometry.within(rest.boxes_xyxy, had).max(1, initial=0) < PART])
    return certain, doubtful


def _poses(
    pictures: Sequence[Picture], people: Sequence[Detections], pose: Network | None
) -> list[Poses]:
    """The poses of people; without a network with joints that score 0."""
    import numpy as np

    from realtime.records import Poses
    from train.eval_pose import DEFAULT_WAY, read_poses
    from train.measured import progress

    if pose:
        with progress(len(pictures)) as told:
            return read_poses(pose, pictures, people, progress=told)[DEFAULT_WAY].poses
    return [
        Poses(
            np.zeros((len(boxes), JOINT_COUNT, 2), np.float32),
            np.zeros((len(boxes), JOINT_COUNT), np.float32),
            boxes.boxes_xyxy,
            boxes.scores,
            np.full(len(boxes), -1, np.int64),
        )
        for boxes in people
    ]


# ---- what the file says -------------------------------------------------------------------------


def _image(picture: Picture, images: Path) -> dict[str, Any]:
    name = picture.path.relative_to(images).as_posix()
    width, height = picture.size_wh
    return {"id": picture.image_id, "file_name": name, "width": width, "height": height}


def _kept(picture: Picture) -> Iterator[dict[str, Any]]:
    """People who have a label, as they were."""
    for person in picture.people:
        yield _person(person.box_xyxy, person.joints, person.area, person.crowd)


def _added(poses: Poses, least: float, picture: Picture) -> Iterator[dict[str, Any]]:
    """People found. Joints that score less than least or lie outside of the picture stay open."""
    import numpy as np

    from realtime import geometry
    from train.coco import FILLED

    inside = (poses.joints_xy >= -0.5) & (poses.joints_xy < np.array(picture.size_wh) - 0.5)
    known = (poses.joint_scores >= least) & inside.all(2)
    joints = np.concatenate([poses.joints_xy, np.full_like(poses.joints_xy[..., :1], 2)], 2)
    areas = FILLED * geometry.areas(poses.boxes_xyxy)
    for n, box in enumerate(poses.boxes_xyxy):
        yield _person(box, joints[n] * known[n, :, None], float(areas[n]), False)


def _crowds(boxes: Detections) -> Iterator[dict[str, Any]]:
    """Where there may be somebody."""
    import numpy as np

    nothing = np.zeros((JOINT_COUNT, 3), np.float32)
    for box in boxes.boxes_xyxy:
        yield _person(box, nothing, float((box[2] - box[0]) * (box[3] - box[1])), True)


def _person(box_xyxy: Float, joints: Float, area: float, crowd: bool) -> dict[str, Any]:
    from realtime.geometry import to_coco_boxes

    return {
        "iscrowd": int(crowd),
        "bbox": to_coco_boxes(box_xyxy).round(2).tolist(),
        "area": round(area, 1),
        "keypoints": joints.astype(float).round(2).ravel().tolist(),
        "num_keypoints": int((joints[:, 2] > 0).sum()),
    }
