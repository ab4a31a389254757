"""What is wrong with single values of a COCO file; nothing here raises, whatever it is given."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import PurePosixPath, PureWindowsPath
from reprlib import Repr
from typing import Any, TypeGuard

from realtime.skeleton import JOINT_COUNT

UNKNOWN = (0, 0)
"""Size of a picture of which only people are known."""

LONGEST = 255
"""Bytes of the name of a folder or file, the limit of most file systems."""

_REPR = Repr()
_REPR.maxstring, _REPR.maxlist, _REPR.maxlevel = 60, 6, 2


def is_id(value: object) -> TypeGuard[int]:
    """Whether a value is a whole number, as ids must be."""
    return isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63


def annotation(number: int, entry: dict[str, Any]) -> str:
    """What an annotation is called in messages: by its id or, without a usable one, its place."""
    ident = entry.get("id")
    return f"annotation {ident}" if is_id(ident) else f"annotations[{number}]"


def is_number(value: object) -> TypeGuard[float]:
    """Whether a value of a json file is a finite number of usable size."""
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return False
    return abs(value) < 1e9


def is_flag(value: object) -> bool:
    """Whether a value is 0 or 1, or false or true."""
    return isinstance(value, (int, float)) and value in (0, 1)


def name_problem(name: object) -> str | None:
    """What is wrong with a file name of a data set, which must stay inside the image folder."""
    if not isinstance(name, str) or not name.isprintable() or not name.strip("./ "):
        return f"file_name {short(name)} is not a name"
    if len(name) > 1000 or any(len(p.encode()) > LONGEST for p in PurePosixPath(name).parts):
        return f"file_name {short(name)} is too long"
    for path in (PurePosixPath(name), PureWindowsPath(name)):
        if path.anchor or ".." in path.parts:
            return f"file_name {short(name)} leads out of the image folder; write it from there"
    return None


def size_problem(entry: dict[str, Any]) -> str | None:
    """What is wrong with the size of an image entry."""
    size = entry.get("width"), entry.get("height")
    if not all(is_id(n) and 0 < n <= 100_000 for n in size):
        return f"width and height {short(size)} are not numbers of pixels"
    return None


def box_problem(box: object) -> str | None:
    """What makes a box unusable: no four finite numbers, or a negative size."""
    if not isinstance(box, list) or len(box) != 4 or not all(map(is_number, box)):
        return f"bbox {short(box)} is not four finite numbers"
    if box[2] < 0 or box[3] < 0:
        return f"bbox {short(box)} has a negative size"
    return None


def extent_problems(entry: dict[str, Any]) -> Iterator[str]:
    """What makes iscrowd and area of an annotation unusable, where it has them."""
    if not is_flag(entry.get("iscrowd", 0)):
        yield f"iscrowd {short(entry['iscrowd'])} is not 0 or 1"
    area = entry.get("area", 0)
    if not is_number(area) or area < 0:
        yield f"area {short(area)} is not a number from 0"


def no_joints(values: object) -> bool:
    """Whether the keypoints of a person say that there are none: a box alone, as some tools write
    it."""
    return values is None or values == []


def joints_problem(values: object, count: int = JOINT_COUNT) -> str | None:
    """What makes count keypoints unusable: not three finite numbers each, or a v that is not 0, 1
    or 2."""
    if not isinstance(values, list) or len(values) != 3 * count:
        there = len(values) if isinstance(values, list) else "no"
        return f"keypoints are {there} numbers instead of {3 * count}"
    if not all(map(is_number, values)):
        return "keypoints are not all finite numbers"
    if any(v not in (0, 1, 2) for v in values[2::3]):
        return f"keypoints have a v that is not 0, 1 or 2: {short(values[2::3])}"
    return None


def short(value: object) -> str:
    """A value for a message, in one short line."""
    text = _REPR.repr(value)
    return text if len(text) <= 80 else text[:77] + "..."
