"""JSON: one document with all frames, and the results file of the COCO keypoint task."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from realtime.errors import InputError
from realtime.formats.files import Spool
from realtime.formats.rows import (
    POINT_DECIMALS,
    SCORE_DECIMALS,
    Loaded,
    LoadedFrame,
    finite,
    in_order,
    keypoints,
    rounded,
    seconds,
    to_poses,
    to_time,
)
from realtime.geometry import from_coco_boxes, to_coco_boxes
from realtime.records import Frame, PosedFrame
from realtime.sinks.jsonl import as_record
from realtime.skeleton import JOINTS

SCHEMA = 1


class Document:
    """A Form: {"schema": 1, "source": name, "joints": 17 names, "frames": [...]}, each frame as in
    JSON Lines."""

    def __init__(self, spool: Spool, source: str, with_file: bool, angles: bool) -> None:
        self.spools = (spool,)
        self._source, self._with_file, self._angles = source, with_file, angles

    def add(self, item: PosedFrame) -> None:
        record = as_record(item, self._with_file, self._angles)
        _append(self.spools[0], compact(record))

    def finish(self, out: BinaryIO) -> list[str]:
        head = compact({"schema": SCHEMA, "source": self._source, "joints": JOINTS, "frames": []})
        out.write(head[:-2] + b"\n")
        self.spools[0].copy_to(out)
        out.write(b"\n]}\n")
        return []


class CocoResults:
    """A Form: a list with an object for each person, as pycocotools' loadRes takes it.

    image_id is the number in the image's name as COCO writes it (000000000139.jpg is 139,
    COCO_val2014_000000000042.jpg is 42), else the number of the frame. category_id is 1, keypoints
    are 17 x (x, y, score), bbox is x, y, width, height. Beyond the standard: track_id (-1 for
    none), frame, time in seconds, and file for folders.
    """

    def __init__(self, spool: Spool, with_file: bool) -> None:
        self.spools = (spool,)
        self._with_file = with_file
        self._numbered: set[bool] = set()
        self._images: set[int] = set()
        self._twins: list[str] = []

    def add(self, item: PosedFrame) -> None:
        image = self._number(item.frame) if self._with_file else item.frame.index
        for entry in _coco_entries(item, image, self._with_file):
            _append(self.spools[0], compact(entry))

    def _number(self, frame: Frame) -> int:
        """The image id of an image."""
        number = coco_id(frame.source)
        self._numbered.add(number is not None)
        image = frame.index if number is None else number
        if image in self._images:
            self._twins.append(frame.source)
        self._images.add(image)
        return image

    def finish(self, out: BinaryIO) -> list[str]:
        out.write(b"[\n")
        self.spools[0].copy_to(out)
        out.write(b"\n]\n")
        notes = []
        if len(self._numbered) == 2:
            notes.append(
                "COCO: image ids are file numbers for some images, frame numbers for others"
            )
        if self._twins:
            more = f" and {len(self._twins) - 1} more" if len(self._twins) > 1 else ""
            notes.append(
                f"COCO: the image id of {self._twins[0]}{more} is that of another image, too"
            )
        return notes


def coco_id(name: str) -> int | None:
    """The number of an image of COCO by its file name; None for other names."""
    match = re.fullmatch(r"(?:.*_)?(\d{12})|(\d{1,12})", Path(name).stem, re.ASCII)
    return int(match[1] or match[2]) if match else None


def _coco_entries(item: PosedFrame, image: int, with_file: bool) -> Iterator[dict[str, Any]]:
    poses = finite(item.poses)
    columns = (
        keypoints(poses),
        rounded(poses.scores, SCORE_DECIMALS),
        rounded(to_coco_boxes(poses.boxes_xyxy), POINT_DECIMALS),
        poses.ids.tolist(),
    )
    for points, score, box, number in zip(*columns, strict=True):
        yield {
            "image_id": image,
            "category_id": 1,
            "keypoints": [value for point in points for value in point],
            "score": score,
            "bbox": box,
            "track_id": number,
            "frame": item.frame.index,
            "time": seconds(item.frame.time),
            **({"file": item.frame.source} if with_file else {}),
        }


def compact(value: Any) -> bytes:
    """JSON without spaces and without NaN, as UTF-8."""
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    return text.encode("utf-8", "backslashreplace")


def _append(spool: Spool, data: bytes) -> None:
    """One more element of a list, each on its line."""
    spool.write((b",\n" if spool.size else b"") + data)


def load_jsonl(path: Path) -> Loaded:
    """The frames of a JSON Lines file; a last line cut off by a kill is left out."""
    return _loaded(_lines(path.read_bytes()))


def _lines(content: bytes) -> Iterator[dict[str, Any]]:
    *lines, last = content.split(b"\n")
    yield from (json.loads(line) for line in lines if line.strip())
    try:
        rest = [json.loads(last)] if last.strip() else []
    except ValueError:  # cut off by a kill: then it begins as a record does
        if not last.startswith(b"{"):
            raise
        return
    yield from rest


def _loaded(records: Iterable[dict[str, Any]]) -> Loaded:
    """One record at a time, which takes much more memory than its frame."""
    frames, angles = list[LoadedFrame](), False
    for record in records:
        frames.append(_frame(record))
        angles = angles or any("angles" in person for person in record["people"])
    return Loaded(frames, angles)


def load_json(path: Path) -> Loaded:
    """The frames of a document, or those of a COCO results file that have people; JSON Lines as
    well, which --json writes under any name."""
    content = path.read_bytes()
    first = content.partition(b"\n")[0]
    if first.startswith(b'{"frame":') and first.endswith(b"}"):
        return _loaded(_lines(content))
    value = json.loads(content)
    if isinstance(value, dict) and isinstance(value.get("frames"), list):
        return _loaded(value["frames"])
    if isinstance(value, list) and all(isinstance(v, dict) and "image_id" in v for v in value):
        images = groupby(value, key=lambda entry: (entry["image_id"], entry.get("frame")))
        return Loaded(in_order([_coco_frame(list(entries)) for _, entries in images]))
    raise InputError(f"{path}: neither a document of poses nor COCO results")


def _frame(record: dict[str, Any]) -> LoadedFrame:
    people = record["people"]
    poses = to_poses(
        [person["keypoints"] for person in people],
        [person["box"] for person in people],
        [person["score"] for person in people],
        [_id(person["id"]) for person in people],
    )
    return LoadedFrame(record["frame"], to_time(record["time"]), poses, record.get("file", ""))


def _id(given: int | None) -> int:
    """As in Poses: -1 is nobody known."""
    return -1 if given is None else given


def _coco_frame(people: list[dict[str, Any]]) -> LoadedFrame:
    """Of any COCO results: what only this program writes may be missing."""
    points = np.array([person["keypoints"] for person in people], np.float32).reshape(-1, 17, 3)
    boxes = [
        from_coco_boxes(p["bbox"]) if "bbox" in p else _bounds(xy)
        for p, xy in zip(people, points[..., :2], strict=True)
    ]
    poses = to_poses(
        points,
        boxes,
        [person["score"] for person in people],
        [_id(person.get("track_id")) for person in people],
    )
    first = people[0]
    frame, time = first.get("frame", first["image_id"]), to_time(first.get("time"))
    return LoadedFrame(frame, time, poses, first.get("file", ""))


def _bounds(points: Any) -> Any:
    return np.concatenate([points.min(0), points.max(0)])
