"""How a file is cut into segments that can be worked on apart."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from realtime.sources.container import open_container, shown, video_stream
from realtime.sources.images import is_image
from realtime.sources.seek import WORTH_IT, Packets, all_entries
from realtime.sources.span import believable

WORTH_CUTTING = 1.5
"""Files up to so many segments long stay whole."""


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a file. first: the number of its first frame, a keyframe. end: seconds between its
    last frame and the next one, None for the end of the file. count: frames in it by the packets
    of the file, None when the file is not cut."""

    first: int = 0
    end: float | None = None
    count: int | None = None


WHOLE = Segment()


@dataclass(frozen=True, slots=True)
class Plan:
    """rate: frames per second, None when not known. segments: in order, at least one."""

    rate: float | None
    segments: tuple[Segment, ...]


def plan(path: Path, seconds: float) -> Plan:
    """Segments of about so many seconds each, from keyframe to keyframe.

    Whole stay short files, and those whose frames cannot be numbered without decoding them all
    (see seek.entry_before). Raises InputError.
    """
    if is_image(path):
        return Plan(None, (WHOLE,))
    with open_container(path) as container:
        stream: Any = video_stream(container, shown(path))
        base, rate = float(stream.time_base), believable(stream.average_rate)
        length = container.duration / 1e6 if container.duration else math.inf  # not known
    packets = all_entries(path) if length > WORTH_CUTTING * seconds else None
    return Plan(rate, segments(packets, seconds, base) if packets else (WHOLE,))


def segments(packets: Packets, seconds: float, base: float) -> tuple[Segment, ...]:
    """Cut at the first keyframe after each so many seconds; the last piece is at least half as
    long. base: seconds of one tick of the stamps."""
    stamps, cuts = packets.stamps, [0]
    last, least = int(stamps[-1]), seconds / base
    for entry in packets.entries:
        begun = int(stamps[cuts[-1]])
        if entry.index >= WORTH_IT and entry.pts - begun >= least <= 2 * (last - entry.pts):
            cuts.append(entry.index)
    if len(cuts) == 1:
        return (WHOLE,)
    # An end between two frames, so that no rounding puts a frame on the wrong side.
    ends = [base * (int(stamps[cut - 1]) + int(stamps[cut])) / 2 for cut in cuts[1:]]
    counts = [after - before for before, after in zip(cuts, [*cuts[1:], len(stamps)])]
    return tuple(Segment(*values) for values in zip(cuts, [*ends, None], counts))
