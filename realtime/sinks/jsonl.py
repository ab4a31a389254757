"""Poses as JSON Lines: one object per frame, each line flushed."""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path
from typing import Any

from realtime.angles import ANGLES, joint_angles
from realtime.console import drop_stdout
from realtime.errors import OutputError
from realtime.formats import rows
from realtime.formats.files import LineFile
from realtime.records import PosedFrame, Poses
from realtime.sinks.base import Keeps


class PipeClosed(OutputError):
    """The reader of standard output has gone, as in ``| head -1``: the run ends quietly."""

    exit_code = 0


class JsonLines:
    """Writes one line per frame to a file, or to standard output when path is None.

    A line is {"frame": int, "time": seconds, "people": [...]}, with "file" before "people" when
    with_file; a person is {"id", "score", "box": [x0, y0, x1, y1], "keypoints": 17 x [x, y,
    score]}, in pixels of the upright frame with pixel centres at integers. Coordinates have 2
    decimals, scores 4, times 6; a time that is not known is null. UTF-8, no NaN, the same bytes in
    every run. A person with a number that is not finite is left out. With angles a person has
    "angles" too: degrees by name, null where not known. Raises OutputError, PipeClosed.
    """

    wants_picture = False
    keeps: Keeps = "frames"

    def __init__(
        self,
        path: Path | None,
        *,
        overwrite: bool = False,
        with_file: bool = False,
        angles: bool = False,
        name: str = "json",
    ) -> None:
        self.name = name
        self.notes: list[str] = []
        self._with_file, self._angles = with_file, angles
        self._file = LineFile(path, overwrite) if path else None
        if self._file is None and sys.stdout is None:
            raise OutputError("standard output is closed; give --json a file name")

    def write(self, item: PosedFrame) -> None:
        line = json.dumps(
            as_record(item, self._with_file, self._angles),
            ensure_ascii=False,
            allow_nan=False,
            separators=(",", ":"),
        )
        data = line.encode("utf-8", "backslashreplace") + b"\n"
        if self._file:
            self._file.write(data)
        else:
            _to_stdout(data)

    def close(self, clean: bool = True) -> None:
        if self._file:
            self._file.close(clean)


def _to_stdout(data: bytes) -> None:
    """Write and flush. When the reader has gone, later writes and the interpreter's own flush at
    exit go nowhere instead of failing again."""
    try:
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()
    except OSError as error:
        drop_stdout()
        gone = error.errno == errno.EPIPE or (os.name == "nt" and error.errno == errno.EINVAL)
        kind = PipeClosed if gone else OutputError
        raise kind(f"standard output: cannot write more: {error.strerror}") from error


def as_record(item: PosedFrame, with_file: bool = False, angles: bool = False) -> dict[str, Any]:
    """The object that stands for one frame; see JsonLines."""
    record: dict[str, Any] = {
        "frame": item.frame.index,
        "time": rows.seconds(item.frame.time),
    }
    if with_file:
        record["file"] = item.frame.source
    poses = rows.finite(item.poses)
    record["people"] = _people(poses)
    if angles:
        for person, values in zip(record["people"], _angles(poses, item.frame.aspect), strict=True):
            person["angles"] = values
    return record


def _people(poses: Poses) -> list[dict[str, Any]]:
    columns = (
        poses.ids.tolist(),
        rows.rounded(poses.scores, rows.SCORE_DECIMALS),
        rows.rounded(poses.boxes_xyxy, rows.POINT_DECIMALS),
        rows.keypoints(poses),
    )
    return [dict(zip(("id", "score", "box", "keypoints"), person)) for person in zip(*columns)]


def _angles(poses: Poses, aspect: float) -> list[dict[str, float | None]]:
    table = rows.rounded(joint_angles(poses, aspect=aspect), rows.ANGLE_DECIMALS)
    return [dict(zip(ANGLES, (a if a == a else None for a in row))) for row in table]
