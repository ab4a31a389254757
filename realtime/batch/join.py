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
from realtime.records import Frame, PosedFrame

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
    """The frames of the parts one after the other. Ids are raised by the highest id of the parts
    before: no id stands for two people, and a person who crosses a border gets a new one.

    Raises StageError when frames are not in order, each once.
    """
    before, highest = -1, 0
    for part in parts:
        raised = highest
        for frame in part:
            if frame.frame <= before:
                raise StageError(f"frame {frame.frame} after frame {before} in a join", "join")
            before = frame.frame
            ids = np.where(frame.poses.ids >= 0, frame.poses.ids + raised, frame.poses.ids)
            highest = max(highest, int(ids.max(initial=0)))
            yield frame._replace(poses=replace(frame.poses, ids=ids))


def written(
    frames: Iterable[LoadedFrame], name: str, rate: float | None, look: Look, folder: Path
) -> tuple[dict[str, bytes], int]:
    """The content of a file for each format, and how many frames are in them. name: of the input.
    folder: for the files meanwhile. Raises OutputError."""
    targets = [Target(kind, folder / f"result{SUFFIXES[kind]}") for kind in look.formats]
    kept = list(frames)
    about = About(name, any(frame.file for frame in kept), look.angles, look.least_score, rate)
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
