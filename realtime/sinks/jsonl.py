"""Poses as JSON Lines: one object per frame, each line flushed."""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from realtime.console import drop_stdout
from realtime.errors import OutputError
from realtime.records import PosedFrame, Poses
from realtime.sinks.outfile import OutputFile


class PipeClosed(OutputError):
    """The reader of standard output has gone, as in ``| head -1``: the run ends quietly."""

    exit_code = 0


class JsonLines:
    """Writes one line per frame to a file, or to standard output when path is None.

    A line is {"frame": int, "time": seconds, "people": [...]}, with "file" before "people" when
    with_file; a person is {"id", "score", "box": [x0, y0, x1, y1], "keypoints": 17 x [x, y,
    score]}, in pixels of the upright frame with pixel centres at integers. Coordinates have 2
    decimals, scores 4, times 6. UTF-8, no NaN, the same bytes in every run. A person with a number
    that is not finite is left out. Raises OutputError, PipeClosed.
    """

    name = "json"
    wants_picture = False

    def __init__(
        self, path: Path | None, *, overwrite: bool = False, with_file: bool = False
    ) -> None:
        self.notes: list[str] = []
        self._with_file = with_file
        self._lines = 0
        self._file = OutputFile(path, overwrite) if path else None
        if self._file is None and sys.stdout is None:
            raise OutputError("standard output is closed; give --json a file name")

    def write(self, item: PosedFrame) -> None:
        line = json.dumps(
            as_record(item, self._with_file),
            ensure_ascii=False,
            allow_nan=False,
            separators=(",", ":"),
        )
        data = line.encode("utf-8", "backslashreplace") + b"\n"
        if self._file:
            self._to_file(data, self._file)
        else:
            _to_stdout(data)
        self._lines += 1

    def _to_file(self, data: bytes, file: OutputFile) -> None:
        size = file.size
        try:
            file.write(data)
        except OSError as error:
            file.cut(size)  # no half line
            raise OutputError(
                f"{file.path}: cannot write more after {size} bytes: {error.strerror}"
            ) from error

    def close(self, clean: bool = True) -> None:
        if self._file is None:
            return
        if not self._lines:
            self._file.discard()
        elif clean:
            self._file.commit()
        else:
            self._file.keep()


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


def as_record(item: PosedFrame, with_file: bool = False) -> dict[str, Any]:
    """The object that stands for one frame; see JsonLines."""
    record: dict[str, Any] = {
        "frame": item.frame.index,
        "time": _rounded(np.float64(item.frame.time), 6),
    }
    if with_file:
        record["file"] = item.frame.source
    record["people"] = _people(item.poses)
    return record


def _people(poses: Poses) -> list[dict[str, Any]]:
    finite = [
        np.isfinite(part).all(axis=tuple(range(1, part.ndim)))
        for part in (poses.joints_xy, poses.joint_scores, poses.boxes_xyxy, poses.scores)
    ]
    poses = poses[np.logical_and.reduce(finite)]
    points = np.round(poses.joints_xy.astype(np.float64), 2)
    scores = np.round(poses.joint_scores.astype(np.float64), 4)
    keypoints = _rounded(np.concatenate([points, scores[..., None]], 2), 4)
    columns = (
        poses.ids.tolist(),
        _rounded(poses.scores, 4),
        _rounded(poses.boxes_xyxy, 2),
        keypoints,
    )
    return [dict(zip(("id", "score", "box", "keypoints"), person)) for person in zip(*columns)]


def _rounded(values: NDArray[Any] | np.float64, decimals: int) -> Any:
    """As Python numbers; in float64, whose shortest form shows no more digits than these."""
    return (np.round(np.asarray(values, np.float64), decimals) + 0.0).tolist()  # -0.0 -> 0.0
