"""CSV: tidy, a row for each joint of each person, or wide, a row for each person.

A frame without people has no row. UTF-8, comma, point, header in the first line; an empty cell
is an angle that is not known. What pandas has saved again is read as well: empty cells for nan, and
1.0 for a whole number.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator
from itertools import groupby
from pathlib import Path
from typing import Any

from realtime.angles import ANGLES, AT_JOINT, joint_angles
from realtime.errors import InputError
from realtime.formats.files import LineFile
from realtime.formats.rows import (
    ANGLE_DECIMALS,
    POINT_DECIMALS,
    SCORE_DECIMALS,
    TIME_DECIMALS,
    Loaded,
    LoadedFrame,
    finite,
    in_order,
    keypoints,
    rounded,
    to_poses,
)
from realtime.records import PosedFrame, Poses
from realtime.sinks.base import Keeps
from realtime.skeleton import JOINT_COUNT, JOINTS

Row = list[Any]
BOX = ["box_x0", "box_y0", "box_x1", "box_y1"]


class CsvSink:
    """Writes CSV as the run goes. wide: which of the two. with_file: a column with the name of the
    image. angles: columns (wide) or a column (tidy) with the joint angles. Raises OutputError."""

    wants_picture = False
    keeps: Keeps = "frames"

    def __init__(
        self, name: str, path: Path, *, overwrite: bool, wide: bool, with_file: bool, angles: bool
    ) -> None:
        self.name, self.notes = name, list[str]()
        self._with_file, self._angles = with_file, angles
        self._rows: Callable[[Row, Poses, float], Iterator[Row]] = (
            self._wide if wide else self._tidy
        )
        self._header: Row | None = ["frame", "time", *(["file"] if with_file else []), "id"]
        self._header += ["score", *BOX, *(self._wide_header() if wide else self._tidy_header())]
        self._file = LineFile(path, overwrite)

    def write(self, item: PosedFrame) -> None:
        head = [item.frame.index, rounded(item.frame.time, TIME_DECIMALS)]
        if self._with_file:
            head.append(item.frame.source)
        rows = list(self._rows(head, finite(item.poses), item.frame.aspect))
        if self._header:
            rows.insert(0, self._header)
        text = io.StringIO(newline="")
        csv.writer(text).writerows(rows)  # its "\r\n" has names with one of them quoted
        lines = text.getvalue().replace("\r\n", "\n")
        self._file.write(lines.encode("utf-8", "backslashreplace"))
        self._header = None

    def close(self, clean: bool = True) -> None:
        self._file.close(clean)

    def _tidy_header(self) -> Row:
        return ["joint", "x", "y", "joint_score", *(["angle"] if self._angles else [])]

    def _wide_header(self) -> Row:
        points = [f"{joint}_{part}" for joint in JOINTS for part in ("x", "y", "score")]
        return points + ([f"{name}_angle" for name in ANGLES] if self._angles else [])

    def _tidy(self, head: Row, poses: Poses, aspect: float) -> Iterator[Row]:
        angles = _angles(poses, aspect)
        for person, points, bends in zip(_people(poses), keypoints(poses), angles, strict=True):
            at_joint = dict(zip(AT_JOINT, bends, strict=True))
            for j, (name, point) in enumerate(zip(JOINTS, points, strict=True)):
                row = [*head, *person, name, *point]
                yield [*row, at_joint.get(j, "")] if self._angles else row

    def _wide(self, head: Row, poses: Poses, aspect: float) -> Iterator[Row]:
        angles = _angles(poses, aspect)
        for person, points, bends in zip(_people(poses), keypoints(poses), angles, strict=True):
            row = [*head, *person, *(number for point in points for number in point)]
            yield row + bends if self._angles else row


def _people(poses: Poses) -> Iterator[Row]:
    """id, score and box of each person."""
    scores = rounded(poses.scores, SCORE_DECIMALS)
    boxes = rounded(poses.boxes_xyxy, POINT_DECIMALS)
    for number, score, box in zip(poses.ids.tolist(), scores, boxes, strict=True):
        yield [number, score, *box]


def _angles(poses: Poses, aspect: float) -> list[Row]:
    """The angles of each person; an empty cell for what is not known."""
    table = rounded(joint_angles(poses, aspect=aspect), ANGLE_DECIMALS)
    return [["" if angle != angle else angle for angle in row] for row in table]


def load_csv(path: Path) -> Loaded:
    """The frames of a CSV file of either kind that have people. Raises InputError, OSError."""
    with path.open(encoding="utf-8-sig", newline="") as file:  # spreadsheets write a mark
        rows = csv.DictReader(file)
        names = rows.fieldnames or []
        if not {"frame", "time", "id", "score", *BOX} <= set(names):
            raise InputError(
                f"{path}: no table of poses: its first line lacks frame, time, id, ..."
            )
        wide = "joint" not in names
        frames = groupby(rows, key=lambda row: row["frame"])
        parts = [_frame(list(group), wide) for _, group in frames]
        angles = any(name == "angle" or name.endswith("_angle") for name in names)
        return Loaded(in_order(parts), angles)


def _frame(rows: list[dict[str, str]], wide: bool) -> LoadedFrame:
    if wide:
        people = rows
        points = [
            [_number(row[f"{joint}_{part}"]) for joint in JOINTS for part in ("x", "y", "score")]
            for row in rows
        ]
    else:
        if [row["joint"] for row in rows] != list(JOINTS) * (len(rows) // JOINT_COUNT):
            raise ValueError(f"frame {rows[0]['frame']} does not have all joints of its people")
        people = rows[::JOINT_COUNT]
        points = [[_number(row[part]) for part in ("x", "y", "joint_score")] for row in rows]
    poses = to_poses(
        points,
        [[_number(row[name]) for name in BOX] for row in people],
        [_number(row["score"]) for row in people],
        [_whole(row["id"]) for row in people],
    )
    first = rows[0]
    time = _number(first["time"])
    return LoadedFrame(_whole(first["frame"]), time, poses, first.get("file", ""))


def _number(cell: str) -> float:
    return float(cell or "nan")


def _whole(cell: str) -> int:
    number = float(cell)
    if not number.is_integer():
        raise ValueError(f"{cell} is no whole number")
    return int(number)
