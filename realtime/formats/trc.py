"""TRC, the marker file of OpenSim and Pose2Sim, for one person.

A row for each frame with its number and true time, cells of joints that are not seen empty, but for
the last cell of a row, which is nan then: OpenSim refuses rows that end with an empty one.
Coordinates are pixels of the picture, x right, y down, z = 0; where it is told how tall the person
is, metres with y up (see metres.py). Markers have Pose2Sim's names (RShoulder, LAnkle, ...). A file
has room for one person: the one in most frames, the lower id when several are. The id stands behind
the name of the file in the first line ("id 3"), which readers keep as it is or leave alone.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import groupby
from math import isfinite
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from realtime.errors import InputError, OutputError
from realtime.formats.files import Spool
from realtime.formats.metres import Scale, measure
from realtime.formats.rows import (
    POINT_DECIMALS,
    TIME_DECIMALS,
    Loaded,
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
METRE_DECIMALS = 5
RATE_DECIMALS = 3
"""Those of 29.97; more would be of times that are rounded themselves."""
_GAP = b"\t" * (3 * JOINT_COUNT - 1) + b"nan"


class Trc:
    """A Form. least_score: joints below it are empty cells. rate: nominal frames per second, for
    the header of a file with a single frame. height: of the person in metres, for a file in
    metres."""

    def __init__(
        self,
        spool: Spool,
        name: str,
        least_score: float,
        rate: float | None,
        height: float | None = None,
    ) -> None:
        self.spools = (spool,)
        self._height = height
        self._name, self._least_score, self._rate = name, least_score, rate or 30.0
        self._frames = 0
        self._span: list[float] = []
        self._first: int | None = None
        self._seen: Counter[int] = Counter()

    def add(self, item: PosedFrame) -> None:
        """A line for the frame itself, then one for each person: id, frame, time, cells."""
        if not isfinite(item.frame.time):
            text = f"frame {item.frame.index} has no time, which TRC needs; take another format"
            raise OutputError(f"{self._name}: {text}")
        poses = finite(item.poses)
        time = rounded(item.frame.time, TIME_DECIMALS)
        rows = [f"\t{item.frame.index}\t{time}\t".encode()]
        points = rounded(poses.joints_xy, POINT_DECIMALS)
        seen = (poses.joint_scores >= self._least_score).tolist()
        for number, joints, known in zip(poses.ids.tolist(), points, seen, strict=True):
            cells = (f"{x}\t{y}\t0" if k else "\t\t" for (x, y), k in zip(joints, known))
            rows.append(f"{number}\t{item.frame.index}\t{time}\t".encode() + _row_of(cells))
        self.spools[0].write(b"\n".join(rows) + b"\n")
        self._seen.update(set(poses.ids.tolist()))
        self._frames += 1
        self._span = [*self._span[:1], item.frame.time]
        self._first = item.frame.index if self._first is None else self._first

    def finish(self, out: BinaryIO) -> list[str]:
        most = max(self._seen.values(), default=0)
        who = min((number for number, n in self._seen.items() if n == most), default=-1)
        others = len(self._seen) - 1
        notes = [f"TRC: person {who} only, {others} others left out"] if others > 0 else []
        if most and who < 0:
            notes.append("TRC: nobody has an id, as in independent images: the first of each frame")
        scale = None
        if self._height is not None:
            scale = measure(np.array([_points(row) for row in self._rows(who)]), self._height)
            notes.append(
                f"TRC: a pixel is {1000 * scale.metres:.4g} mm by --height {self._height:g}; half"
                f" of the frames are within {100 * scale.spread:.1f} % of that"
            )
        out.write(self._header(who).encode("utf-8", "backslashreplace"))
        for row in self._rows(who):
            out.write(_in_metres(row, scale) if scale else row)
        return notes

    def _rows(self, who: int) -> Iterator[bytes]:
        for _, lines in groupby(self.spools[0].lines(), lambda line: line.split(b"\t", 2)[1]):
            yield _row(list(lines), str(who).encode() + b"\t")

    def _header(self, who: int) -> str:
        span = self._span[-1] - self._span[0]
        rate = round((self._frames - 1) / span, RATE_DECIMALS) if span > 0 else self._rate
        names = "DataRate CameraRate NumFrames NumMarkers Units OrigDataRate OrigDataStartFrame"
        unit = "px" if self._height is None else "m"
        values = [rate, rate, self._frames, JOINT_COUNT, unit, rate, self._first, self._frames]
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


def _row_of(cells: Iterable[str]) -> bytes:
    """Three cells for each joint, the last one of them not empty."""
    text = "\t".join(cells)
    return (f"{text}nan" if text.endswith("\t") else text).encode()


def _row(lines: list[bytes], who: bytes) -> bytes:
    """The row of one frame: that of the person, else an empty one."""
    for line in lines:
        if line.startswith(who):
            return line[len(who) :]
    return lines[0].removeprefix(b"\t").removesuffix(b"\n") + _GAP + b"\n"


def _points(row: bytes) -> NDArray[np.float64]:
    """x, y of the joints (17, 2) in a row, nan where cells are empty."""
    cells = np.array(row.rstrip(b"\n").split(b"\t")[2:]).reshape(JOINT_COUNT, 3)[:, :2]
    return np.where(cells == b"", b"nan", cells).astype(np.float64)


def _in_metres(row: bytes, scale: Scale) -> bytes:
    frame, time, _ = row.split(b"\t", 2)
    points = rounded(scale(_points(row)), METRE_DECIMALS)
    cells = (f"{x}\t{y}\t0" if x == x else "\t\t" for x, y in points)
    return b"\t".join([frame, time, _row_of(cells)]) + b"\n"


def load_trc(path: Path) -> Loaded:
    """The frames of a TRC file with these markers: one person, whose id is 0 in files of others,
    joints that are not there at 0, 0 with score 0, the others with score 1; the file has no scores.
    Frames without any are without people. Raises InputError, OSError; InputError also for a file
    in metres, whose numbers would be taken for pixels."""
    lines = path.read_text(encoding="utf-8").splitlines()
    if len(lines) < 5 or not lines[0].startswith("PathFileType"):
        raise InputError(f"{path}: not a TRC file")
    head = dict(zip(lines[1].split("\t"), lines[2].split("\t")))
    if (unit := head.get("Units", "px").strip().lower()) in ("m", "cm", "mm"):
        raise InputError(f"{path}: in {unit}, not in pixels; give the file it was made from")
    names = [name.strip() for name in lines[3].split("\t")[2::3]]
    if missing := [marker for marker in MARKERS if marker not in names]:
        raise InputError(f"{path}: the marker {missing[0]} is not there")
    columns = [2 + 3 * names.index(marker) for marker in MARKERS]
    named = re.search(r"\tid (-?\d{1,18})$", lines[0])
    who = int(named[1]) if named else 0
    rows = [line.split("\t") for line in lines[5:] if line.strip()]
    return Loaded([_frame(cells, columns, who) for cells in rows])


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
