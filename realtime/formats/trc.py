"""TRC, the marker file of OpenSim and Pose2Sim, for one person.

A row for each frame with its number and true time, cells of joints that are not seen empty.
Coordinates are pixels of the picture, x right, y down, z = 0: scale and turn them before using
them as lengths. Markers have Pose2Sim's names (RShoulder, LAnkle, ...). A file has room for one
person: the one in most frames, the lower id when several are. The id stands behind the name of the
file in the first line ("id 3"), which readers keep as it is or leave alone.
"""

from __future__ import annotations

import re
from collections import Counter
from itertools import groupby
from pathlib import Path
from typing import BinaryIO

import numpy as np

from realtime.errors import InputError
from realtime.formats.files import Spool
from realtime.formats.rows import (
    POINT_DECIMALS,
    TIME_DECIMALS,
    LoadedFrame,
    box_around,
    finite,
    rounded,
    to_poses,
)
from realtime.records import PosedFrame
from realtime.skeleton import JOINT_COUNT, JOINTS

MARKERS = tuple(
    name.capitalize() if side == name else side[0].upper() + part.capitalize()
    for name in JOINTS
    for side, _, part in (name.partition("_"),)
)
"""Pose2Sim's names of the 17 joints."""
_GAP = b"\t" * (3 * JOINT_COUNT - 1)


class Trc:
    """A Form. least_score: joints below it are empty cells. rate: nominal frames per second, for
    the header of a file with a single frame."""

    def __init__(self, spool: Spool, name: str, least_score: float, rate: float | None) -> None:
        self.spools = (spool,)
        self._name, self._least_score, self._rate = name, least_score, rate or 30.0
        self._frames = 0
        self._span: list[float] = []
        self._first: int | None = None
        self._seen: Counter[int] = Counter()

    def add(self, item: PosedFrame) -> None:
        """A line for the frame itself, then one for each person: id, frame, time, cells."""
        poses = finite(item.poses)
        time = rounded(item.frame.time, TIME_DECIMALS)
        rows = [f"\t{item.frame.index}\t{time}\t".encode()]
        points = rounded(poses.joints_xy, POINT_DECIMALS)
        seen = (poses.joint_scores >= self._least_score).tolist()
        for number, joints, known in zip(poses.ids.tolist(), points, seen, strict=True):
            cells = (f"{x}\t{y}\t0" if k else "\t\t" for (x, y), k in zip(joints, known))
            rows.append(
                f"{number}\t{item.frame.index}\t{time}\t".encode() + "\t".join(cells).encode()
            )
        self.spools[0].write(b"\n".join(rows) + b"\n")
        self._seen.update(set(poses.ids.tolist()))
        self._frames += 1
        self._span = [*self._span[:1], item.frame.time]
        self._first = item.frame.index if self._first is None else self._first

    def finish(self, out: BinaryIO) -> list[str]:
        most = max(self._seen.values(), default=0)
        who = min((number for number, n in self._seen.items() if n == most), default=-1)
        out.write(self._header(who).encode())
        for _, lines in groupby(self.spools[0].lines(), lambda line: line.split(b"\t", 2)[1]):
            out.write(_row(list(lines), str(who).encode() + b"\t"))
        others = len(self._seen) - 1
        return [f"TRC: person {who} only, {others} others left out"] if others > 0 else []

    def _header(self, who: int) -> str:
        span = self._span[-1] - self._span[0]
        rate = round((self._frames - 1) / span, 6) if span > 0 else self._rate
        names = "DataRate CameraRate NumFrames NumMarkers Units OrigDataRate OrigDataStartFrame"
        values = [rate, rate, self._frames, JOINT_COUNT, "px", rate, self._first, self._frames]
        axes = "\t".join(f"X{k}\tY{k}\tZ{k}" for k in range(1, JOINT_COUNT + 1))
        return (
            f"PathFileType\t4\t(X/Y/Z)\t{self._name}\tid {who}\n"
            + "\t".join([*names.split(), "OrigNumFrames"])
            + "\n"
            + "\t".join(map(str, values))
            + "\nFrame#\tTime\t"
            + "\t\t\t".join(MARKERS)
            + f"\t\t\n\t\t{axes}\n\n"
        )


def _row(lines: list[bytes], who: bytes) -> bytes:
    """The row of one frame: that of the person, else an empty one."""
    for line in lines:
        if line.startswith(who):
            return line[len(who) :]
    return lines[0].removeprefix(b"\t").removesuffix(b"\n") + _GAP + b"\n"


def load_trc(path: Path) -> list[LoadedFrame]:
    """The frames of a TRC file with these markers: one person, whose id is 0 in files of others,
    joints that are not there at 0, 0 with score 0, the others with score 1; the file has no scores.
    Frames without any are without people. Raises InputError, OSError."""
    lines = path.read_text(encoding="utf-8").splitlines()
    if len(lines) < 5 or not lines[0].startswith("PathFileType"):
        raise InputError(f"{path}: not a TRC file")
    names = [name.strip() for name in lines[3].split("\t")[2::3]]
    if missing := [marker for marker in MARKERS if marker not in names]:
        raise InputError(f"{path}: the marker {missing[0]} is not there")
    columns = [2 + 3 * names.index(marker) for marker in MARKERS]
    named = re.search(r"\tid (-?\d{1,18})$", lines[0])
    who = int(named[1]) if named else 0
    return [_frame(line.split("\t"), columns, who) for line in lines[5:] if line.strip()]


def _frame(cells: list[str], columns: list[int], who: int) -> LoadedFrame:
    points = np.zeros((JOINT_COUNT, 3), np.float32)
    for point, c in zip(points, columns, strict=True):
        x, y = (cells[c].strip(), cells[c + 1].strip()) if c + 1 < len(cells) else ("", "")
        if x and y:
            point[:] = float(x), float(y), 1
    seen = points[:, 2] > 0
    count = int(seen.any())
    boxes = [box_around(points[:, :2], seen)] * count
    poses = to_poses([points] * count, boxes, [float(seen.mean())] * count, [who] * count)
    return LoadedFrame(int(float(cells[0])), float(cells[1]), poses)
