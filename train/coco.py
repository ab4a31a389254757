"""People of COCO keypoint files: pictures, boxes, joints, in the coordinates of realtime.geometry.

Two conventions meet in such a file:

- Boxes [x, y, w, h] are continuous (realtime.geometry.from_coco_boxes).
- Joints are indices of pixels ("0-indexed" at https://cocodataset.org/#format-data; detectron2's
  datasets/coco.py adds 0.5 to make them continuous for the same reason), so they stay as they are.

The files are read with plain json; pycocotools is not needed.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realtime.errors import InputError, UsageError
from realtime.geometry import from_coco_boxes
from realtime.records import Float
from realtime.skeleton import JOINT_COUNT, JOINTS, LIMBS
from train.coco_categories import PERSON, Categories, Layout, categories_of
from train.coco_values import (
    UNKNOWN,
    annotation,
    box_problem,
    extent_problems,
    is_id,
    joints_problem,
    name_problem,
    no_joints,
    short,
    size_problem,
)

FILLED = 0.5
"""Of a box, about the share that its person covers; COCO's areas are those of outlines."""

MARGIN = 0.1
"""Of the longer side of the box of somebody's joints: so far a person reaches beyond them."""

MAX_BYTES = 2 * 1024**3
"""Of an annotation file; that of COCO train2017 has a tenth."""

SINGLE = 20
"""A set of so many pictures with exactly one person each, like Leeds Sports, is taken to have one
person labelled and others not, unless it says otherwise."""


@dataclass(frozen=True, slots=True, eq=False)
class Person:
    """One person of a picture.

    box_xyxy: float32 (4,), picture pixels, pixel centres at integers; that of the joints where the
        file has none of any size.
    joints: float32 (17, 3) of x, y (the same coordinates) and v: 0 not labelled, 1 hidden, 2 seen;
        all 0 for people with a box alone.
    area: square pixels of the outline; where the file does not say FILLED of the box, of a crowd
        all of it.
    crowd: whether the box holds a group.
    size_wh: pixels of the picture that the labels are for, UNKNOWN where nobody says.
    """

    image: Path
    image_id: int
    annotation_id: int
    box_xyxy: Float
    joints: Float
    area: float
    crowd: bool
    size_wh: tuple[int, int] = UNKNOWN

    @property
    def labelled(self) -> int:
        """How many joints have a label."""
        return int(np.count_nonzero(self.joints[:, 2]))

    @property
    def has_size(self) -> bool:
        """Whether there is a box to cut out."""
        return bool((self.box_xyxy[2:] > self.box_xyxy[:2]).all())

    @property
    def asked_for(self) -> bool:
        """Whether a pose network is measured on this person."""
        return self.labelled > 0 and not self.crowd and self.has_size


@dataclass(frozen=True, slots=True, eq=False)
class Picture:
    """A picture and the people in it. complete: everybody in it has a box, so that what is outside
    of the boxes is known to be nobody."""

    path: Path
    image_id: int
    size_wh: tuple[int, int]
    people: tuple[Person, ...]
    complete: bool


@dataclass(frozen=True, slots=True, eq=False)
class DataSet:
    """Pictures of one file. weight: how often each of them comes in an epoch."""

    pictures: tuple[Picture, ...]
    weight: float
    name: str

    @property
    def people(self) -> list[Person]:
        """Everybody, picture after picture."""
        return [person for picture in self.pictures for person in picture.people]

    def with_joints(self, least: int) -> DataSet:
        """The set without crowds, people of fewer labelled joints or without a box, and without the
        pictures in which nobody is left."""
        kept = []
        for picture in self.pictures:
            people = tuple(
                p for p in picture.people if not p.crowd and p.labelled >= least and p.has_size
            )
            if people:
                complete = picture.complete and len(people) == len(picture.people)
                kept.append(replace(picture, people=people, complete=complete))
        return replace(self, pictures=tuple(kept))


def category() -> dict[str, Any]:
    """What a file says of the people in it: name, joints and limbs, from 1."""
    edges = [[a + 1, b + 1] for a, b in LIMBS]
    return {"id": PERSON, "name": "person", "keypoints": list(JOINTS), "skeleton": edges}


# ---- opening ------------------------------------------------------------------------------------


def open_set(text: str) -> DataSet:
    """The data set FILE.json[,IMAGES[,WEIGHT]]: an annotation file, the folder its file names are
    in, and how often each person comes in an epoch (1; may be a fraction).

    Without IMAGES it is the folder of the file, or, for person_keypoints_train2017.json, train2017
    in that folder or beside it, if the first picture is there. Raises UsageError for a wrong text,
    InputError for a file that cannot be used; ``check-data`` lists all problems of a file.
    """
    file, images, weight = split(text)
    content = read_json(file)
    folder = Path(images) if images else default_images(file, content)
    try:
        pictures = _pictures(content, folder)
    except InputError as error:
        raise InputError(
            f"{file}: {error}; posestream-train check-data lists all problems"
        ) from error
    if not pictures:
        raise InputError(f"{file}: holds no image")
    if not pictures[0].path.is_file():
        raise InputError(
            f"{file}: its first image {pictures[0].path} does not exist; "
            "give the folder of the images as FILE.json,FOLDER"
        )
    return DataSet(pictures, weight, file.stem)


def split(text: str) -> tuple[Path, str, float]:
    """File, folder of the images ("" where not given) and weight of FILE.json[,IMAGES[,WEIGHT]].

    Raises UsageError for more parts than that or a weight that is not above 0.
    """
    parts = text.split(",")
    if not parts[0] or len(parts) > 3:
        raise UsageError(f"{text!r}: expected FILE.json[,IMAGES[,WEIGHT]]")
    try:
        weight = float(parts[2]) if len(parts) == 3 else 1.0
    except ValueError:
        weight = math.nan
    if not 0 < weight <= 1000:
        raise UsageError(f"{text!r}: the weight {parts[2]!r} is not a number above 0 up to 1000")
    return Path(parts[0]), parts[1] if len(parts) > 1 else "", weight


def read_json(file: Path) -> dict[str, Any]:
    """The content of a COCO file, with lists of objects "images" and "annotations".

    Raises InputError where it cannot be read or is something else.
    """
    try:
        if file.stat().st_size > MAX_BYTES:
            raise InputError(f"{file}: more than {MAX_BYTES >> 30} GiB, too large to be read")
        content = json.loads(file.read_bytes())
    except IsADirectoryError as error:
        raise InputError(
            f"{file}: a folder; give FILE.json,FOLDER (posestream-train label writes such a file)"
        ) from error
    except OSError as error:
        raise InputError(f"{file}: cannot be read: {error.strerror or error}") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{file}: is not JSON: {str(error).splitlines()[0]}") from error
    for key in ("images", "annotations"):
        if not (isinstance(content, dict) and isinstance(content.get(key), list)):
            raise InputError(f'{file}: is not a COCO annotation file, it has no list "{key}"')
    loaded: dict[str, Any] = content
    return loaded


def default_images(file: Path, content: dict[str, Any]) -> Path:
    """Where the images of a file are when nobody says; see open_set."""
    first = content["images"][0] if content["images"] else None
    name = first.get("file_name") if isinstance(first, dict) else None
    part = file.stem.rpartition("_")[2]
    folders = (file.parent, file.parent / part, file.parent.parent / part)
    if isinstance(name, str) and name_problem(name) is None:
        for folder in folders:
            if image_path(folder, name).is_file():
                return folder
    return file.parent


def image_path(folder: Path, name: str) -> Path:
    """The image that a file names, also where it was written on Windows."""
    path = folder / name
    return path if "\\" not in name or path.exists() else folder / name.replace("\\", "/")


# ---- content ------------------------------------------------------------------------------------


def _pictures(content: dict[str, Any], folder: Path) -> tuple[Picture, ...]:
    categories = categories_of(content)
    images: dict[int, dict[str, Any]] = {}
    for number, entry in enumerate(content["images"]):
        if not isinstance(entry, dict):
            raise InputError(f"images[{number}] is not an object")
        ident = entry.get("id")
        if not is_id(ident):
            raise InputError(f"images[{number}]: id {short(ident)} is not a whole number")
        if ident in images:
            raise InputError(f"images[{number}]: id {ident} is that of an earlier image")
        problem = name_problem(entry.get("file_name")) or size_problem(entry)
        if problem:
            raise InputError(f"image {ident}: {problem}")
        images[ident] = entry
    paths = {ident: image_path(folder, entry["file_name"]) for ident, entry in images.items()}
    people: dict[int, list[Person]] = {ident: [] for ident in images}
    sizes = {ident: (entry["width"], entry["height"]) for ident, entry in images.items()}
    for person in _people(content["annotations"], categories, paths, sizes):
        people[person.image_id].append(person)
    complete = _complete(content, [len(found) for found in people.values()])
    return tuple(
        Picture(
            paths[ident],
            ident,
            sizes[ident],
            tuple(people[ident]),
            bool(entry.get("complete", complete)) and all(p.has_size for p in people[ident]),
        )
        for ident, entry in images.items()
    )


def _complete(content: dict[str, Any], counts: Sequence[int]) -> bool:
    """Whether everybody is labelled: "complete" in "info" if given, else see SINGLE."""
    info = content.get("info")
    if isinstance(info, dict) and isinstance(info.get("complete"), bool):
        return bool(info["complete"])
    return not (len(counts) >= SINGLE and set(counts) == {1})


def _people(
    entries: list[Any],
    categories: Categories,
    paths: dict[int, Path],
    sizes: dict[int, tuple[int, int]],
) -> Iterable[Person]:
    """The people of a file's annotations. Raises InputError for the first that cannot be used."""
    kept = []
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise InputError(f"annotations[{number}] is not an object")
        try:
            layout = categories.layout(entry)
        except InputError as error:
            raise InputError(f"{annotation(number, entry)}: {error}") from error
        if layout:
            of = entry.get("image_id")
            if not is_id(of) or of not in paths:
                where = annotation(number, entry)
                raise InputError(f"{where}: is of image {short(of)}, which is not in the file")
            kept.append((number, entry, layout))
    boxes = from_coco_boxes(_array([_box(n, e) for n, e, _ in kept], 4))
    joints = _array([_joints(*each) for each in kept], 3 * JOINT_COUNT).astype(np.float32)
    joints = joints.reshape(-1, JOINT_COUNT, 3)
    joints[joints[..., 2] == 0] = 0
    for (number, entry, _), box, points in zip(kept, boxes, joints):
        ident, crowd = entry.get("id"), bool(entry.get("iscrowd", 0))
        if not (box[2:] > box[:2]).all():  # some tools write [0, 0, 0, 0] beside joints
            box = _around(points, sizes[entry["image_id"]])
        filled = (1.0 if crowd else FILLED) * float(np.prod(box[2:] - box[:2], dtype=np.float64))
        yield Person(
            paths[entry["image_id"]],
            entry["image_id"],
            ident if is_id(ident) else number,
            box,
            points,
            float(entry.get("area") or filled),
            crowd,
            sizes[entry["image_id"]],
        )


def _around(joints: Float, size_wh: tuple[int, int]) -> Float:
    """The box of labelled joints (17, 3), larger by MARGIN on each side, within its picture; of no
    size where there are none."""
    points = joints[joints[:, 2] > 0, :2]
    if not len(points):
        return np.zeros(4, np.float32)
    low, high = points.min(0), points.max(0)
    margin = MARGIN * (high - low).max()
    limit = np.array(size_wh, np.float32) - 0.5
    box = np.concatenate([low - margin, high + margin])
    return np.asarray(np.clip(box, -0.5, np.tile(limit, 2)), np.float32)


def _array(rows: list[list[float]], width: int) -> NDArray[np.float64]:
    return np.array(rows, np.float64).reshape(-1, width)


def _box(number: int, entry: dict[str, Any]) -> list[float]:
    problem = box_problem(entry.get("bbox")) or next(extent_problems(entry), None)
    if problem:
        raise InputError(f"{annotation(number, entry)}: {problem}")
    box: list[float] = entry["bbox"]
    return box


def _joints(number: int, entry: dict[str, Any], layout: Layout) -> list[float]:
    """x, y, v of the 17 joints, one after the other."""
    if no_joints(entry.get("keypoints")):
        return [0.0] * (3 * JOINT_COUNT)
    problem = joints_problem(entry["keypoints"], layout.count)
    if problem:
        raise InputError(f"{annotation(number, entry)}: {problem}")
    values: list[float] = entry["keypoints"]
    return [value for place in layout.places for value in values[3 * place : 3 * place + 3]]
