"""Poses of segments become the poses of the file, in any of the formats of --data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from realtime.errors import StageError
from realtime.formats.registry import About, open_data
from realtime.formats.rows import LoadedFrame
from realtime.formats.target import Target
from realtime.records import Frame, PosedFrame, Poses
from realtime.schedule import pairs

SUFFIXES = {
    "jsonl": ".jsonl", "json": ".json", "csv": ".csv", "csv-wide": ".wide.csv", "npz": ".npz",
    "mat": ".mat", "coco": ".coco.json", "trc": ".trc",
}  # fmt: skip
"""What follows the name of the input in the names of results; OpenPose is a folder of files."""


@dataclass(frozen=True, slots=True)
class Look:
    """What results are to be: formats of SUFFIXES, and what About tells the formats."""

    formats: tuple[str, ...] = ("jsonl",)
    angles: bool = False
    least_score: float = 0.3


def joined(parts: Iterable[Sequence[LoadedFrame]]) -> Iterator[LoadedFrame]:
    """The frames of the parts one after the other. Who is in the last frame of a part and, by the
    boxes, in the first of the next keeps their id; all other ids of a part are raised by the
    highest one before, so that no id stands for two people.

    Raises StageError when frames are not in order, each once.
    """
    last: LoadedFrame | None = None
    highest = 0
    for part in parts:
        raised = highest
        known = _known(last.poses, part[0].poses) if last and part else {}
        for frame in part:
            if last and frame.frame <= last.frame:
                raise StageError(f"frame {frame.frame} after frame {last.frame} in a join", "join")
            theirs = [known.get(n, n + raised) if n >= 0 else n for n in frame.poses.ids.tolist()]
            ids = np.array(theirs, np.int64)
            highest = max(highest, int(ids.max(initial=0)))
            last = frame._replace(poses=replace(frame.poses, ids=ids))
            yield last


def _known(before: Poses, after: Poses) -> dict[int, int]:
    """Ids of a frame by the ids that the same people have in the next one."""
    rows, columns = pairs(before.boxes_xyxy, after.boxes_xyxy)
    both = zip(after.ids[columns].tolist(), before.ids[rows].tolist(), strict=True)
    return {new: old for new, old in both if new >= 0 and old >= 0}


def written(
    frames: Iterable[LoadedFrame], name: str, rate: float | None, look: Look, folder: Path
) -> tuple[dict[str, bytes], int]:
    """The content of a file for each format, and how many frames are in them. name: of the input.
    folder: for the files meanwhile. Raises OutputError."""
    targets = [Target(kind, folder / f"result{SUFFIXES[kind]}") for kind in look.formats]
    kept = list(frames)
    with_file, title = any(frame.file for frame in kept), name + SUFFIXES["trc"]
    about = About(name, with_file, look.angles, look.least_score, rate, title=title)
    with ExitStack() as cleanup:
        sinks = open_data(targets, about, overwrite=True, cleanup=cleanup)
        for frame in kept:
            item = _posed(frame, name)
            for sink in sinks:
                sink.write(item)
        for sink in sinks:
            sink.close()
    return {target.format: _content(target.path) for target in targets}, len(kept)


def _content(path: Path) -> bytes:
    """What a sink has written; nothing where there was nothing to write, as in TRC."""
    return path.read_bytes() if path.exists() else b""


def _posed(frame: LoadedFrame, name: str) -> PosedFrame:
    """As the sinks take it; they do not look at the picture."""
    picture = np.zeros((1, 1, 3), np.uint8)
    return PosedFrame(Frame(frame.frame, frame.time, picture, frame.file or name), frame.poses)
